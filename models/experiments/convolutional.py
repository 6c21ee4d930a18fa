"""A convolutional autoencoder of images: 28 → 14 → 7 → 3 pixels across, and back."""

from torch import Tensor, nn

from models.experiments.autoencoder import Grey


class ConvolutionalImages(Grey):
    """Convolutions and pooling to 64 maps of 3 × 3; transposed convolutions back, SELU between."""

    def __init__(self, window: int = 28, sensors: int = 28) -> None:
        super().__init__(window, sensors)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),  # (N, 16, 28, 28)
            nn.SELU(),
            nn.MaxPool2d(2),  # (N, 16, 14, 14)
            nn.Conv2d(16, 32, 3, padding=1),
            nn.SELU(),
            nn.MaxPool2d(2),  # (N, 32, 7, 7)
            nn.Conv2d(32, 64, 3, padding=1),
            nn.SELU(),
            nn.MaxPool2d(2),  # (N, 64, 3, 3)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 3, stride=2),  # (N, 32, 7, 7)
            nn.SELU(),
            nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),  # (N, 16, 14, 14)
            nn.SELU(),
            nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1),  # (N, 1, 28, 28)
        )

    def reconstruct(self, windows: Tensor) -> Tensor:
        """Logits decoded from the maps alone (N, 28, 28)."""
        return self.decoder(self.encoder(windows[:, None]))[:, 0]
