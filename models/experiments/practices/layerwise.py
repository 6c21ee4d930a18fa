"""Greedy layer-wise training: each layer as an autoencoder of its own, then all together."""

from models.experiments.autoencoder import StackedImages
from models.experiments.experiment import Outcome, References, Table, Task, Wanted, judged
from models.experiments.fitting import Epoch, Recipe
from models.experiments.practices.stacked import HIDDEN
from models.experiments.reconstruction import (
    figures_of,
    losses,
    pairs,
    pixels_of,
    reference_loss,
)
from models.experiments.training import fit, shortened

ALONE, OUTER, INNER = 10, 1.5, 0.05  # epochs and rates of the layers alone
RECIPE = Recipe("sgd", 0.1, 32, 10, layer_lr=(OUTER, INNER))
REFERENCES: References = {
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.2871, most=0.2921, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9356, least=0.9316, source="published, the notebook"),
        "inner_loss": Wanted(0.1952, source="published, the notebook"),
    },
}
SHOWN = """
Before there were good initial weights and activations, deep networks were trained layer by layer
(Hinton 2006, Bengio 2007). First the outer layer learns to rebuild the images, 784–100–784. Then
the inner one learns to rebuild the outer one's codes, 100–30–100, by mean squared error, for codes
are no grey levels. Stacked they are a deep autoencoder that rebuilds already; at last all layers
are trained together at a low rate.

Today it is history: with SELU the whole network trains at once, as stacked shows. The thought lives
on wherever a network is trained on one task and used for another: see pretrain.
"""
FURTHER = """
Look at the first epoch of all layers together: it starts from what the phases alone have reached.

sensor-trainer fit --model stacked --set layerwise=10: the same on windows of readings.
"""


def run(task: Task) -> Outcome:
    """Ten epochs for each layer, ten for all."""
    images, held = pixels_of(task)
    alone, recipe = task.most(ALONE, 2), shortened(task, RECIPE)
    network = StackedImages(28, 28, hidden=HIDDEN, denoise=0.0, layerwise=alone)
    history = fit(task, "layerwise", network, recipe, (images, held))
    outer, inner, together = history[:alone], history[alone : 2 * alone], history[2 * alone :]
    known = figures_of(task, network, together, (images, held))
    figures = {
        "validation_loss": known.pop("validation_loss"),
        "rounded_accuracy": known.pop("rounded_accuracy"),
        "inner_loss": ("Training loss of the inner layer alone, mean squared", inner[-1].loss),
        "before": (
            "Validation loss of the stack before all were trained",
            inner[-1].validation_loss,
        ),
        **known,
    }
    return Outcome(
        shown=SHOWN,
        reached=judged(task, REFERENCES, figures),
        pictures=(
            pairs({"rebuilt": network}, held, "Held-out images, and what 30 numbers tell of them."),
            losses({"all layers": together}, reference_loss(task, REFERENCES)),
        ),
        further=FURTHER,
        made=(
            f"784–100–784, binary cross-entropy, SGD {OUTER:g}, {alone} epochs.",
            f"100–30–100, mean squared error, SGD {INNER:g}, {alone} epochs.",
            f"784–100–30–100–784, SGD {recipe.lr:g}, {recipe.epochs} epochs; batches of 32.",
        ),
        tables=(
            Table(
                "Phase by phase",
                ("phase", "first training loss", "last training loss", "validation loss then"),
                [
                    _row("outer layer, cross-entropy", outer, stack=False),
                    _row("inner layer, mean squared", inner, stack=True),
                    _row("all layers, cross-entropy", together, stack=True),
                ],
            ),
        ),
    )


def _row(name: str, phase: list[Epoch], *, stack: bool) -> tuple[str, ...]:
    first, last = phase[0], phase[-1]
    # Before the inner layer is trained there is no stack whose loss says anything.
    held = f"{last.validation_loss:.4f}" if stack else "–"
    return name, f"{first.loss:.4f}", f"{last.loss:.4f}", held
