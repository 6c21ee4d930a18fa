"""EncDec-AD: an LSTM encoder-decoder that rebuilds a window newest frame first.

Malhotra et al., LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection, ICML 2016 anomaly
detection workshop, arXiv 1607.00148.
"""

import torch
from torch import Generator, Tensor, nn

from models.families.network import Network


class LstmAutoencoder(Network):
    """One LSTM layer reads the window, one of the same width rebuilds it in reverse.

    At scoring time the decoder reads its own predictions, and by default in training too; in the
    paper's training it reads the true frames (teacher forcing).

    Args:
        hidden: units of encoder and decoder (c).
        teacher_forcing: its weight in the training loss, 1 in the paper. Where one frame tells the
            next, as in long smooth windows, a forced decoder learns to copy; one that reads its own
            predictions learns to rebuild.
    """

    lr = 1e-2

    def __init__(
        self, window: int, sensors: int, hidden: int = 64, teacher_forcing: float = 0.0
    ) -> None:
        super().__init__(window, sensors)
        self.teacher_forcing = teacher_forcing
        self.encoder = nn.LSTM(sensors, hidden, batch_first=True)
        self.decoder = nn.LSTM(sensors, hidden, batch_first=True)
        self.output = nn.Linear(hidden, sensors)

    def initialise(self, generator: Generator) -> None:
        """Uniform within 1/sqrt(c), as torch does for recurrent layers."""
        bound = self.output.in_features**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound, generator=generator)

    def inner(self) -> list[nn.Parameter]:
        """The recurrent weights of encoder and decoder, each (4c, c)."""
        return [layer.all_weights[0][1] for layer in (self.encoder, self.decoder)]

    def encode(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's final hidden and cell state, each (1, N, c)."""
        _, state = self.encoder(windows)
        return state

    def decode(self, state: tuple[Tensor, Tensor], length: int) -> Tensor:
        """Free-running decoder output (N, length, m), oldest frame first.

        Fed back with its own prediction y = W_o h + b_o the decoder has no input left, so it folds
        into one recurrence with W_hh' = W_hh + W_ih W_o and b' = b_ih + b_hh + W_ih b_o: one fused
        call instead of a loop. The first prediction comes from the encoder's state itself.
        """
        output = self.output
        kind = output.weight.dtype
        (weights,) = self.decoder.all_weights
        w_ih, w_hh, b_ih, b_hh = (weight.double() for weight in weights)
        weight = (w_hh + w_ih @ output.weight.double()).to(kind)  # (4c, c)
        bias = (b_ih + b_hh + w_ih @ output.bias.double()).to(kind)  # (4c,)
        hidden, cell = state
        first = hidden.transpose(0, 1)  # (N, 1, c)
        silence = torch.zeros_like(first[:, :, :1]).expand(-1, length - 1, 1)  # (N, L-1, 1)
        no_input = torch.zeros_like(bias[:, None])  # (4c, 1)
        rest, _, _ = torch.lstm(
            silence,
            (hidden, cell),
            [no_input, weight, torch.zeros_like(bias), bias],
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=self.training,
            bidirectional=False,
            batch_first=True,
        )  # (N, L-1, c)
        newest_first = output(torch.cat((first, rest), dim=1))  # (N, L, m)
        return newest_first.flip(1)

    def reconstruct(self, windows: Tensor) -> Tensor:
        """The decoder's own predictions from the encoder's state (N, L, m)."""
        return self.decode(self.encode(windows), self.window)

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """Mean squared error, under teacher forcing and without it."""
        del generator, objective
        target = windows.flip(1)  # (N, L, m), newest frame first
        state = self.encode(windows)
        loss = windows.new_zeros(())
        if self.teacher_forcing > 0:
            rest, _ = self.decoder(target[:, :-1], state)  # (N, L-1, c)
            states = torch.cat((state[0].transpose(0, 1), rest), dim=1)  # (N, L, c)
            loss = self.teacher_forcing * (self.output(states) - target).square().mean()
        if self.teacher_forcing < 1:
            free = (self.decode(state, self.window) - windows).square().mean()
            loss = loss + (1 - self.teacher_forcing) * free
        return loss
