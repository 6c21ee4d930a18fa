"""A stacked (deep, dense) autoencoder over the flattened window."""

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from models.families.network import Network


class StackedAutoencoder(Network):
    """L*m → hidden layers → code → hidden layers in reverse → L*m, SELU in between.

    Trained to rebuild the clean window from one with Gaussian noise (Vincent et al. 2008).

    Args:
        hidden: widths of the encoder's layers, the last one is the code.
        denoise: standard deviation of the noise on the input while training.
    """

    def __init__(
        self, window: int, sensors: int, hidden: tuple[int, ...] = (128, 32), denoise: float = 0.1
    ) -> None:
        super().__init__(window, sensors)
        self.denoise = denoise
        widths = (window * sensors, *hidden, *reversed(hidden[:-1]), window * sensors)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.SELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def initialise(self, generator: Generator) -> None:
        """LeCun normal weights, as SELU wants them (Klambauer et al. 2017); zero biases."""
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                deviation = layer.in_features**-0.5
                nn.init.normal_(layer.weight, std=deviation, generator=generator)
                nn.init.zeros_(layer.bias)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Dense encoding and decoding (N, L, m)."""
        flat = windows.flatten(1)  # (N, L*m)
        return self.layers(flat).unflatten(1, (self.window, self.sensors))  # (N, L, m)

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Mean squared error against the clean window."""
        del objective
        noise = torch.randn(windows.shape, generator=generator, dtype=windows.dtype)
        return (windows - self.reconstruct(windows + self.denoise * noise)).square().mean()
