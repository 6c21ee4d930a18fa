"""USAD: two autoencoders that share an encoder, the second trained against the first.

Audibert et al., USAD: UnSupervised Anomaly Detection on Multivariate Time Series, KDD 2020.
"""

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from models.families.dense import chain, draw_weights
from models.families.network import Network

# Of the two hidden layers, which would be d/2 and d/4 wide: parameters grow with d squared.
WIDEST = 256, 128


class Usad(Network):
    """W1 = AE1(W), W2 = AE2(W) and W3 = AE2(AE1(W)) of a window W with d = L*m cells.

    Encoder d → d/2 → d/4 → code with ReLU in between, two mirrored decoders with a sigmoid at the
    end. The window is scaled to [0, 1] by each sensor's least and greatest training value and
    clipped for the encoder; errors are against the window as it is, in the units it came in. Two
    things differ from the paper, for the little data of one machine: the code has no ReLU, of which
    units would die, and the encoder sees [0, 1] as [-1, 1].

    Args:
        code: most latent units; never more than d/4.
        alpha: share of (W - W1)^2 in the error, the rest is (W - W3)^2; less is more sensitive.
        cap: most that n grows to. The paper has no such bound, but where W3 is near W2, AE2 is paid
            for rebuilding badly as soon as n is over 2, and does.
    """

    def __init__(
        self, window: int, sensors: int, code: int = 40, alpha: float = 0.5, cap: float = 1.25
    ) -> None:
        super().__init__(window, sensors)
        self.alpha = alpha
        self.cap = cap
        cells = window * sensors
        limits = zip((2, 4, 4), (*WIDEST, code), strict=True)
        widths = (cells, *(max(1, min(cells // share, most)) for share, most in limits))
        self.encoder = chain(widths, nn.ReLU)
        self.decoders = nn.ModuleList(chain(widths[::-1], nn.ReLU) for _ in range(2))
        self.low: Tensor
        self.range: Tensor
        self.register_buffer("low", torch.zeros(sensors))
        self.register_buffer("range", torch.ones(sensors))

    def initialise(self, generator: Generator) -> None:
        """Glorot uniform weights; zero biases."""
        draw_weights(self, generator, "glorot")

    def prepare(self, windows: Tensor) -> None:
        """Find each sensor's range in training windows (N, L, m)."""
        self.low = windows.amin((0, 1))
        width = windows.amax((0, 1)) - self.low
        self.range = torch.where(width > 0, width, 1.0)

    def rebuild(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """W1, W2 and W3 of windows in [0, 1], each (N, L, m)."""
        shape = (self.window, self.sensors)
        code = self.encode(windows.clamp(0, 1).flatten(1))  # (N, code)
        w1, w2 = (decoder(code).sigmoid() for decoder in self.decoders)  # (N, d)
        w3 = self.decoders[1](self.encode(w1)).sigmoid()  # (N, d)
        return w1.unflatten(1, shape), w2.unflatten(1, shape), w3.unflatten(1, shape)

    def encode(self, flat: Tensor) -> Tensor:
        """The code (N, code) of windows in [0, 1], flat (N, d)."""
        return self.encoder(2 * flat - 1)

    def objectives(self) -> list[list[Parameter]]:
        """AE1's and AE2's weights: both own the encoder."""
        shared = list(self.encoder.parameters())
        return [[*shared, *decoder.parameters()] for decoder in self.decoders]

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Section 3.3 of the paper, n = epoch: AE1 rebuilds and deceives, AE2 rebuilds and doubts.

        L1 = (W - W1)^2 / n + (1 - 1/n) (W - W3)^2, L2 = (W - W2)^2 / n - (1 - 1/n) (W - W3)^2.
        """
        del generator
        w = (windows - self.low) / self.range
        w1, w2, w3 = self.rebuild(w)
        n = min(self.epoch, self.cap)
        adversarial = (1 - 1 / n) * (w - w3).square().mean()
        if objective == 0:
            return (w - w1).square().mean() / n + adversarial
        return (w - w2).square().mean() / n - adversarial

    def reconstruct(self, windows: Tensor) -> Tensor:
        """W1 in the window's own units (N, L, m)."""
        return self(windows)[0]

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows to W1 and alpha (W - W1)^2 + (1 - alpha) (W - W3)^2, both (N, L, m)."""
        w1, _, w3 = self.rebuild((windows - self.low) / self.range)
        w1, w3 = self.low + self.range * w1, self.low + self.range * w3
        once, twice = (windows - w1).square(), (windows - w3).square()
        return w1, self.alpha * once + (1 - self.alpha) * twice
