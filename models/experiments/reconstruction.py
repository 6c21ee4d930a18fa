"""What every experiment that rebuilds images tells of a network: its figures, rows and losses."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch

from models.experiments.drawing import image_rows, loss_curves
from models.experiments.experiment import Outcome, Picture, References, Task, judged
from models.experiments.fitting import Epoch, Pixels, Recipe, measure, scaled
from models.experiments.training import fit, rebuilt, shortened, told
from models.families.network import Network

COLUMNS = 12  # images in a row of pictures

Figures = dict[str, tuple[str, float]]


def pixels_of(task: Task) -> tuple[Pixels, Pixels]:
    """The images to train on and to validate with, from 0 to 1."""
    return scaled(task.data.train.pixels), scaled(task.data.validation.pixels)


def figures_of(
    task: Task, network: Network, history: Sequence[Epoch], images: tuple[Pixels, Pixels]
) -> Figures:
    """How well a network rebuilds images that it has not seen.

    Args:
        task: of the experiment.
        network: trained on the images to learn from.
        history: of its training, watched on those held out.
        images: both of these, from 0 to 1.
    """
    test = scaled(task.data.test.pixels)
    device = next(network.parameters()).device
    test_loss, test_accuracy = measure(network, torch.from_numpy(test).to(device))
    last = history[-1]
    return {
        "validation_loss": ("Validation loss, binary cross-entropy", last.validation_loss),
        "rounded_accuracy": ("Rounded accuracy, validation", last.rounded_accuracy),
        "train_loss": ("Training loss, mean of the last epoch", last.loss),
        "parameters": ("Weights and biases", weights_of(network)),
        "test_loss": ("Test loss", test_loss),
        "test_rounded_accuracy": ("Rounded accuracy, test", test_accuracy),
        **bounds(*images, "validation"),
    }


def weights_of(network: Network) -> int:
    """How many numbers a network has learnt."""
    return sum(one.numel() for one in network.parameters())


def bounds(train: Pixels, judged: Pixels, part: str) -> Figures:
    """Between which losses a network that has learnt something lies.

    Args:
        train: what it learnt from.
        judged: what the loss is measured on.
        part: what they are called.
    """
    return {
        "floor": (
            f"The least possible {part} loss: the entropy of the grey levels",
            floor(judged),
        ),
        "mean_image_loss": (
            f"{part.capitalize()} loss of the mean image as the answer to all",
            mean_image_loss(train, judged),
        ),
    }


def floor(images: Pixels) -> float:
    """The binary cross-entropy of grey pixels that are rebuilt exactly: their entropy."""
    return cross_entropy(images, images)


def mean_image_loss(train: Pixels, held: Pixels) -> float:
    """What always answering with the mean image costs."""
    return cross_entropy(held, np.broadcast_to(train.mean(0), held.shape))


def cross_entropy(images: Pixels, rebuilt: Pixels) -> float:
    """Mean binary cross-entropy of a pixel."""
    # Where a pixel is 0 or 1 and rebuilt as such, its term is 0.
    guess = np.clip(rebuilt.astype(np.float64), 1e-12, 1 - 1e-12)
    return float(-(images * np.log(guess) + (1 - images) * np.log1p(-guess)).mean())


def losses(histories: Mapping[str, Sequence[Epoch]], reference: float | None = None) -> Picture:
    """The picture of losses over epochs.

    Args:
        histories: of trainings, by name.
        reference: a validation loss to compare with.
    """
    compared = "; the dashed line is the reference" if reference is not None else ""
    return Picture(
        "losses",
        "Losses",
        f"Mean of a pixel after each epoch, on the images trained on and on others{compared}.",
        partial(loss_curves, histories, reference=reference),
    )


def pairs(networks: Mapping[str, Network], images: Pixels, caption: str) -> Picture:
    """The picture of images above what networks make of them.

    Args:
        networks: by name.
        images: that they have not seen.
        caption: what to see.
    """
    shown = images[:COLUMNS]
    rows = [("original", shown), *((name, rebuilt(one, shown)) for name, one in networks.items())]
    return Picture("pairs", "Originals and reconstructions", caption, partial(image_rows, rows))


def reference_loss(task: Task, references: References) -> float | None:
    """The validation loss to compare with, if there is one for these images and this run."""
    known = {} if task.quick else references.get(task.data.name, {})
    wanted = known.get("validation_loss")
    return wanted and wanted.reference


def rebuilding(
    task: Task,
    network: Network,
    recipe: Recipe,
    references: References,
    *,
    shown: str,
    further: str,
    layers: str,
    caption: str,
) -> Outcome:
    """Train one network, and show how well it rebuilds.

    Args:
        task: of the experiment.
        network: with any weights.
        recipe: of a full run.
        references: of its figures.
        shown, further: of the outcome.
        layers: of the network, in words.
        caption: of the rows of images.
    """
    recipe = shortened(task, recipe)
    images, held = pixels_of(task)
    history = fit(task, task.name, network, recipe, (images, held))
    return Outcome(
        shown=shown,
        reached=judged(task, references, figures_of(task, network, history, (images, held))),
        pictures=(
            pairs({"rebuilt": network}, held, caption),
            losses({task.name: history}, reference_loss(task, references)),
        ),
        further=further,
        made=(f"{layers}, binary cross-entropy, {told(recipe)}.",),
    )
