"""Denoising with Gaussian noise of standard deviation 0.2 on every pixel."""

from models.experiments.denoising import CLEANER, DIFFERENCE, denoised
from models.experiments.experiment import Outcome, References, Task, Wanted

DEVIATION = 0.2
REFERENCES: References = {
    "MNIST": {
        "validation_loss": Wanted(0.1124, most=0.1174, source="measured, one seed"),
        "rounded_accuracy": Wanted(0.9591, least=0.9551, source="measured, one seed"),
        "cleaner": CLEANER,
        "difference": DIFFERENCE,
    },
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.2906, most=0.3006, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9299, least=0.9259, source="published, the notebook"),
        "cleaner": CLEANER,
        "difference": DIFFERENCE,
    },
}
FURTHER = """
denoise-dropout: pixels gone instead of pixels blurred.

DEVIATION = 0.5 in practices/denoise_gaussian.py: how much noise is too much?

sensor-trainer fit --model stacked --set denoise=0.1: noise on windows of readings, the default.
"""


def run(task: Task) -> Outcome:
    """Noise on the input while training."""
    return denoised(
        task,
        REFERENCES,
        f"Gaussian noise of standard deviation {DEVIATION:g}",
        FURTHER,
        deviation=DEVIATION,
    )
