"""The families' networks on grey images: an image is a window of 28 frames of 28 sensors.

What changes is how far off a pixel is, and that the last layer tells logits.
"""

from torch import Generator, Tensor
from torch.nn import functional

from models.families.dense import draw_weights
from models.families.network import Network
from models.families.stacked import StackedAutoencoder


class Grey(Network):
    """A network whose cells are pixels in [0, 1]: `reconstruct` tells their logits.

    The binary cross-entropy of a grey pixel has a floor above 0, its entropy.
    """

    def initialise(self, generator: Generator) -> None:
        """Glorot uniform weights (2010) and zero biases, as in the lecture's notebook."""
        draw_weights(self, generator, "glorot")

    def distance(self, windows: Tensor, rebuilt: Tensor) -> Tensor:
        """Binary cross-entropy of every pixel, of the images' shape; rebuilt are logits."""
        return functional.binary_cross_entropy_with_logits(rebuilt, windows, reduction="none")

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Images to the pixels expected and how far off each is, both (N, 28, 28)."""
        logits = self.reconstruct(windows)
        return logits.sigmoid(), self.distance(windows, logits)


class StackedImages(Grey, StackedAutoencoder):
    """The stacked autoencoder on images."""
