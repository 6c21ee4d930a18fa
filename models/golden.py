"""Golden windows: what a bundle is proved with wherever it is loaded."""

import numpy as np
from safetensors import numpy as arrays

from models import bundle
from models.frame import Floats, Ints
from models.manifest import Manifest
from models.plan import Plan
from models.runtime import Runtime
from models.split import scalings
from models.stretches import Stretches


def windows(the: Plan, seed: int) -> Floats:
    """Some normal windows, and the same ones disturbed, in the sensors' units (16, L, m)."""
    chosen = the.ends[np.linspace(0, len(the.ends) - 1, 8).astype(np.int64)]
    normal = the.frames.values[chosen[:, None] + np.arange(1 - the.grid.window, 1)]
    spread = scalings(the.frames, the.ends, the.grid.window)[1][0]
    noise = np.random.default_rng(seed).normal(size=normal.shape)
    return np.concatenate((normal, normal + 3 * spread * noise))


def scored(manifest: Manifest, runtime: Runtime, given: Floats) -> tuple[Floats, Floats]:
    """The windows whose scores will tell, and these scores.

    Rounding may turn a verdict close to the threshold, and is all there is to a score near 0.
    """
    detector = bundle.detector_of(manifest, runtime)
    raw = detector.score_windows(detector.scale(given)).raw
    kept = (np.abs(raw - 1) > 1e-3) & (raw > 1e-3)
    return given[kept], raw[kept]


def stored(given: Floats, raw: Floats, sample: Stretches | None) -> bytes:
    """The bytes of `golden.safetensors`, with what the audit is made of."""
    found: dict[str, Floats | Ints] = {"windows": given, "raw": raw}
    if sample is not None:
        found |= {"normal": sample.values, "normal_raw": sample.raw, "normal_row": sample.row}
    return arrays.save(found)


def proof(golden: bytes) -> tuple[Floats, Floats]:
    """The windows and scores in a verified `golden.safetensors`."""
    found = arrays.load(golden)
    return found["windows"], found["raw"]
