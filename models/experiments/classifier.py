"""A classifier that can begin with the lower layers of an autoencoder that saw no labels."""

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.families.dense import DenseAutoencoder

WIDTHS = (784, 100, 30, 20, 10)


class Classifier(nn.Module):
    """The encoder of a stacked autoencoder, 784-100-30, then 20 units and 10 classes; SELU between.

    Args:
        generator: of the initial weights.
        widths: of the input, the layers and the classes.
    """

    def __init__(self, generator: Generator, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(wide, slim) for wide, slim in pairwise(widths))
        for layer in self.layers:
            bound = layer.get_parameter("weight").shape[1] ** -0.5  # as torch does
            for weight in layer.parameters():
                nn.init.uniform_(weight, -bound, bound, generator=generator)

    def reuse(self, autoencoder: DenseAutoencoder, layers: int) -> None:
        """Begin with the weights of the autoencoder's outermost layers."""
        with torch.no_grad():
            for number in range(layers):
                self.get_parameter(f"layers.{number}.weight").copy_(
                    autoencoder.encoder_weights[number]
                )
                self.get_parameter(f"layers.{number}.bias").copy_(
                    autoencoder.encoder_biases[number]
                )

    def freeze(self, layers: int) -> None:
        """Keep the outermost layers as they are."""
        for layer in self.layers[:layers]:
            layer.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the classes (N, 10) of images (N, 28, 28)."""
        values = images.flatten(1)  # (N, 784)
        for layer in self.layers[:-1]:
            values = functional.selu(layer(values))
        return self.layers[-1](values)

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of the images whose label it tells."""
        with torch.inference_mode():
            return (self(images).argmax(1) == labels).double().mean().item()


def teach(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    generator: Generator,
    *,
    epochs: int = 60,
    batch: int = 32,
    lr: float = 1e-3,
) -> None:
    """Train what is not frozen by Adam on the cross-entropy.

    Args:
        classifier: on the images' device.
        images: shape (N, 28, 28).
        labels: whole numbers from 0 to 9, shape (N,).
        generator: of the batches.
        epochs, batch, lr: of the training.
    """
    weights = [weight for weight in classifier.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images), batch):
            drawn = order[start : start + batch]
            optimiser.zero_grad()
            functional.cross_entropy(classifier(images[drawn]), labels[drawn]).backward()
            optimiser.step()
