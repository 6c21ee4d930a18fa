"""Training a network on normal windows, and the errors it makes on normal windows it never saw."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch

from models.checkpoint import Checkpoint, fingerprint
from models.descent import MOST_TO_VALIDATE, Descent, gather, spaced, validation_loss
from models.families import FAMILIES
from models.families.network import Network
from models.frame import Floats
from models.plan import Settings
from models.split import LEAST_TRAINING, NormalFrames, Split, TrainingError, scalings

# Windows that are held in memory at once for what is not trained by gradient.
MOST_TO_PREPARE = 20_000

OnEpoch = Callable[[int, int], None]  # epochs done, epochs at most
Progress = Callable[[str, int, int], None]  # stage, and the same


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network after training.

    Args:
        center, spread: of its training frames, shape (rows, sensors).
        epochs: of the weights that were kept, for each part of the network.
        validation_loss: mean of its parts.
    """

    network: Network
    center: Floats
    spread: Floats
    epochs: tuple[int, ...]
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
    on_epoch: OnEpoch,
    *,
    epochs: Sequence[int] = (),
    checkpoint: Path | None = None,
) -> Fitted:
    """Train one network, part after part; scaling comes from its own training frames.

    Args:
        model: name of a family.
        parameters: of the family.
        normal: all frames.
        window: frames of a window (L).
        split: without a validation part nothing is stopped early.
        settings: how.
        on_epoch: called after each epoch.
        epochs: of each part of the network, at most; default `settings.epochs`.
        checkpoint: where the state after each epoch is kept, for an equal call to go on from.

    Raises:
        TrainingError: if training diverges, or if the stride leaves too few windows.
    """
    # Frames of an asset lie one after another, so every asset keeps its n-th windows.
    ends = split.train[split.train % settings.stride == 0]
    if len(ends) < LEAST_TRAINING:
        raise TrainingError(
            f"--set stride={settings.stride} leaves {len(ends)} windows to train on; wanted at "
            f"least {LEAST_TRAINING}"
        )
    center, spread = scalings(normal, split.train, window)
    frames = torch.from_numpy(normal.scale(center, spread))
    network, generator = build(model, window, normal.sensors, parameters, settings.seed)
    parts = network.parts()
    most = [*epochs] or [settings.epochs] * len(parts)
    mark = ""
    if checkpoint:
        request = (model, sorted(parameters.items()), window, settings, most)
        mark = fingerprint(request, (normal.values, normal.row, split.train, split.validation))
    found: list[tuple[int, float]] = []
    for number, part in enumerate(parts):
        drawn = part.draw(ends, generator)
        part.prepare(gather(frames, spaced(drawn, MOST_TO_PREPARE), window))
        if not part.objectives():
            held = spaced(split.validation, MOST_TO_VALIDATE)
            found.append((1, validation_loss(part, frames, held)))
            continue
        held = split.validation
        descent = Descent(part, frames, drawn, held, most[number], settings, generator)
        kept = checkpoint and Checkpoint(checkpoint.with_suffix(f".{number}"), mark)
        before = sum(most[:number])
        _descend(descent, kept, lambda done, before=before: on_epoch(before + done, sum(most)))
        found.append((descent.best_epoch, descent.best_loss))
    best_epochs = tuple(epoch for epoch, _ in found)
    loss = float(np.mean([loss for _, loss in found]))
    return Fitted(network.eval(), center, spread, best_epochs, loss)


def _descend(
    descent: Descent, checkpoint: Checkpoint | None, on_epoch: Callable[[int], None]
) -> None:
    """Go on from the checkpoint, if there is one, to the end."""
    if checkpoint and (state := checkpoint.read()):
        descent.load_state_dict(state)
    while not descent.over:
        descent.advance()
        if checkpoint:
            checkpoint.write(descent.state_dict())
        on_epoch(max(0, descent.epoch))
    if not descent.best_epoch:
        raise TrainingError(
            "training diverged: the validation loss was never finite; a lower --set lr may help"
        )
    descent.finish()


def train_folds(
    model: str,
    parameters: dict[str, Any],
    normal: NormalFrames,
    window: int,
    folds: Sequence[Split],
    settings: Settings,
    progress: Progress,
    workers: int,
    checkpoints: Path | None = None,
) -> list[Fitted]:
    """Train a network per fold, in parallel threads; the result does not depend on their number.

    Where one fails, or the caller is interrupted, the others end with their epoch.
    """
    stopped = Event()

    def told(stage: str, done: int, most: int) -> None:
        if stopped.is_set():
            raise CancelledError
        progress(stage, done, most)

    def one(index: int) -> Fitted:
        return train(
            model,
            parameters,
            normal,
            window,
            folds[index],
            settings,
            partial(told, f"fold {index + 1} of {len(folds)}"),
            checkpoint=checkpoints and checkpoints / f"{model}-{index}",
        )

    with ThreadPoolExecutor(max(1, min(workers, len(folds)))) as pool:
        try:
            return list(pool.map(one, range(len(folds))))
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
