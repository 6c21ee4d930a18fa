"""A stacked (deep, dense) autoencoder over the flattened window."""

import torch
from torch import Generator, Tensor

from models.families.dense import Activation, DenseAutoencoder, corrupted, draw_weights
from models.families.network import Network


class StackedAutoencoder(Network):
    """L*m → hidden layers → code → hidden layers in reverse → L*m.

    Trained to rebuild the clean window from a corrupted one (Vincent et al. 2008).

    Args:
        hidden: widths of the encoder's layers, the last one is the code.
        activation: between layers.
        tied: the decoder uses the encoder's matrices, transposed.
        denoise: standard deviation of the noise on the input while training.
        mask: share of the input that is dropped while training.
        layerwise: epochs for which each layer is first trained alone, outermost first.
    """

    def __init__(
        self,
        window: int,
        sensors: int,
        hidden: tuple[int, ...] = (128, 32),
        activation: Activation = "selu",
        tied: bool = False,
        denoise: float = 0.1,
        mask: float = 0.0,
        layerwise: int = 0,
    ) -> None:
        super().__init__(window, sensors)
        self.activation: Activation = activation
        self.denoise = denoise
        self.mask = mask
        self.layerwise = layerwise
        self.pretraining = layerwise * len(hidden)
        self.dense = DenseAutoencoder((window * sensors, *hidden), activation, tied)

    def initialise(self, generator: Generator) -> None:
        """LeCun normal weights for SELU, Glorot uniform for ReLU; zero biases."""
        draw_weights(self, generator, "lecun" if self.activation == "selu" else "glorot")

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Dense encoding and decoding (N, L, m)."""
        flat = windows.flatten(1)  # (N, L*m)
        return self.dense(flat).unflatten(1, (self.window, self.sensors))  # (N, L, m)

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Mean distance to the clean window, or squared error against a layer's clean input."""
        del objective
        flat = windows.flatten(1)  # (N, L*m)
        if self.epoch > 0:
            rebuilt = self.dense(corrupted(flat, generator, self.denoise, self.mask))
            return self.distance(flat, rebuilt).mean()
        layer = (self.pretraining + self.epoch - 1) // self.layerwise
        with torch.no_grad():
            clean = self.dense.encode(flat, layer)  # (N, width of the layer)
        code = self.dense.inward(layer, corrupted(clean, generator, self.denoise, self.mask))
        rebuilt = self.dense.outward(layer, code)
        return ((clean - rebuilt).square() if layer else self.distance(clean, rebuilt)).mean()
