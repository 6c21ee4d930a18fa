"""A code of 300 sigmoid units of which few are active: an L1 price, or a target for each unit."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from models.experiments.drawing import legend
from models.experiments.experiment import Outcome, Picture, References, Task, Wanted, judged
from models.experiments.fitting import Pixels, Recipe
from models.experiments.reconstruction import losses, pairs, pixels_of
from models.experiments.sparse import SparseImages
from models.experiments.training import codes, fit, shortened, told
from models.page import charts
from models.page.charts import Palette
from models.words import percent

RECIPE = Recipe("sgd", 1.0, 32, 10)
# The references' weight is 0.05, but Keras divides the price of an activity by the batch.
L1, KL, TARGET = 1e-3, 0.05 / RECIPE.batch, 0.1
_SOURCE = "published, the notebook"
REFERENCES: References = {
    "Fashion-MNIST": {
        "kl_validation_loss": Wanted(0.3054, most=0.3154, source=_SOURCE),
        "kl_rounded_accuracy": Wanted(0.9169, least=0.9119, source=_SOURCE),
        "l1_validation_loss": Wanted(0.3210, most=0.3310, source=_SOURCE),
        "l1_rounded_accuracy": Wanted(0.9081, least=0.9031, source=_SOURCE),
        "control_validation_loss": Wanted(0.3098, most=0.3198, source=_SOURCE),
        "control_rounded_accuracy": Wanted(0.9118, least=0.9068, source=_SOURCE),
    },
}
SHOWN = """
A code does not have to be narrow to keep a network from copying. Here it is 300 units wide, and
being active costs something, so that each image is told by the few units that fit it best.

Two prices: L1 adds to the loss what the activities of all units sum up to. The Kullback-Leibler
divergence asks of each unit to be active for a tenth of the images on average, no more and no less,
so that none is idle and none says the same of all images.

Both are compared with the same layers around a code of 30 sigmoid units without any price.
"""
FURTHER = """
TARGET = 0.02 in practices/sparse.py: what becomes of the units that are active for nothing?

L1 = 0 there: how many of the 300 units are active without a price?

pretrain: how much a code helps where labels are few.
"""


def run(task: Task) -> Outcome:
    """Ten epochs for each of three networks."""
    images, held = pixels_of(task)
    recipe = shortened(task, RECIPE)
    networks = {
        "KL": SparseImages(28, 28, kl=KL, target=TARGET),
        "L1": SparseImages(28, 28, l1=L1),
        "control": SparseImages(28, 28, hidden=(100, 30)),
    }
    histories = {
        name: fit(task, name, one, recipe, (images, held)) for name, one in networks.items()
    }
    found = {name: codes(one, held) for name, one in networks.items()}
    figures: dict[str, tuple[str, float]] = {}
    for name, history in histories.items():
        key, last = name.lower(), history[-1]
        figures[f"{key}_validation_loss"] = (
            f"Validation loss, binary cross-entropy, {name}",
            last.validation_loss,
        )
        figures[f"{key}_rounded_accuracy"] = (
            f"Rounded accuracy, validation, {name}",
            last.rounded_accuracy,
        )
    for name, code in found.items():
        figures[f"{name.lower()}_activity"] = (
            f"Mean activity of a unit, {name}",
            code.mean().item(),
        )
    return Outcome(
        shown=SHOWN,
        reached=judged(task, REFERENCES, figures),
        pictures=(
            Picture(
                "activities",
                "How active the units are",
                "Left: all units on all held-out images. Right: each unit's mean over the images, "
                "which KL holds near a tenth.",
                partial(_draw_activities, found),
            ),
            pairs(networks, held, "Held-out images, and what each code tells of them."),
            losses(histories),
        ),
        further=FURTHER,
        made=(
            f"784–100–300–100–784, SELU, sigmoid code, binary cross-entropy, {told(recipe)}.",
            f"L1 {L1:g} for each active unit; KL weight {KL:.2g}, target {TARGET:g}.",
            "Control: 784–100–30–100–784 with a sigmoid code and no price.",
        ),
    )


def _draw_activities(found: dict[str, Pixels], palette: Palette) -> Figure:
    figure = Figure((charts.WIDTH, 2.5))
    edges = np.linspace(0, 1, 41)
    titles = "share of activities", "share of units"
    for place, title in enumerate(titles):
        axes = figure.add_axes((0.055 + 0.5 * place, 0.2, 0.43, 0.65))
        colours = palette.model, palette.event, palette.muted
        for (name, code), colour in zip(found.items(), colours, strict=True):
            values = code.mean(0) if place else code.ravel()
            share = np.histogram(values, edges)[0] / len(values)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
            axes.stairs(share, edges, color=colour, label=name)
        axes.yaxis.set_major_formatter(lambda value, _: percent(value))
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="activity")
        axes.set_title(title, color=palette.muted)
        legend(axes, palette)
    return figure
