"""Small stacked autoencoders, drawn and trained, and what they are given."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from models import training
from models.families.dense import DenseAutoencoder, draw_weights
from models.families.stacked import StackedAutoencoder
from models.plan import Settings
from models.split import Split
from models.training import train
from tests.models.plant import normal, values


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def dense(*widths: int, **options: Any) -> DenseAutoencoder:
    made = DenseAutoencoder(widths, **options)
    draw_weights(made, seeded())
    with torch.no_grad():
        for bias in (*made.encoder_biases, *made.decoder_biases):
            bias.normal_(generator=seeded(1))
    return made


def stacked(window: int = 8, sensors: int = 3, **options: Any) -> StackedAutoencoder:
    made = StackedAutoencoder(window, sensors, **options)
    made.initialise(seeded())
    return made


def windows(count: int, window: int = 8, sensors: int = 3) -> Tensor:
    return torch.randn(count, window, sensors, generator=seeded(2))


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def quiet(done: int, most: int) -> None:
    """Progress that nobody watches."""


def trained_epochs(
    monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[dict[str, Tensor]], StackedAutoencoder]:
    """The weights at the start of every epoch, and the network at the end."""
    seen: list[dict[str, Tensor]] = []

    class Watched(StackedAutoencoder):
        def train(self, mode: bool = True) -> "Watched":
            if mode:
                seen.append({name: one.clone() for name, one in self.state_dict().items()})
            return super().train(mode)

    monkeypatch.setitem(training.FAMILIES, "watched", Watched)
    numbers, ends = values(300), np.arange(7, 300)
    split, settings = Split(ends[:180], ends[200:], ends[200:]), Settings(epochs=2, lr=1e-2)
    fitted = train("watched", options, normal(numbers), 8, split, settings, quiet)
    assert isinstance(fitted.network, StackedAutoencoder)
    return seen, fitted.network
