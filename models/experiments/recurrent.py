"""A recurrent autoencoder of images: a series of 28 rows of 28 pixels."""

import torch
from torch import Generator, Tensor, nn

from models.experiments.autoencoder import Grey


class RecurrentImages(Grey):
    """LSTM → LSTM, whose last state is the code, said again for each row → LSTM → rows.

    Args:
        hidden: units of the outer layers.
        code: units of the inner one.
    """

    def __init__(self, window: int, sensors: int, hidden: int = 100, code: int = 30) -> None:
        super().__init__(window, sensors)
        self.reader = nn.LSTM(sensors, hidden, batch_first=True)
        self.encoder = nn.LSTM(hidden, code, batch_first=True)
        self.decoder = nn.LSTM(code, hidden, batch_first=True)
        self.output = nn.Linear(hidden, sensors)

    def initialise(self, generator: Generator) -> None:
        """As in Keras: Glorot uniform, orthogonal recurrences, zero biases, open forget gates."""
        super().initialise(generator)
        for layer in (self.reader, self.encoder, self.decoder):
            units = layer.hidden_size
            ((_, recurrent, bias, _),) = layer.all_weights
            nn.init.orthogonal_(recurrent, generator=generator)
            with torch.no_grad():
                bias[units : 2 * units] = 1

    def encode(self, windows: Tensor) -> Tensor:
        """The code of images (N, 28, 28), shape (N, code)."""
        rows, _ = self.reader(windows)  # (N, 28, hidden)
        _, (state, _) = self.encoder(rows)
        return state[0]

    def decode(self, code: Tensor) -> Tensor:
        """Logits of the images (N, 28, 28) that codes (N, code) stand for."""
        rows, _ = self.decoder(code[:, None].expand(-1, self.window, -1))  # (N, 28, hidden)
        return self.output(rows)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Decoded from the code alone (N, 28, 28)."""
        return self.decode(self.encode(windows))
