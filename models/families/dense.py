"""Dense layers mirrored around a code: of windows, of images, of anything flat."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

Activation = Literal["selu", "relu", "linear"]
Scheme = Literal["lecun", "glorot", "uniform"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "selu": functional.selu,
    "relu": functional.relu,
    "linear": nn.Identity(),
}


class DenseAutoencoder(nn.Module):
    """Layers inwards to the code and outwards again; the last one has no activation.

    Each layer is an autoencoder of its own input, so layers can be trained one after another
    (Bengio et al. 2007): the whole is their composition, exactly.

    Args:
        widths: of the input, the hidden layers and the code.
        activation: after every layer but the last.
        tied: outwards, a layer uses its own matrix transposed, with a bias of its own.
    """

    def __init__(
        self, widths: tuple[int, ...], activation: Activation = "selu", tied: bool = False
    ) -> None:
        super().__init__()
        layers = list(pairwise(widths))
        self.activation = ACTIVATIONS[activation]
        self.encoder_weights = nn.ParameterList(torch.zeros(slim, wide) for wide, slim in layers)
        self.encoder_biases = nn.ParameterList(torch.zeros(slim) for _, slim in layers)
        # Empty if tied: one matrix, one Parameter, stored once.
        self.decoder_weights = nn.ParameterList(
            torch.zeros(wide, slim) for wide, slim in layers if not tied
        )
        self.decoder_biases = nn.ParameterList(torch.zeros(wide) for wide, _ in layers)

    def inward(self, layer: int, values: Tensor) -> Tensor:
        """The code of one layer (N, wide) → (N, slim)."""
        weight, bias = self.encoder_weights[layer], self.encoder_biases[layer]
        return self.activation(functional.linear(values, weight, bias))

    def outward(self, layer: int, code: Tensor) -> Tensor:
        """What one layer makes of its code (N, slim) → (N, wide)."""
        own = self.decoder_weights
        weight = own[layer] if len(own) else self.encoder_weights[layer].T
        values = functional.linear(code, weight, self.decoder_biases[layer])
        return self.activation(values) if layer else values

    def encode(self, values: Tensor, layers: int | None = None) -> Tensor:
        """The code after some layers, by default all of them (N, code)."""
        for layer in range(len(self.encoder_weights))[:layers]:
            values = self.inward(layer, values)
        return values

    def decode(self, code: Tensor) -> Tensor:
        """The input as the code tells it (N, input), before any sigmoid."""
        for layer in reversed(range(len(self.encoder_weights))):
            code = self.outward(layer, code)
        return code

    def forward(self, values: Tensor) -> Tensor:
        """Encoded and decoded (N, input)."""
        return self.decode(self.encode(values))


def chain(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Layers of some widths with an activation after each but the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def draw_weights(module: nn.Module, generator: Generator, scheme: Scheme = "lecun") -> None:
    """Draw every matrix of a module; biases are zero.

    Args:
        module: with matrices of shape (outputs, inputs).
        generator: the only source of chance.
        scheme: LeCun normal, as SELU wants (Klambauer et al. 2017), Glorot uniform (2010), or
            uniform up to 1 / sqrt(inputs) either way, as PyTorch's own layers begin.
    """
    for weight in module.parameters():
        if weight.ndim < 2:
            nn.init.zeros_(weight)
        elif scheme == "lecun":
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
        elif scheme == "glorot":
            nn.init.xavier_uniform_(weight, generator=generator)
        else:
            most = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -most, most, generator=generator)


def corrupted(values: Tensor, generator: Generator, deviation: float, masked: float) -> Tensor:
    """Values with Gaussian noise, then dropout: what is kept grows so that the mean stays."""
    if deviation:
        noise = torch.randn(values.shape, generator=generator, dtype=values.dtype)
        values = values + deviation * noise.to(values.device)
    if masked:
        kept = torch.rand(values.shape, generator=generator, dtype=values.dtype) >= masked
        values = values * kept.to(values.device) / (1 - masked)
    return values
