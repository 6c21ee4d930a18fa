"""Windows cut from numbers, and what a finished fit makes of them."""

import numpy as np

from models import bundle
from models.frame import Floats
from models.packing import Fit
from models.runtime import OnnxRuntime


def scores_of(done: Fit, windows: Floats) -> Floats:
    judge = bundle.detector_of(done.manifest, OnnxRuntime(done.files[bundle.NETWORK]))
    return judge.score_windows(judge.scale(windows)).raw


def cut(numbers: Floats, window: int) -> Floats:
    return np.stack([numbers[end - window : end] for end in range(window, len(numbers), 7)])
