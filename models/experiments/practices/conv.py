"""Convolutions and pooling inwards, transposed convolutions outwards."""

from models.experiments.convolutional import ConvolutionalImages
from models.experiments.experiment import Outcome, References, Task, Wanted
from models.experiments.fitting import Recipe
from models.experiments.reconstruction import rebuilding

RECIPE = Recipe("sgd", 1.0, 32, 5)
REFERENCES: References = {
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.2673, most=0.2773, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9505, least=0.9455, source="published, the notebook"),
    },
}
SHOWN = """
A dense layer has to learn every pattern anew at every place. A convolution looks for the same small
patterns everywhere, and pooling keeps where they were only roughly: 28 × 28 pixels become 64 maps
of 3 × 3. Transposed convolutions lead back.

It rebuilds better than the dense networks with a fraction of their weights. Its code is wider,
though: 576 numbers instead of 30.
"""
FURTHER = """
recurrent: the image as a series of rows.

sensor-trainer fit --model conv: the same thought on windows of readings, along time.
"""


def run(task: Task) -> Outcome:
    """Five epochs, then originals above reconstructions."""
    return rebuilding(
        task,
        ConvolutionalImages(),
        RECIPE,
        REFERENCES,
        shown=SHOWN,
        further=FURTHER,
        layers="Convolutions 16, 32, 64 and 32, 16, 1, each 3 × 3, SELU, sigmoid",
        caption="Held-out images, and what 64 maps of 3 × 3 tell of them.",
    )
