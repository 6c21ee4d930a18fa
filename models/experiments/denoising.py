"""What both denoising practices share: clean images from noisy ones, and how much cleaner."""

from functools import partial

import numpy as np
import torch
from torch import Generator

from models.experiments.drawing import image_rows
from models.experiments.experiment import Outcome, Picture, References, Task, Wanted, judged, ratio
from models.experiments.fitting import Epoch, Pixels, Recipe
from models.experiments.practices.stacked import stacked
from models.experiments.reconstruction import (
    COLUMNS,
    figures_of,
    losses,
    pairs,
    pixels_of,
    reference_loss,
)
from models.experiments.training import fit, rebuilt, shortened, told
from models.families.dense import corrupted

CLEANER = Wanted(least=3, source="three times nearer to the clean image than the noisy one")
DIFFERENCE = Wanted(0, 0, 0, source="no noise after training")
RECIPE = Recipe("sgd", 1.0, 32, 10)
SHOWN = """
Noise is laid on every image while training, anew each time, and the loss compares with the clean
image. Copying no longer helps, however wide the code is: the network has to know what images look
like. Afterwards it is used without noise, or to clean what is noisy.
"""


def denoised(
    task: Task,
    references: References,
    kind: str,
    further: str,
    *,
    deviation: float = 0.0,
    masked: float = 0.0,
) -> Outcome:
    """Train the stacked autoencoder with noise, and let it clean held-out images.

    Args:
        task: of the experiment.
        references: of its figures.
        kind: of noise, in words.
        further: what to try next.
        deviation: of Gaussian noise.
        masked: share of the pixels that are dropped.
    """
    images, held = pixels_of(task)
    network, recipe = stacked(denoise=deviation, mask=masked), shortened(task, RECIPE)
    history = fit(task, "denoise", network, recipe, (images, held))
    noise = Generator().manual_seed(task.seed)
    fed = corrupted(torch.from_numpy(held), noise, deviation, masked).numpy()
    noisy = fed * np.float32(1 - masked)  # pixels merely gone; fed, those that are kept grow
    cleaned, once_more = rebuilt(network, fed), rebuilt(network, fed)
    clean = rebuilt(network, held)
    known = figures_of(task, network, history, (images, held))
    figures = {
        "validation_loss": known.pop("validation_loss"),
        "rounded_accuracy": known.pop("rounded_accuracy"),
        "cleaner": (
            "Squared error of noisy images, times that of cleaned ones",
            ratio(_distance(noisy, held), _distance(cleaned, held)),
        ),
        "clean_error": ("Squared error of clean images rebuilt", _distance(clean, held)),
        "cleaned_error": ("Squared error of noisy images rebuilt", _distance(cleaned, held)),
        "difference": (
            "Largest difference between two reconstructions of the same",
            float(np.abs(cleaned - once_more).max()),
        ),
        **known,
    }
    shown = [held, noisy, cleaned]
    rows = [*zip(("clean", "noisy", "cleaned"), (one[:COLUMNS] for one in shown), strict=True)]
    return Outcome(
        shown=f"{SHOWN}\n{told_apart(history[-1])}",
        reached=judged(task, references, figures),
        pictures=(
            Picture(
                "denoised",
                "Clean, noisy, cleaned",
                f"Held-out images, with {kind}, and what the network makes of the noisy ones.",
                partial(image_rows, rows),
            ),
            pairs(
                {"rebuilt": network}, held, "Without noise it rebuilds as other autoencoders do."
            ),
            losses({"denoising": history}, reference_loss(task, references)),
        ),
        further=further,
        made=(f"784–100–30–100–784, SELU, sigmoid, binary cross-entropy, {told(recipe)}; {kind}.",),
    )


def told_apart(last: Epoch) -> str:
    """How the two losses lie to each other, in a sentence."""
    losses = f"training loss, {last.loss:.4f}", f"validation loss, {last.validation_loss:.4f}"
    if last.loss > last.validation_loss:
        return f"The {losses[0]}, lies above the {losses[1]}: only in training is there noise."
    return (
        f"The {losses[0]}, does not lie above the {losses[1]}, though only in training is there "
        "noise: images that were not trained on cost as much as it does."
    )


def _distance(images: Pixels, clean: Pixels) -> float:
    return float(np.square(images - clean, dtype=np.float64).mean())
