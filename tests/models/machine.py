"""A machine whose four sensors have a course of their own, learnt and audited."""

import numpy as np

from models.frame import Floats
from models.manifest import AuditSpec
from models.options import with_options
from models.packing import Fit
from models.plan import Request, Settings
from tests.models.plant import fitted, recording

NAMES = ("speed", "flow", "pressure", "current")


def machine(rows: int, *, noise: float = 0.1) -> Floats:
    """Four sensors, each with a course of its own, shape (rows, 4)."""
    second = np.arange(rows)
    slow, fast = second / 9, second / 3
    clean = (np.sin(slow), np.cos(slow), np.sin(fast), np.cos(fast) * np.sin(slow))
    return np.column_stack(clean) + noise * np.random.default_rng(0).normal(size=(rows, 4))


def audited(done: Fit) -> AuditSpec:
    assert done.manifest.audit is not None
    return done.manifest.audit


def learnt(model: str, *pairs: str, noise: float = 0.1, epochs: int = 12) -> AuditSpec:
    asked = Request(model=model, window=8, training=Settings(epochs=epochs, lr=0.01))
    asked = with_options(asked, pairs)
    return audited(fitted([recording(machine(400, noise=noise), names=NAMES)], asked))
