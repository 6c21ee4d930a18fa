"""What every family is: a network from windows to what was expected and how far off it was."""

from torch import Generator, Tensor, nn


class Network(nn.Module):
    """Maps windows to `expected` and `error`, in torch here and in the same form in ONNX.

    A family implements `reconstruct` and `initialise`; one whose error is not the squared residual
    overrides `forward`, one that trains otherwise overrides `loss`.
    """

    def __init__(self, window: int, sensors: int) -> None:
        super().__init__()
        self.window = window
        self.sensors = sensors

    def initialise(self, generator: Generator) -> None:
        """Draw the initial weights from the generator alone."""
        raise NotImplementedError

    def reconstruct(self, windows: Tensor) -> Tensor:
        """The windows as the network rebuilds them at scoring time, float (N, L, m) to the same."""
        raise NotImplementedError

    def loss(self, windows: Tensor, generator: Generator) -> Tensor:
        """The training objective of a batch (N, L, m), a scalar."""
        del generator
        return (windows - self.reconstruct(windows)).square().mean()

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled windows (N, L, m) to expected and error >= 0, both (N, L, m)."""
        expected = self.reconstruct(windows)
        return expected, (windows - expected).square()
