"""Window PCA: the honest baseline, and what a linear autoencoder learns at best."""

from typing import Any, cast

import torch
from torch import Generator, Tensor

from models.families.network import Network


class WindowPca(Network):
    """Projects the flattened window on its principal components and back; solved, not trained.

    Args:
        variance: share of the training windows' variance that the components keep.
    """

    def __init__(self, window: int, sensors: int, variance: float = 0.9) -> None:
        super().__init__(window, sensors)
        self.variance = variance
        self._set(torch.zeros(window * sensors), torch.zeros(window * sensors, 1))

    def _set(self, mean: Tensor, components: Tensor) -> None:
        self.mean = torch.nn.Parameter(mean, requires_grad=False)  # (L*m,)
        self.components = torch.nn.Parameter(components, requires_grad=False)  # (L*m, code)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **named: Any
    ) -> None:
        # How many components there are is only known from the weights.
        stored = state_dict.get(prefix + "components")
        if stored is not None:
            self._set(self.mean, torch.zeros(self.window * self.sensors, stored.shape[1]))
        super()._load_from_state_dict(state_dict, prefix, *rest, **named)

    def initialise(self, generator: Generator) -> None:
        """Nothing to draw."""
        del generator

    def prepare(self, windows: Tensor) -> None:
        """Find the components of training windows (N, L, m), in float64."""
        flat = windows.flatten(1).double()  # (N, L*m)
        mean = flat.mean(0)
        # What never moves has no part in any component: command flags are often most of a window.
        moves = (flat != flat[0]).any(0)  # (L*m,)
        moves[0] |= ~moves.any()
        moving = (flat - mean)[:, moves]  # (N, moving)
        variance, vectors = cast(tuple[Tensor, Tensor], torch.linalg.eigh(moving.T @ moving))
        variance, vectors = variance.flip(0).clamp_min(0), vectors.flip(1)  # largest first
        short = variance.cumsum(0) < self.variance * variance.sum()
        code = min(int(short.sum()) + 1, len(variance) - 1 or 1)
        vectors = vectors[:, :code]
        # A component's sign is arbitrary; fix it so that equal data give equal weights.
        largest = vectors.abs().argmax(0)
        vectors = vectors * vectors[largest, torch.arange(code)].sign()
        components = torch.zeros(len(mean), code)  # (L*m, code)
        components[moves] = vectors.float()
        self._set(mean.float(), components)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Projection on the components (N, L, m)."""
        flat = windows.flatten(1) - self.mean  # (N, L*m)
        back = flat @ self.components @ self.components.T + self.mean  # (N, L*m)
        return torch.unflatten(back, 1, (self.window, self.sensors))
