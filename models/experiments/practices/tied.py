"""The stacked autoencoder whose decoder uses the encoder's matrices, transposed."""

from models.experiments.experiment import Outcome, References, Task, Wanted, judged
from models.experiments.fitting import Recipe
from models.experiments.practices.stacked import stacked
from models.experiments.reconstruction import (
    figures_of,
    losses,
    pairs,
    pixels_of,
    reference_loss,
    weights_of,
)
from models.experiments.training import fit, shortened, told

RECIPE = Recipe("sgd", 1.5, 32, 10)
_PARAMETERS = Wanted(82_414, 82_414, 82_414, "by arithmetic")
_NO_WORSE = Wanted(most=0.01, source="the lecture's claim: no worse")
REFERENCES: References = {
    "MNIST": {
        "validation_loss": Wanted(0.0942, most=0.0992, source="measured, one seed"),
        "rounded_accuracy": Wanted(0.9698, least=0.9658, source="measured, one seed"),
        "over_untied": _NO_WORSE,
        "parameters": _PARAMETERS,
    },
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.2846, most=0.2896, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9323, least=0.9283, source="published, the notebook"),
        "over_untied": _NO_WORSE,
        "parameters": _PARAMETERS,
    },
}
SHOWN = """
Encoder and decoder mirror each other, so the decoder can use the encoder's matrices, transposed,
with biases of its own. That is half of the weights: less to store, and less to overfit with.

Tied means the same matrix, not a copy: it is stored once, and its gradient is the sum of what
arrives from both uses. Both networks are trained here with the same seed and for as many epochs.
"""
FURTHER = """
Twenty epochs instead of ten in the RECIPE of practices/tied.py, as in stacked: does the untied
network come closer?

sensor-trainer fit --model stacked --set tied=true: the same on windows of readings.
"""


def run(task: Task) -> Outcome:
    """Ten epochs with matrices tied and untied."""
    images, held = pixels_of(task)
    recipe = shortened(task, RECIPE)
    networks = {"tied": stacked(tied=True), "untied": stacked()}
    histories = {
        name: fit(task, name, one, recipe, (images, held)) for name, one in networks.items()
    }
    known = figures_of(task, networks["tied"], histories["tied"], (images, held))
    untied = histories["untied"][-1].validation_loss
    figures = {
        "validation_loss": known.pop("validation_loss"),
        "rounded_accuracy": known.pop("rounded_accuracy"),
        "parameters": known.pop("parameters"),
        "over_untied": (
            "Validation loss above that of the untied network",
            histories["tied"][-1].validation_loss - untied,
        ),
        "untied_parameters": ("Weights and biases, untied", weights_of(networks["untied"])),
        "untied_validation_loss": ("Validation loss, untied", untied),
        **known,
    }
    return Outcome(
        shown=SHOWN,
        reached=judged(task, REFERENCES, figures),
        pictures=(
            losses(histories, reference_loss(task, REFERENCES)),
            pairs(
                networks, held, "Held-out images, rebuilt with half of the weights and with all."
            ),
        ),
        further=FURTHER,
        made=(
            f"784–100–30–100–784, SELU, sigmoid, binary cross-entropy, {told(recipe)}.",
            "Decoder: the encoder's matrices, transposed, with biases of its own.",
        ),
    )
