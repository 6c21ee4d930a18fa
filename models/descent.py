"""Gradient descent of one network on its windows: an epoch at a time, resumable after each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from models.families.network import Network
from models.frame import Ints
from models.plan import Settings

# Windows that an epoch's validation loss is measured on.
MOST_TO_VALIDATE = 2000

# Weights and the steps of an epoch → what moves the weights, and at which rate.
Optimisation = Callable[[list[nn.Parameter], int], tuple[Optimizer, LRScheduler]]


class Descent:
    """The training of one network, kept at the epoch with the least validation loss.

    Args:
        network: with its initial weights.
        frames: all frames, scaled, float32 (frames, sensors).
        train: ends of the windows to train on.
        validation: ends of those to measure the loss on; without any, all epochs are trained.
        epochs: at most.
        settings: how.
        generator: of batches and noise.
        optimisation: by default Adam under the one-cycle schedule.

    Attributes:
        epoch: epochs done; negative while parts of the network are pretrained.
        loss: mean training loss of the windows of the last epoch, of its first objective.
        best_epoch, best_loss: of the least validation loss so far.
    """

    def __init__(
        self,
        network: Network,
        frames: Tensor,
        train: Ints,
        validation: Ints,
        epochs: int,
        settings: Settings,
        generator: Generator,
        optimisation: Optimisation | None = None,
    ) -> None:
        self.loss = float("nan")
        self.epoch, self.best_epoch, self.best_loss = -network.pretraining, 0, float("inf")
        self._network, self._frames, self._train = network, frames, train
        self._validation = spaced(validation, MOST_TO_VALIDATE)
        self._epochs, self._settings, self._generator = epochs, settings, generator
        self._best: dict[str, Tensor] = {}
        self._objectives = network.objectives()
        steps = -(-min(len(train), settings.epoch_windows) // settings.batch)
        made = [(optimisation or self._one_cycle)(each, steps) for each in self._objectives]
        self._optimisers = [optimiser for optimiser, _ in made]
        self._schedules = [schedule for _, schedule in made]

    def _one_cycle(self, weights: list[nn.Parameter], steps: int) -> tuple[Optimizer, LRScheduler]:
        optimiser = torch.optim.Adam(weights)
        epochs = self._network.pretraining + self._epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self._settings.lr or self._network.lr, epochs=epochs, steps_per_epoch=steps
        )
        return optimiser, schedule

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or patience is."""
        stale = self.epoch - self.best_epoch >= self._settings.patience
        return self.epoch >= self._epochs or (stale and len(self._validation) > 0)

    def advance(self) -> None:
        """Train one epoch and measure the validation loss."""
        self.epoch += 1
        self._train_epoch()
        if self.epoch < 1:
            return
        if len(self._validation):
            loss = validation_loss(self._network, self._frames, self._validation)
            if loss < self.best_loss:
                self.best_loss, self.best_epoch = loss, self.epoch
                self._best = {key: one.clone() for key, one in self._network.state_dict().items()}
        else:
            self.best_epoch = self.epoch

    def _train_epoch(self) -> None:
        network, settings, window = self._network, self._settings, self._network.window
        network.train()
        network.epoch = self.epoch
        order = torch.randperm(len(self._train), generator=self._generator).numpy()
        drawn = self._train[order[: settings.epoch_windows]]
        total = torch.zeros((), dtype=torch.float64, device=self._frames.device)
        for start in range(0, len(drawn), settings.batch):
            batch = gather(self._frames, drawn[start : start + settings.batch], window)
            for number, weights in enumerate(self._objectives):
                network.zero_grad()
                loss = network.loss(batch, self._generator, number)
                loss.backward()
                if number == 0:
                    total += loss.detach() * len(batch)
                if settings.clip_norm < float("inf"):
                    nn.utils.clip_grad_norm_(weights, settings.clip_norm)
                self._optimisers[number].step()
                self._schedules[number].step()
        self.loss = total.item() / len(drawn)

    def finish(self) -> None:
        """Give the network its best weights; the last ones where nothing was held out."""
        if self._best:
            self._network.load_state_dict(self._best)
        self._network.eval()

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on: tensors, numbers and texts in dicts and lists."""
        return {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "generator": self._generator.get_state(),
            "weights": self._network.state_dict(),
            "best": self._best,
            "optimisers": [one.state_dict() for one in self._optimisers],
            "schedules": [one.state_dict() for one in self._schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another descent with the same arguments had come to."""
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_loss = state["best_loss"]
        self._generator.set_state(state["generator"])
        self._network.load_state_dict(state["weights"])
        self._best = state["best"]
        for optimiser, found in zip(self._optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(found)
        for schedule, found in zip(self._schedules, state["schedules"], strict=True):
            schedule.load_state_dict(found)


def gather(frames: Tensor, ends: Ints, window: int) -> Tensor:
    """Windows (N, L, m) that end at some frames (frames, m)."""
    return frames[torch.from_numpy(ends[:, None] + np.arange(1 - window, 1))]


def spaced(ends: Ints, most: int) -> Ints:
    """At most so many of them, evenly spaced."""
    return ends[np.linspace(0, len(ends) - 1, min(len(ends), most)).astype(np.int64)]


def validation_loss(network: Network, frames: Tensor, ends: Ints) -> float:
    """Mean error as at scoring time: no noise, no teacher forcing; NaN without windows."""
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(ends), 256):
            _, error = network(gather(frames, ends[start : start + 256], network.window))
            total += float(error.double().sum())
    if not len(ends):
        return float("nan")
    return total / (len(ends) * frames.shape[1] * network.window) + network.offset
