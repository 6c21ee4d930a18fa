"""A transformer autoencoder whose decoder sees nothing of the window but a few latent tokens.

After Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762; windows are cut
into patches as in Nie et al., ICLR 2023, arXiv 2211.14730, and a span of them is hidden in training
as in He et al., CVPR 2022, arXiv 2111.06377.
"""

from typing import Final

import torch
from torch import Generator, Tensor, nn

from models.families.network import Network

WIDTH: Final = 64  # d, of a token
FEED_FORWARD: Final = 2 * WIDTH
HEADS: Final = 4
LAYERS: Final = 2  # of the encoder; the decoder has one
# What attention costs grows with the square of their number; a frame each where there are fewer.
MOST_PATCHES: Final = 16


class Attention(nn.Module):
    """Multi-head attention written out, for its export to be matrix products and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """What tokens (N, Q, d) take from tokens (N, T, d), shape (N, Q, d)."""
        query = self.query(asking).unflatten(2, (HEADS, -1)).transpose(1, 2)  # (N, h, Q, d/h)
        both = self.key_value(asked).unflatten(2, (2, HEADS, -1))  # (N, T, 2, h, d/h)
        key, value = both.permute(2, 0, 3, 1, 4).unbind()  # (N, h, T, d/h) each
        weight = query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5  # (N, h, Q, T)
        taken = weight.softmax(3) @ value  # (N, h, Q, d/h)
        return self.output(taken.transpose(1, 2).flatten(2))  # (N, Q, d)


class Layer(nn.Module):
    """Attention, then a feed-forward network for each token; both add to what they normalise."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, FEED_FORWARD),
            nn.ReLU(),
            nn.Linear(FEED_FORWARD, WIDTH),
        )

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Tokens (N, Q, d) after they have asked others (N, T, d), shape (N, Q, d)."""
        asking = asking + self.attention(self.norm(asking), self.norm(asked))
        return asking + self.feed_forward(asking)


class TransformerAutoencoder(Network):
    """Patches of frames → latent tokens → code → tokens that every position asks for its patch.

    Latent tokens stand before the patches and ask them, layer after layer; what they have gathered
    is squeezed into the code. Half the windows of a batch train with a span hidden, so that the
    rest must tell it; none is hidden when windows are scored.

    Args:
        tokens: latent tokens.
        code: numbers in all of them, at most a quarter of the window's cells.
        masked: share of a window that is hidden.
    """

    def __init__(
        self, window: int, sensors: int, tokens: int = 4, code: int = 32, masked: float = 0.25
    ) -> None:
        super().__init__(window, sensors)
        code = max(1, min(code, window * sensors // 4))
        self.tokens = min(tokens, code)
        self.patch = -(-window // MOST_PATCHES)  # frames
        self.patches = -(-window // self.patch)
        self.masked = round(masked * self.patches)  # patches
        cells = self.patch * sensors
        self.embed = nn.Linear(cells, WIDTH)
        self.latent = nn.Parameter(torch.zeros(self.tokens, WIDTH))
        self.hidden = nn.Parameter(torch.zeros(WIDTH))  # stands for a patch
        self.encoder = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.squeeze = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, code // self.tokens))
        self.expand = nn.Linear(code // self.tokens, WIDTH)
        self.names = nn.Parameter(torch.zeros(self.tokens, WIDTH))
        self.decoder = Layer()
        self.output = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, cells))
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(self.patches), persistent=False)

    def initialise(self, generator: Generator) -> None:
        """Glorot uniform matrices, zero biases, and tokens about as long as a position."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
        for token in (self.latent, self.hidden, self.names):
            nn.init.normal_(token, std=0.5**0.5, generator=generator)

    def encode(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """The code of windows (N, L, m), shape (N, K, code / K).

        Args:
            windows: their length is made a multiple of the patch's with more of the oldest frame.
            mask: patches that are hidden, bool of shape (N, P).
        """
        missing = self.patch * self.patches - self.window
        frames = windows[:, torch.arange(-missing, self.window).clamp_min(0)]  # (N, P * patch, m)
        seen = self.embed(frames.unflatten(1, (self.patches, self.patch)).flatten(2))  # (N, P, d)
        if mask is not None:
            seen = torch.where(mask[:, :, None], self.hidden, seen)  # (N, P, d)
        latent = self.latent.expand(windows.shape[0], -1, -1)  # (N, K, d)
        seen = torch.cat((latent, seen + self.positions), dim=1)  # (N, K + P, d)
        for layer in self.encoder[:-1]:
            seen = layer(seen, seen)  # (N, K + P, d)
        # Of the last layer nothing but the latent tokens goes on.
        latent = self.encoder[-1](seen[:, : self.tokens], seen)  # (N, K, d)
        return self.squeeze(latent)  # (N, K, code / K)

    def decode(self, code: Tensor) -> Tensor:
        """Windows (N, L, m) from their code (N, K, code / K) alone."""
        latent = self.expand(code) + self.names  # (N, K, d)
        patches = self.output(self.decoder(self.positions[None], latent))  # (N, P, patch * m)
        frames = patches.unflatten(2, (self.patch, self.sensors)).flatten(1, 2)  # (N, P * patch, m)
        return frames[:, self.patch * self.patches - self.window :]  # (N, L, m)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Decoded from the code alone (N, L, m)."""
        return self.decode(self.encode(windows))

    def mask(self, count: int, generator: Generator) -> Tensor:
        """A span of patches in about every other of some windows, bool of shape (N, P)."""
        most = self.patches - self.masked
        start = torch.randint(most + 1, (count, 1), generator=generator)
        position = torch.arange(self.patches)
        span = (position >= start) & (position < start + self.masked)  # (N, P)
        return span & (torch.rand(count, 1, generator=generator) < 0.5)

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Mean squared error of all cells, hidden ones too."""
        del objective
        code = self.encode(windows, self.mask(len(windows), generator))
        return (windows - self.decode(code)).square().mean()


def sinusoids(count: int) -> Tensor:
    """Positions as sines and cosines (Vaswani et al. 2017, section 3.5), shape (count, d)."""
    rate = 10_000.0 ** -(torch.arange(0, WIDTH, 2) / WIDTH)  # (d/2,)
    angle = torch.arange(count)[:, None] * rate  # (count, d/2)
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)  # (count, d)
