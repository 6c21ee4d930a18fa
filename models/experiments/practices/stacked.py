"""784–100–30–100–784 with SELU: the stacked autoencoder of the sensor models, on images."""

from models.experiments.autoencoder import StackedImages
from models.experiments.experiment import Outcome, References, Task, Wanted
from models.experiments.fitting import Recipe
from models.experiments.reconstruction import rebuilding

HIDDEN = (100, 30)
RECIPE = Recipe("sgd", 1.5, 32, 20)
_PARAMETERS = Wanted(163_814, 163_814, 163_814, "by arithmetic")
REFERENCES: References = {
    "MNIST": {
        "validation_loss": Wanted(0.0934, most=0.096, source="measured, one seed"),
        "rounded_accuracy": Wanted(0.9703, least=0.968, source="measured, one seed"),
        "parameters": _PARAMETERS,
    },
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.2842, most=0.290, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9366, least=0.930, source="published, the notebook"),
        "parameters": _PARAMETERS,
    },
}
SHOWN = """
More layers: 784 pixels through 100 to a code of 30 numbers and back the same way. SELU's gradients
neither vanish nor explode, so that plain gradient descent at a high rate trains all layers at once.
That its values stay near mean 0 and variance 1 it promises only of LeCun's weights and standardised
input (Klambauer et al. 2017); here are Glorot's weights and grey levels, as in the notebook.

It is the network that sensor-trainer fits to windows of readings as the model stacked: an image is
a window of 28 frames of 28 sensors. Only the distance is another: binary cross-entropy of grey
levels instead of squared residuals.
"""
FURTHER = """
tied: the same with half of the weights.

layerwise: the same layers, trained one after another as it was done in 2007.

denoise-gaussian: noise on the way in, and the network learns to take it out.

tsne: a map of the 30 numbers in two dimensions.
"""


def stacked(*, tied: bool = False, denoise: float = 0.0, mask: float = 0.0) -> StackedImages:
    """The network that most practices train."""
    return StackedImages(28, 28, hidden=HIDDEN, tied=tied, denoise=denoise, mask=mask)


def run(task: Task) -> Outcome:
    """Twenty epochs, then originals above reconstructions."""
    return rebuilding(
        task,
        stacked(),
        RECIPE,
        REFERENCES,
        shown=SHOWN,
        further=FURTHER,
        layers="784–100–30–100–784, SELU, sigmoid",
        caption="Held-out images, and what 30 numbers tell of them.",
    )
