"""The practices of the lecture, one file each, named like the experiment; PRACTICES lists them."""

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.experiments.experiment import Outcome, Task

PRACTICES: Final[dict[str, str]] = {
    "simple": "An autoencoder of one hidden layer: 784 pixels through a code of 32 numbers",
    "pca": "A linear autoencoder learns the plane that PCA computes",
    "stacked": "More layers with SELU: 784–100–30–100–784",
    "tsne": "Maps of the images in two dimensions: pixels, PCA, learned codes",
    "tied": "The decoder uses the encoder's matrices, transposed: half of the weights",
    "layerwise": "Layers trained one after another, then all together",
    "pretrain": "What an autoencoder learnt helps a classifier that has few labels",
    "denoise-gaussian": "Noisy images in, clean images out",
    "denoise-dropout": "Half of the pixels gone, all of them rebuilt",
    "conv": "Convolutions instead of dense layers",
    "recurrent": "An image read as a series of 28 rows, by an LSTM",
    "sparse": "A code wider than it needs to be, of which few units are active",
    "vae": "A variational autoencoder: images sampled and walked between",
    "outlier": "Images of a kind never seen, found by their reconstruction error",
}


def practice_of(name: str) -> "Callable[[Task], Outcome]":
    """The `run` of the practice's file, which brings torch.

    Raises:
        ModuleNotFoundError: if torch or another library of the trainer is missing.
    """
    return cast(
        "Callable[[Task], Outcome]", import_module(f"{__name__}.{name.replace('-', '_')}").run
    )
