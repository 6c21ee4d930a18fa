"""A variational autoencoder of images, which can also draw new ones.

Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, arXiv 1312.6114.
"""

import torch
from torch import Generator, Tensor

from models.experiments.autoencoder import Grey
from models.families.dense import chain


class VariationalImages(Grey):
    """784 → hidden layers → Gaussian of the code → hidden layers in reverse → 784, SELU between.

    Args:
        hidden: widths of the encoder's layers before the code.
        code: latent units.
    """

    def __init__(
        self, window: int, sensors: int, hidden: tuple[int, ...] = (150, 100), code: int = 10
    ) -> None:
        super().__init__(window, sensors)
        cells = window * sensors
        self.encoder = chain((cells, *hidden, 2 * code), torch.nn.SELU)
        self.decoder = chain((code, *reversed(hidden), cells), torch.nn.SELU)

    def encode(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code of images (N, 28, 28), each (N, code)."""
        mean, log_variance = self.encoder(windows.flatten(1)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, code: Tensor) -> Tensor:
        """Logits of the images (N, 28, 28) that codes (N, code) stand for."""
        return self.decoder(code).unflatten(1, (self.window, self.sensors))

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Decoded from the mean of the code (N, 28, 28)."""
        return self.decode(self.encode(windows)[0])

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """-ELBO per pixel, one code per image."""
        del objective
        mean, log_variance = self.encode(windows)  # (N, code)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
        code = mean + (0.5 * log_variance).exp() * noise  # (N, code)
        divergence = -0.5 * (1 + log_variance - log_variance.exp() - mean.square()).sum(1)  # (N,)
        pixels = self.window * self.sensors
        return self.distance(windows, self.decode(code)).mean() + divergence.mean() / pixels
