"""A variational autoencoder that is judged by its reconstruction probability.

An and Cho, Variational Autoencoder based Anomaly Detection using Reconstruction Probability,
Seoul National University, special lecture on IE 2 (2015).
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import Parameter, functional

from models.families.dense import chain, draw_weights
from models.families.network import Network

LEAST_NOISE = 1e-2  # standard deviation of a scaled sensor
# A window may be noisier than the quietest one by a factor e: without a bound, a strange window
# would be explained by noise.
MOST_NOISE = 1.0
WARM_UP = 10  # epochs


class VariationalAutoencoder(Network):
    """L*m → hidden layers → Gaussian of the code → hidden layers in reverse → Gaussian of L*m.

    The decoder tells mean and deviation of every cell, so a quiet sensor counts as much as a loud
    one. A cell's error is its negative log-likelihood, averaged over codes drawn for the window,
    above the least it can be. The draws are fixed: the same window has always the same error.

    Args:
        hidden: widths of the encoder's layers before the code.
        code: latent units.
        samples: codes per window at scoring time.
    """

    scaled = True

    def __init__(
        self,
        window: int,
        sensors: int,
        hidden: tuple[int, ...] = (128,),
        code: int = 8,
        samples: int = 16,
    ) -> None:
        super().__init__(window, sensors)
        cells = window * sensors
        self.encoder = chain((cells, *hidden, 2 * code), torch.nn.SELU)
        self.decoder = chain((code, *reversed(hidden), 2 * cells), torch.nn.SELU)
        self.quiet = Parameter(torch.zeros(cells))  # of each cell's least noise
        self.draws: Tensor
        self.register_buffer("draws", torch.zeros(samples, code))

    def initialise(self, generator: Generator) -> None:
        """LeCun normal weights, zero biases, and standard normal draws in pairs of ±."""
        draw_weights(self, generator)
        samples, code = self.draws.shape
        half = torch.randn(math.ceil(samples / 2), code, generator=generator)
        self.draws = torch.cat((half, -half))[:samples]

    def encode(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation of the code, each (N, code); never wider than the prior."""
        mean, narrowing = self.encoder(windows.flatten(1)).chunk(2, dim=-1)
        return mean, -functional.softplus(narrowing)

    def decode(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation of the cells, the latter above its least, each (..., L*m)."""
        mean, noise = self.decoder(code).chunk(2, dim=-1)
        return mean, MOST_NOISE * (noise - 2).sigmoid()  # near the least to begin with

    @property
    def least(self) -> Tensor:
        """The log deviation of every cell where it is quietest (L*m,)."""
        return (LEAST_NOISE + functional.softplus(self.quiet)).log()

    @property
    def offset(self) -> float:
        """The mean of the least, which every error leaves out."""
        return self.least.mean().item()

    def surprise(self, windows: Tensor, mean: Tensor, above: Tensor) -> Tensor:
        """-log N(x; mean, deviation) less its least value, log sqrt(2 pi) + least."""
        return 0.5 * ((windows - mean) * (-self.least - above).exp()).square() + above

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """-ELBO per cell, one code per window; the KL term grows over the first epochs."""
        del objective
        mean, log_deviation = self.encode(windows)  # (N, code)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        code = mean + log_deviation.exp() * noise  # (N, code)
        surprise = self.surprise(windows.flatten(1), *self.decode(code))  # (N, L*m)
        divergence = 0.5 * (mean.square() + (2 * log_deviation).exp() - 1) - log_deviation
        share = min(1.0, self.epoch / WARM_UP)
        return (surprise + self.least).mean() + share * divergence.sum(1).mean() / len(self.quiet)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """The mean of the decoder's means (N, L, m)."""
        return self(windows)[0]

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows to what is expected, and each cell's surprise in nats >= 0, both (N, L, m)."""
        mean, log_deviation = self.encode(windows)  # (N, code)
        codes = mean[:, None] + log_deviation.exp()[:, None] * self.draws  # (N, samples, code)
        means, above = self.decode(codes)  # (N, samples, L*m)
        error = self.surprise(windows.flatten(1)[:, None], means, above).mean(1)  # (N, L*m)
        shape = (self.window, self.sensors)
        return torch.unflatten(means.mean(1), 1, shape), torch.unflatten(error, 1, shape)

    def active_units(self, windows: Tensor) -> int:
        """Latent units that tell windows apart; 0 = the posterior has collapsed.

        A unit is active if its posterior mean varies by more than 0.01 (Burda et al. 2016).
        """
        with torch.no_grad():
            return int((self.encode(windows)[0].var(0) > 0.01).sum())
