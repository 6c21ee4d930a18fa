"""Denoising with half of the pixels dropped."""

from models.experiments.denoising import CLEANER, DIFFERENCE, denoised
from models.experiments.experiment import Outcome, References, Task, Wanted

MASKED = 0.5
REFERENCES: References = {
    "MNIST": {
        "validation_loss": Wanted(0.1093, most=0.1143, source="measured, one seed"),
        "rounded_accuracy": Wanted(0.9610, least=0.9570, source="measured, one seed"),
        "cleaner": CLEANER,
        "difference": DIFFERENCE,
    },
    "Fashion-MNIST": {
        "validation_loss": Wanted(0.2959, most=0.3059, source="published, the notebook"),
        "rounded_accuracy": Wanted(0.9238, least=0.9198, source="published, the notebook"),
        "cleaner": CLEANER,
        "difference": DIFFERENCE,
    },
}
FURTHER = """
denoise-gaussian: every pixel is noisy, instead of every second one gone.

MASKED = 0.8 in practices/denoise_dropout.py: how few pixels suffice?

sensor-trainer fit --model stacked --set mask=0.1: dropped readings in windows.
"""


def run(task: Task) -> Outcome:
    """Dropout on the input while training: what is kept is fed larger, so that the mean stays."""
    return denoised(task, REFERENCES, f"{MASKED:.0%} of the pixels dropped", FURTHER, masked=MASKED)
