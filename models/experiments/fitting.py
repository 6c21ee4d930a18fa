"""Training on images: the sensor models' loop with the optimiser and the rates of a recipe."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from models.checkpoint import Checkpoint, fingerprint
from models.descent import Descent
from models.experiments.images import Bytes
from models.experiments.sources import sources
from models.families.network import Network
from models.plan import Settings
from models.training import OnEpoch

Pixels = NDArray[np.float32]
OPTIMISERS: dict[str, Callable[[list[nn.Parameter], float], Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    # Keras's constants, with which the reference was trained.
    "rmsprop": lambda weights, lr: torch.optim.RMSprop(weights, lr, alpha=0.9, eps=1e-7),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained: a constant rate, all epochs, no clipping, the last weights kept.

    Args:
        optimiser: a name in OPTIMISERS.
        lr: its rate.
        batch: images per step.
        epochs: of all layers together.
        layer_lr: rates while a layer is trained alone, for each layer, outermost first.
    """

    optimiser: Literal["sgd", "adam", "rmsprop"]
    lr: float
    batch: int
    epochs: int
    layer_lr: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is known after an epoch.

    Args:
        number: from 1; 0 and less while layers are trained alone.
        loss: mean training loss of its images, noise and penalties included.
        validation_loss: mean distance of a pixel as at scoring time, without either.
        rounded_accuracy: share of the pixels that are rebuilt on the right side of 1/2.
    """

    number: int
    loss: float
    validation_loss: float
    rounded_accuracy: float


def scaled(pixels: Bytes) -> Pixels:
    """Grey levels from 0 to 1, of the same shape."""
    return np.divide(pixels, 255, dtype=np.float32)


def train(
    network: Network,
    images: Pixels,
    validation: Pixels,
    recipe: Recipe,
    on_epoch: OnEpoch,
    *,
    seed: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
) -> list[Epoch]:
    """Draw a network's weights and train them.

    Args:
        network: with any weights; it is on the device and ready for scoring afterwards.
        images: to train on, shape (N, L, m).
        validation: to measure the loss on after each epoch, shape (N, L, m).
        recipe: how.
        on_epoch: called after each epoch with those done and all there will be.
        seed: of weights, batches and noise.
        device: "cpu" or "cuda".
        checkpoint: a file for the state after each epoch, for an equal call to go on from.
    """
    torch.set_num_threads(1)  # a second thread costs more than it brings at these sizes
    generator = torch.Generator().manual_seed(seed)
    network.initialise(generator)
    network.to(device)
    frames = torch.from_numpy(images.reshape(-1, network.sensors)).to(device)
    held = torch.from_numpy(validation).to(device)
    ends = np.arange(network.window - 1, len(frames), network.window)
    settings = Settings(
        epochs=recipe.epochs, epoch_windows=len(ends), batch=recipe.batch, clip_norm=float("inf")
    )
    descent = Descent(
        network,
        frames,
        ends,
        ends[:0],
        recipe.epochs,
        settings,
        generator,
        lambda weights, steps: _optimisation(recipe, network, weights, steps),
    )
    kept = checkpoint and Checkpoint(
        checkpoint,
        fingerprint((_about(network), recipe, seed, device, sources()), (images, validation)),
    )
    history: list[Epoch] = []
    if kept and (state := kept.read()):
        descent.load_state_dict(state["descent"])
        history = [Epoch(**one) for one in state["history"]]
    most = network.pretraining + recipe.epochs
    while not descent.over:
        descent.advance()
        history.append(Epoch(descent.epoch, descent.loss, *measure(network, held)))
        if kept:
            kept.write(
                {"descent": descent.state_dict(), "history": [asdict(one) for one in history]}
            )
        on_epoch(len(history), most)
    descent.finish()
    return history


def measure(network: Network, images: Tensor) -> tuple[float, float]:
    """Mean distance of a pixel and rounded accuracy, as at scoring time.

    Args:
        network: on the images' device.
        images: shape (N, L, m).
    """
    network.eval()
    loss, right = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(images), 500):
            batch = images[start : start + 500]
            expected, error = network(batch)
            loss += float(error.double().sum())
            right += int((expected.round() == batch.round()).sum())
    return loss / images.numel(), right / images.numel()


def _optimisation(
    recipe: Recipe, network: Network, weights: list[nn.Parameter], steps: int
) -> tuple[Optimizer, LRScheduler]:
    rates = (*recipe.layer_lr, recipe.lr)
    alone = network.pretraining // max(1, len(recipe.layer_lr)) * steps  # steps of a layer

    def rate(step: int) -> float:
        return rates[min(step // alone, len(rates) - 1) if alone else -1]

    optimiser = OPTIMISERS[recipe.optimiser](weights, 1.0)
    return optimiser, LambdaLR(optimiser, rate)


def _about(network: Network) -> tuple[str, list[tuple[str, object]]]:
    """What a network is, apart from its weights."""
    plain = (int, float, str, bool)
    options = [(name, value) for name, value in vars(network).items() if isinstance(value, plain)]
    return repr(network), sorted(options)
