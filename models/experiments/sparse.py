"""A stacked autoencoder of images with a wide code of which few units are active at a time."""

import torch
from torch import Generator, Tensor

from models.experiments.autoencoder import StackedImages
from models.families.dense import DenseAutoencoder


class SigmoidCode(DenseAutoencoder):
    """SELU layers around a code of units between 0 and 1."""

    def inward(self, layer: int, values: Tensor) -> Tensor:
        """The code of one layer (N, wide) → (N, slim)."""
        if layer < len(self.encoder_weights) - 1:
            return super().inward(layer, values)
        return (values @ self.encoder_weights[layer].T + self.encoder_biases[layer]).sigmoid()


class SparseImages(StackedImages):
    """784 → hidden layers → code of sigmoid units → back; an active unit costs something.

    Args:
        hidden: widths of the encoder's layers, the last one is the code.
        l1: what an active unit costs.
        kl: weight of the Kullback-Leibler divergence of a unit's mean activity over a batch from
            the target (Ng 2011).
        target: the share of images that a unit is to be active for.
    """

    def __init__(
        self,
        window: int,
        sensors: int,
        hidden: tuple[int, ...] = (100, 300),
        l1: float = 0.0,
        kl: float = 0.0,
        target: float = 0.1,
    ) -> None:
        super().__init__(window, sensors, hidden, denoise=0.0)
        self.dense = SigmoidCode((window * sensors, *hidden))
        self.l1, self.kl, self.target = l1, kl, target

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Mean distance of a pixel and the price of the code."""
        del generator, objective
        flat = windows.flatten(1)  # (N, 784)
        code = self.dense.encode(flat)  # (N, code)
        return self.distance(flat, self.dense.decode(code)).mean() + self.price(code)

    def price(self, code: Tensor) -> Tensor:
        """What the activities of a batch (N, code) cost, a scalar."""
        wanted, active = self.target, code.mean(0).clamp(1e-7, 1 - 1e-7)  # (code,)
        divergence = wanted * torch.log(wanted / active) + (1 - wanted) * torch.log(
            (1 - wanted) / (1 - active)
        )
        return self.l1 * code.sum(1).mean() + self.kl * divergence.sum()
