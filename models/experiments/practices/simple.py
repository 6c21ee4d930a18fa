"""784–32–784 with ReLU, Adam and binary cross-entropy, on all the training images."""

from models.experiments.autoencoder import StackedImages
from models.experiments.experiment import (
    Outcome,
    References,
    Table,
    Task,
    Wanted,
    judged,
    number,
)
from models.experiments.fitting import Recipe, scaled
from models.experiments.reconstruction import bounds, losses, pairs, weights_of
from models.experiments.training import codes, fit, shortened, told

CODE = 32
RECIPE = Recipe("adam", 1e-3, 256, 10)
# Of the lecture: the loss of the last batch of each epoch.
LECTURE = (0.2324, 0.1776, 0.1548, 0.1441, 0.1418, 0.1244, 0.1194, 0.1185, 0.1189, 0.1119)
_SOURCE = "measured, batch 256, one seed, from PyTorch's smaller weights"
REFERENCES: References = {
    "MNIST": {
        "test_loss": Wanted(0.1064, most=0.112, source=_SOURCE),
        "first_epoch": Wanted(0.2907, most=0.30, source=_SOURCE),
    }
}
SHOWN = """
The smallest autoencoder: an encoder of one layer makes 32 numbers of 784 pixels, a decoder of one
layer makes pixels of them again, and both learn only to bring the same image back. The code is
narrower than the image, so nothing can be copied; what stays is what the images have in common.

The loss cannot come to 0. Binary cross-entropy of a grey pixel is least where it is rebuilt
exactly, and even there it is the entropy of its grey level: the floor is among the numbers.
"""
FURTHER = """
stacked: more layers rebuild better with a code of 30.

CODE = 8 or 128 in practices/simple.py: how far does the blur go?

Batches of 64 instead of 256 in its RECIPE: four times as many steps.
"""


def run(task: Task) -> Outcome:
    """Ten epochs, then originals above reconstructions."""
    images, test = scaled(task.data.all_to_train.pixels), scaled(task.data.test.pixels)
    network = StackedImages(28, 28, hidden=(CODE,), activation="relu", denoise=0.0)
    recipe = shortened(task, RECIPE)
    history = fit(task, "simple", network, recipe, (images, test))
    dead = int((codes(network, images) == 0).all(0).sum())
    last = history[-1]
    figures = {
        "test_loss": ("Test loss, binary cross-entropy", last.validation_loss),
        "first_epoch": ("Training loss, mean of the first epoch", history[0].loss),
        "train_loss": ("Training loss, mean of the last epoch", last.loss),
        "test_rounded_accuracy": ("Rounded accuracy, test", last.rounded_accuracy),
        "parameters": ("Weights and biases", weights_of(network)),
        "dead_units": ("Code units that no image activates", dead),
        **bounds(images, test, "test"),
    }
    lecture = LECTURE if task.data.name == "MNIST" and not task.quick else ()
    said = [f"{loss:.4f}" for loss in lecture] or ["–"] * len(history)
    return Outcome(
        shown=SHOWN,
        reached=judged(task, REFERENCES, figures),
        pictures=(
            pairs({"rebuilt": network}, test, "Test images, and what 32 numbers tell of them."),
            losses({"simple": history}),
        ),
        further=FURTHER,
        made=(f"784–{CODE}–784, ReLU, sigmoid, binary cross-entropy, {told(recipe)}.",),
        tables=(
            Table(
                "Loss after each epoch",
                ("epoch", "training, mean", "test", "the lecture, last batch"),
                [
                    (f"{one.number}", f"{one.loss:.4f}", f"{one.validation_loss:.4f}", printed)
                    for one, printed in zip(history, said, strict=True)
                ],
            ),
        ),
        images={"train": len(images), "test": len(test)},
        warnings=(
            [f"{number(dead)} of {CODE} units of the code are dead: no image activates them."]
            if dead
            else ()
        ),
    )
