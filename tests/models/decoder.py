"""EncDec-AD's decoder step by step, from the equations of an LSTM."""

import torch
from torch import Tensor

from models.families.lstm import LstmAutoencoder

SHAPES = [(12, 1, 4), (30, 3, 40), (64, 8, 64), (100, 2, 25), (7, 12, 16)]  # L, m, c


def network(window: int, sensors: int, hidden: int, *, louder: float = 1.0) -> LstmAutoencoder:
    made = LstmAutoencoder(window, sensors, hidden)
    made.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(louder)
    return made.eval()


def windows(window: int, sensors: int, count: int = 5) -> Tensor:
    return torch.randn(count, window, sensors, generator=torch.Generator().manual_seed(1))


def cell(net: LstmAutoencoder, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of the decoder from the equations of an LSTM."""
    ((w_ih, w_hh, b_ih, b_hh),) = net.decoder.all_weights
    hidden, memory = state
    gates = x @ w_ih.T + b_ih + hidden @ w_hh.T + b_hh
    enter, forget, candidate, leave = gates.chunk(4, dim=1)
    memory = forget.sigmoid() * memory + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def looped(net: LstmAutoencoder, given: Tensor, *, teacher: Tensor | None = None) -> Tensor:
    """EncDec-AD's decoder step by step (section 2.1 of the paper), oldest frame first."""
    hidden, memory = net.encode(given)
    state = (hidden[0], memory[0])
    out = [net.output(state[0])]
    for step in range(1, net.window):
        x = out[-1] if teacher is None else teacher[:, net.window - step]
        state = cell(net, x, state)
        out.append(net.output(state[0]))
    return torch.stack(out[::-1], dim=1)
