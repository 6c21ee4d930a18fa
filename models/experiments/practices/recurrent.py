"""An LSTM reads the 28 rows of an image, another writes them again."""

from models.experiments.experiment import Outcome, References, Task, Wanted
from models.experiments.fitting import Recipe
from models.experiments.reconstruction import rebuilding
from models.experiments.recurrent import RecurrentImages

RECIPE = Recipe("sgd", 0.1, 32, 10)
REFERENCES: References = {
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.3230, most=0.3330, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.8990, least=0.8890, source="published, the notebook"),
    },
}
SHOWN = """
An image is a series, too: 28 rows of 28 pixels, one after another. Two LSTM layers read it; the
last state of the second one, 30 numbers, is the code. Said again for each row it is all that the
decoder's LSTM is given to write the image with.

For images there are better networks. For readings over time this is the one the lecture follows
(Malhotra et al. 2016), and the default of sensor-trainer fit.
"""
FURTHER = """
Thirty epochs in the RECIPE of practices/recurrent.py: at so low a rate, does the loss still fall
after ten?

sensor-trainer fit --model lstm: EncDec-AD on windows of readings, which writes them in reverse.
"""


def run(task: Task) -> Outcome:
    """Ten epochs, then originals above reconstructions."""
    return rebuilding(
        task,
        RecurrentImages(28, 28),
        RECIPE,
        REFERENCES,
        shown=SHOWN,
        further=FURTHER,
        layers="LSTM 100, LSTM 30, repeated 28 times, LSTM 100, dense 28, sigmoid",
        caption="Held-out images, and what the last state after 28 rows tells of them.",
    )
