"""Training a network on normal windows, and the errors it makes on normal windows it never saw."""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.detector import scale
from models.families import FAMILIES
from models.families.network import Network
from models.frame import Bools, Floats, Ints

# Least windows of a fold for its figures to mean anything.
LEAST_TRAINING, LEAST_HELD_OUT = 100, 30
# Below this many windows the normal data are cross-fitted, above it they are split once.
LONG = 5000
FOLDS = 4
# Windows that are held in memory at once for what is not trained by gradient.
MOST_TO_PREPARE = 20_000

Progress = Callable[[str, int, int], None]  # stage, epochs done, epochs at most


class TrainingError(ValueError):
    """Data that cannot be trained on; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a network is trained.

    Args:
        epochs: at most.
        patience: epochs without a better validation loss before training stops.
        batch: windows per step.
        lr: highest rate of the one-cycle schedule (Smith 2018).
        seed: of weights, batches and noise.
    """

    epochs: int = 100
    patience: int = 15
    batch: int = 32
    lr: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """Which windows serve for what; arrays of window ends (frame indices), in order of time.

    Args:
        train: weights and scaling.
        validation: early stopping and error statistics.
        calibration: threshold.
    """

    train: Ints
    validation: Ints
    calibration: Ints


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network after training, with the scaling of its training frames."""

    network: Network
    center: Floats
    spread: Floats
    epochs: int
    validation_loss: float


def splits(ends: Ints, tick: Ints, window: int) -> list[Split]:
    """Split windows in order of time, ends a window apart, no frame shared: cross-fit short data.

    Assets of one time are split at the same moments, so that each part has windows of all of them.

    Args:
        ends: frame index of the end of each window, shape (windows,).
        tick: its tick, shape (windows,).
        window: frames of a window.

    Raises:
        TrainingError: if a part would be too small.
    """
    order = np.lexsort((ends, tick))
    ends, tick = ends[order], tick[order]
    if len(ends) < LONG:
        edges = [*tick[np.arange(FOLDS) * len(tick) // FOLDS].tolist(), int(tick[-1]) + 1]
        found: list[Split] = []
        for first, after in pairwise(edges):
            held = ends[(tick >= first) & (tick < after)]
            train = ends[(tick <= first - window) | (tick >= after - 1 + window)]
            found.append(Split(train, held, held))
    else:
        first, second = tick[int(0.6 * len(tick))], tick[int(0.8 * len(tick))]
        validation = ends[(tick >= first) & (tick <= second - window)]
        found = [Split(ends[tick <= first - window], validation, ends[tick >= second])]
    for split in found:
        held = min(len(split.validation), len(split.calibration))
        if len(split.train) < LEAST_TRAINING or held < LEAST_HELD_OUT:
            raise TrainingError(
                f"too little normal data: {len(ends)} windows of {window} frames leave "
                f"{len(split.train)} to train and {held} to hold out in a fold; wanted at least "
                f"{LEAST_TRAINING} and {LEAST_HELD_OUT} (record longer, or use a shorter --window)"
            )
    return found


def scaling(values: Floats, ends: Ints, window: int) -> tuple[Floats, Floats]:
    """Center and spread per sensor of the frames that some windows cover.

    The spread has a floor of 1 % of the range; a constant sensor gets 1 % of its value, so that
    leaving it is a finite surprise.

    Raises:
        TrainingError: if the values are too large to be squared.
    """
    frames = values[covered(ends, window, len(values))]
    with np.errstate(over="ignore", invalid="ignore"):
        center = frames.mean(axis=0)
        spread = frames.std(axis=0)
    if not np.isfinite(spread).all():
        largest = np.abs(frames).max()
        raise TrainingError(f"a sensor reads {largest:.3g}; wanted numbers that can be squared")
    spread: Floats = np.maximum(spread, 0.01 * (frames.max(axis=0) - frames.min(axis=0)))
    spread = np.where(spread > 1e-9 * np.abs(center), spread, 0.01 * np.abs(center))
    return center, np.where(spread > 0, spread, 1.0)


def covered(ends: Ints, window: int, frames: int) -> Bools:
    """Which frames lie in at least one of the windows, shape (frames,)."""
    change = np.zeros(frames + 1, np.int64)
    np.add.at(change, ends - window + 1, 1)
    np.add.at(change, ends + 1, -1)
    return np.cumsum(change[:-1]) > 0


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
    values: Floats,
    window: int,
    split: Split,
    settings: Settings,
    on_epoch: Callable[[int], None],
) -> Fitted:
    """Train one network; scaling comes from its own training frames.

    Args:
        model: name of a family.
        parameters: of the family.
        values: all frames, shape (frames, sensors).
        window: frames of a window (L).
        split: an empty validation part trains for all `settings.epochs`.
        settings: how.
        on_epoch: called with the number of epochs done.

    Raises:
        TrainingError: if training diverges.
    """
    center, spread = scaling(values, split.train, window)
    frames = torch.from_numpy(scale(values, center, spread))
    network, generator = build(model, window, values.shape[1], parameters, settings.seed)
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
    values: Floats,
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
            values,
            window,
            folds[index],
            settings,
            lambda done: progress(name, done, settings.epochs),
        )

    with ThreadPoolExecutor(max(1, min(workers, len(folds)))) as pool:
        return list(pool.map(one, range(len(folds))))
