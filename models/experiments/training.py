"""How an experiment trains networks and asks them: with its seed, on its device, resumable."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.experiments.experiment import Task
from models.experiments.fitting import Epoch, Pixels, Recipe, train
from models.families.network import Network
from models.families.stacked import StackedAutoencoder
from models.words import count

QUICK = 3  # epochs of a quick run
BATCH = 500


def shortened(task: Task, recipe: Recipe) -> Recipe:
    """The recipe, with a few epochs only in a quick run."""
    return replace(recipe, epochs=task.most(recipe.epochs, QUICK))


def told(recipe: Recipe) -> str:
    """A recipe in words."""
    name = {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}[recipe.optimiser]
    return f"{name} {recipe.lr:g}, batch {recipe.batch}, {count(recipe.epochs, 'epoch')}"


def fit(
    task: Task,
    stage: str,
    network: Network,
    recipe: Recipe,
    images: tuple[Pixels, Pixels],
    *,
    resumable: bool = True,
) -> list[Epoch]:
    """Train one of an experiment's networks, or go on where a killed run had come to.

    Args:
        task: of the experiment.
        stage: what this training is called.
        network: with any weights.
        recipe: how, as it is.
        images: to train on and to validate with.
        resumable: whether to keep its state after each epoch.
    """
    return train(
        network,
        *images,
        recipe,
        lambda done, most: task.progress(stage, done, most),
        seed=task.seed,
        device=task.device,
        checkpoint=task.checkpoints / stage if resumable else None,
    )


def rebuilt(network: Network, images: Pixels) -> Pixels:
    """What a network makes of images, of the same shape."""
    with torch.inference_mode():
        return np.concatenate(
            [network(batch)[0].cpu().numpy() for batch in _batches(network, images)]
        )


def errors(network: Network, images: Pixels) -> Pixels:
    """How far off each image is rebuilt: the mean distance of its pixels, shape (N,)."""
    with torch.inference_mode():
        found = [network(batch)[1].mean((1, 2)) for batch in _batches(network, images)]
    return np.concatenate([one.cpu().numpy() for one in found])


def codes(network: StackedAutoencoder, images: Pixels) -> Pixels:
    """The code of each image, shape (N, code)."""
    with torch.inference_mode():
        return np.concatenate(
            [
                network.dense.encode(batch.flatten(1)).cpu().numpy()
                for batch in _batches(network, images)
            ]
        )


def _batches(network: Network, images: Pixels) -> Iterator[Tensor]:
    network.eval()
    device = next(network.parameters()).device
    for start in range(0, len(images), BATCH):
        yield torch.from_numpy(images[start : start + BATCH]).to(device)
