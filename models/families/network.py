"""What every family is: a network from windows to what was expected and how far off it was."""

import torch
from torch import Generator, Tensor, nn

from models.frame import Ints


class Network(nn.Module):
    """Maps windows to `expected` and `error`, in torch here and in the same form in ONNX.

    A family implements `reconstruct` and `initialise`; one whose error is another distance than the
    squared residual overrides `distance` or `forward`, one that trains otherwise overrides `loss`,
    and one that takes something from the training windows without a gradient overrides `prepare`.

    Attributes:
        lr: highest rate of its training, unless another is asked for.
        epoch: the epoch that is being trained, from 1; for objectives that change as it grows.
        pretraining: epochs before epoch 1, for parts of the network; not those where it is best.
        scaled: whether an error is already in units of its own normal size.
        bootstrap: whether it trains on windows drawn with replacement, as a member of an ensemble
            may (Breiman 1996).
    """

    lr = 1e-3
    epoch = 1
    pretraining = 0
    scaled = False
    bootstrap = False

    def __init__(self, window: int, sensors: int) -> None:
        super().__init__()
        self.window = window
        self.sensors = sensors

    @property
    def offset(self) -> float:
        """What the mean error lacks to be comparable between epochs, where its zero moves."""
        return 0.0

    def initialise(self, generator: Generator) -> None:
        """Draw the initial weights from the generator alone."""
        raise NotImplementedError

    def reconstruct(self, windows: Tensor) -> Tensor:
        """The windows as the network rebuilds them at scoring time, float (N, L, m) to the same."""
        raise NotImplementedError

    def prepare(self, windows: Tensor) -> None:
        """Take what is not trained by gradient from all the training windows (N, L, m)."""
        del windows

    def parts(self) -> "list[Network]":
        """The networks to train, one after another: itself, or its members."""
        return [self]

    def draw(self, ends: Ints, generator: Generator) -> Ints:
        """Those of the training windows it trains on."""
        if not self.bootstrap:
            return ends
        return ends[torch.randint(len(ends), (len(ends),), generator=generator).numpy()]

    def inner(self) -> list[nn.Parameter]:
        """Matrices of which an ensemble may leave out a part, for members to differ."""
        return [weight for weight in self.parameters() if weight.ndim > 1 and weight.requires_grad]

    def objectives(self) -> list[list[nn.Parameter]]:
        """The weights that each objective trains, in turn for every batch; none = solved."""
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        return [weights] if weights else []

    def distance(self, windows: Tensor, rebuilt: Tensor) -> Tensor:
        """How far off each cell is, >= 0, of one shape with both."""
        return (windows - rebuilt).square()

    def loss(self, windows: Tensor, generator: Generator, objective: int = 0) -> Tensor:
        """One training objective of a batch (N, L, m), a scalar."""
        del generator, objective
        return self.distance(windows, self.reconstruct(windows)).mean()

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Scaled windows (N, L, m) to expected and error >= 0, both (N, L, m)."""
        expected = self.reconstruct(windows)
        return expected, self.distance(windows, expected)
