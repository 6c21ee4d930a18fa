"""The audit of a detector: whether it is an identity map, and what it finds in each sensor."""

from collections.abc import Callable

from models.detector import Detector
from models.frame import SECOND
from models.manifest import REQUIRED_PROBES, AuditSpec, ProbeSpec
from models.probes import TOLD, normal_windows, probe, rebuilt
from models.sensitivity import PASSES, bench_of, sensitivity
from models.stretches import Stretches

# A network that rebuilds so much of white noise copies what it is given. Its AUC alone does not
# tell: with a code as wide as the window, what little it loses of noise is still more than of
# normal data.
COPIES = 0.9


def audit(detector: Detector, sample: Stretches, progress: Callable[[int, int], None]) -> AuditSpec:
    """Probe a detector with what is made of held-out normal data, and put faults into them.

    Args:
        detector: to be judged.
        sample: the held-out normal data.
        progress: called with passes done and passes in all.
    """
    normal = normal_windows(detector.scale(sample.values, sample.row), sample.raw, sample.row)
    probes, (of_normal, of_noise) = probe(detector, normal), rebuilt(detector, normal)
    passes = iter(range(1, PASSES + 1))
    bench = bench_of(detector, sample, lambda: progress(next(passes), PASSES))
    return AuditSpec(
        refused=refusal(probes, of_normal, of_noise),
        stretches=len(sample.row),
        alarmed=bench.alarmed,
        followed_s=bench.length * detector.grid.period / SECOND,
        rebuilt_normal=round(of_normal, 4),
        rebuilt_noise=round(of_noise, 4),
        probes=probes,
        sensors=sensitivity(bench),
    )


def refusal(probes: dict[str, ProbeSpec], of_normal: float, of_noise: float) -> str | None:
    """Why a detector is refused, or None.

    Args:
        of_normal, of_noise: share of normal windows and of white noise that it rebuilds.
    """
    if of_noise >= COPIES:
        return (
            f"it rebuilds {of_noise:.0%} of white noise (wanted under {COPIES:.0%}): it copies "
            "whatever it is given, faults as well; a narrower code may help"
        )
    for name in REQUIRED_PROBES:
        if probes[name].verdict == "not told":
            return (
                f"it tells {name} windows from normal ones with an AUC of {probes[name].auc:.2f} "
                f"(wanted {TOLD}), where a plain reference does; it rebuilds {of_normal:.0%} of "
                f"normal windows and {of_noise:.0%} of white noise"
            )
    return None
