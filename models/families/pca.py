"""Window PCA: the honest baseline, and what a linear autoencoder learns at best."""

from typing import cast

import torch
from torch import Generator, Tensor

from models.families.network import Network


class WindowPca(Network):
    """Projects the flattened window on its principal components and back; solved, not trained.

    Args:
        variance: share of the training windows' variance that the components keep.
    """

    def __init__(self, window: int, sensors: int, variance: float = 0.9, code: int = 1) -> None:
        super().__init__(window, sensors)
        self.variance = variance
        self.mean = torch.nn.Parameter(torch.zeros(window * sensors), requires_grad=False)
        self.components = torch.nn.Parameter(
            torch.zeros(window * sensors, code), requires_grad=False
        )

    def initialise(self, generator: Generator) -> None:
        """Nothing to draw."""
        del generator

    def solve(self, windows: Tensor) -> None:
        """Find the components of training windows (N, L, m), in float64."""
        flat = windows.flatten(1).double()  # (N, L*m)
        mean = flat.mean(0)
        scatter = (flat - mean).T @ (flat - mean)  # (L*m, L*m)
        variance, vectors = cast(tuple[Tensor, Tensor], torch.linalg.eigh(scatter))  # ascending
        variance, vectors = variance.flip(0).clamp_min(0), vectors.flip(1)
        short = variance.cumsum(0) < self.variance * variance.sum()
        code = min(int(short.sum()) + 1, len(variance) - 1 or 1)
        vectors = vectors[:, :code]
        # A component's sign is arbitrary; fix it so that equal data give equal weights.
        largest = vectors.abs().argmax(0)
        vectors = vectors * vectors[largest, torch.arange(code)].sign()
        self.mean = torch.nn.Parameter(mean.float(), requires_grad=False)
        self.components = torch.nn.Parameter(vectors.float(), requires_grad=False)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Projection on the components (N, L, m)."""
        flat = windows.flatten(1) - self.mean  # (N, L*m)
        back = flat @ self.components @ self.components.T + self.mean  # (N, L*m)
        return torch.unflatten(back, 1, (self.window, self.sensors))
