"""A convolutional autoencoder over time: strided convolutions, a dense code, and the way back."""

from itertools import pairwise
from typing import Final

import torch
from torch import Generator, Tensor, nn

from models.families.network import Network

KERNEL: Final = 5  # frames; odd, so that a stage halves any number of frames, rounded up


class ConvAutoencoder(Network):
    """Convolutions over time that halve the frames → code → transposed convolutions that double.

    SELU in between. Trained to rebuild the clean window from one with Gaussian noise (Vincent et
    al. 2008).

    Args:
        channels: of the encoder's stages.
        code: numbers that all of a window passes through, at most a quarter of its cells.
        denoise: standard deviation of the noise on the input while training.
    """

    def __init__(
        self,
        window: int,
        sensors: int,
        channels: tuple[int, ...] = (32, 32),
        code: int = 32,
        denoise: float = 0.1,
    ) -> None:
        super().__init__(window, sensors)
        self.denoise = denoise
        lengths = [window]
        for _ in channels:
            lengths.append(-(-lengths[-1] // 2))
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for stage, (wide, deep) in enumerate(pairwise((sensors, *channels))):
            around, last = KERNEL // 2, 1 - lengths[stage] % 2
            down += [nn.Conv1d(wide, deep, KERNEL, 2, around), nn.SELU()]
            up += [nn.ConvTranspose1d(deep, wide, KERNEL, 2, around, last), nn.SELU()]
        self.deepest = channels[-1], lengths[-1]
        cells = channels[-1] * lengths[-1]
        code = max(1, min(code, window * sensors // 4))
        self.down = nn.Sequential(*down)
        self.squeeze = nn.Linear(cells, code)
        self.expand = nn.Linear(code, cells)
        self.up = nn.Sequential(*reversed(up))

    def initialise(self, generator: Generator) -> None:
        """LeCun normal weights, as SELU wants them (Klambauer et al. 2017); zero biases."""
        for name, weight in self.named_parameters():
            if weight.ndim == 1:
                nn.init.zeros_(weight)
                continue
            inputs = weight[0].numel()
            if name.startswith("up."):
                # Matrices of (inputs, outputs, taps), of which a frame hears every other one.
                inputs = weight[:, 0].numel() / 2
            nn.init.normal_(weight, std=inputs**-0.5, generator=generator)

    def encode(self, windows: Tensor) -> Tensor:
        """The code of windows (N, L, m), shape (N, code)."""
        deep = self.down(windows.transpose(1, 2))  # (N, channels, positions)
        return self.squeeze(deep.flatten(1))  # (N, code)

    def decode(self, code: Tensor) -> Tensor:
        """Windows (N, L, m) from their code (N, code) alone."""
        deep = self.expand(code).unflatten(1, self.deepest)  # (N, channels, positions)
        return self.up(deep).transpose(1, 2)  # (N, L, m)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Decoded from the code alone (N, L, m)."""
        return self.decode(self.encode(windows))

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Mean distance to the clean window."""
        del objective
        noise = torch.randn(windows.shape, generator=generator, dtype=windows.dtype)
        rebuilt = self.reconstruct(windows + self.denoise * noise)
        return self.distance(windows, rebuilt).mean()
