"""Training a network on normal windows, and the errors it makes on normal windows it never saw."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.families import FAMILIES
from models.families.network import Network
from models.frame import Floats, Ints
from models.plan import Settings
from models.split import NormalFrames, Split, TrainingError, scalings

# Windows that are held in memory at once for what is not trained by gradient.
MOST_TO_PREPARE = 20_000

Progress = Callable[[str, int, int], None]  # stage, epochs done, epochs at most


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network after training, with the scaling of its training frames, shape (rows, sensors)."""

    network: Network
    center: Floats
    spread: Floats
    epochs: int
    validation_loss: float


def build(
    model: str, window: int, sensors: int, parameters: dict[str, Any], seed: int
) -> tuple[Network, torch.Generator]:
    """A network with its initial weights, and the generator that goes on from there."""
    generator = torch.Generator().manual_seed(seed)
    network = FAMILIES[model](window, sensors, **parameters)
    network.initialise(generator)
    return network, generator


def train(
    model: str,
    parameters: dict[str, Any],
    normal: NormalFrames,
    window: int,
    split: Split,
    settings: Settings,
    on_epoch: Callable[[int], None],
) -> Fitted:
    """Train one network; scaling comes from its own training frames.

    Args:
        model: name of a family.
        parameters: of the family.
        normal: all frames.
        window: frames of a window (L).
        split: an empty validation part trains for all `settings.epochs`.
        settings: how.
        on_epoch: called with the number of epochs done.

    Raises:
        TrainingError: if training diverges.
    """
    center, spread = scalings(normal, split.train, window)
    frames = torch.from_numpy(normal.scale(center, spread))
    network, generator = build(model, window, normal.sensors, parameters, settings.seed)
    sample = np.linspace(0, len(split.train) - 1, min(len(split.train), MOST_TO_PREPARE))
    network.prepare(gather(frames, split.train[sample.astype(np.int64)], window))
    objectives = network.objectives()
    if not objectives:
        loss = validation_loss(network, frames, split.validation, window)
        return Fitted(network.eval(), center, spread, 1, loss)

    optimisers = [torch.optim.Adam(weights) for weights in objectives]
    steps = -(-len(split.train) // settings.batch)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.lr, epochs=settings.epochs, steps_per_epoch=steps
        )
        for optimiser in optimisers
    ]
    best_loss, best_epoch = float("inf"), settings.epochs
    best: dict[str, Any] = {}
    for epoch in range(1, settings.epochs + 1):
        network.train()
        network.epoch = epoch
        order = torch.randperm(len(split.train), generator=generator).numpy()
        for start in range(0, len(order), settings.batch):
            batch = gather(frames, split.train[order[start : start + settings.batch]], window)
            for number, weights in enumerate(objectives):
                network.zero_grad()
                network.loss(batch, generator, number).backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimisers[number].step()
                schedules[number].step()
        on_epoch(epoch)
        if not len(split.validation):
            continue
        loss = validation_loss(network, frames, split.validation, window)
        if loss < best_loss:
            best_loss, best_epoch = loss, epoch
            best = copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    if best:
        network.load_state_dict(best)
    elif len(split.validation):
        raise TrainingError(
            f"training diverged: the validation loss was never finite; a lower --set lr than "
            f"{settings.lr:g} may help"
        )
    return Fitted(network.eval(), center, spread, best_epoch, best_loss)


def gather(frames: Tensor, ends: Ints, window: int) -> Tensor:
    """Windows (N, L, m) that end at some frames (frames, m)."""
    return frames[torch.from_numpy(ends[:, None] + np.arange(1 - window, 1))]


def validation_loss(network: Network, frames: Tensor, ends: Ints, window: int) -> float:
    """Mean error as at scoring time: no noise, no teacher forcing; NaN without windows."""
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(ends), 256):
            _, error = network(gather(frames, ends[start : start + 256], window))
            total += float(error.double().sum())
    return total / (len(ends) * frames.shape[1] * window) if len(ends) else float("nan")


def train_folds(
    model: str,
    parameters: dict[str, Any],
    normal: NormalFrames,
    window: int,
    folds: Sequence[Split],
    settings: Settings,
    progress: Progress,
    workers: int,
) -> list[Fitted]:
    """Train a network per fold, in parallel threads; the result does not depend on their number."""

    def one(index: int) -> Fitted:
        name = f"fold {index + 1} of {len(folds)}"
        return train(
            model,
            parameters,
            normal,
            window,
            folds[index],
            settings,
            lambda done: progress(name, done, settings.epochs),
        )

    with ThreadPoolExecutor(max(1, min(workers, len(folds)))) as pool:
        return list(pool.map(one, range(len(folds))))
