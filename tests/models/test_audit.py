"""The audit as a whole: identity maps are refused, what the project ships is not."""

import json
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from models import bundle
from models.audit import audit, refusal
from models.families.network import Network
from models.manifest import ProbeSpec
from models.packing import export
from models.runtime import OnnxRuntime
from models.stretches import stored
from monitor import demo
from tests.models.machine import NAMES, audited, learnt, machine
from tests.models.plant import fitted, recording, request, values


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_pca_that_keeps_all_variance_is_refused() -> None:
    found = learnt("pca", "variance=1")

    assert found.refused is not None
    assert found.refused.startswith("it rebuilds 97% of white noise (wanted under 90%)")
    assert found.probes["white-noise"].verdict == "not told"


class Identity(Network):
    """Rebuilds anything."""

    def initialise(self, generator: Generator) -> None:
        pass

    def reconstruct(self, windows: Tensor) -> Tensor:
        return windows * 1.0


def test_the_identity_is_refused_and_finds_nothing() -> None:
    done = fitted([recording(machine(400), names=NAMES)], request("pca", window=8))
    sample = stored(done.files[bundle.GOLDEN])
    assert sample is not None
    runtime = OnnxRuntime(export(Identity(8, 4)))

    found = audit(bundle.detector_of(done.manifest, runtime), sample, lambda done, most: None)

    assert found.refused is not None
    assert (found.rebuilt_normal, found.rebuilt_noise) == (1, 1)
    assert all(probe.auc == 0 for probe in found.probes.values())
    assert {one.smallest_step for one in found.sensors} == {None}


def probes(**verdicts: str) -> dict[str, ProbeSpec]:
    return {
        name.replace("_", "-"): ProbeSpec.model_validate({"auc": 0.6, "verdict": verdict})
        for name, verdict in verdicts.items()
    }


@pytest.mark.parametrize(
    ("noise", "swap", "rebuilt", "refused"),
    [
        ("told", "told", 0.3, False),
        ("told", "not applicable", 0.3, False),
        ("not applicable", "not applicable", 0.89, False),
        ("not told", "told", 0.3, True),
        ("told", "not told", 0.3, True),
        ("told", "told", 0.9, True),
    ],
)
def test_refused_is_what_does_not_tell_noise_or_swap_or_copies_noise(
    noise: str, swap: str, rebuilt: float, refused: bool
) -> None:
    spec = probes(white_noise=noise, sensor_swap=swap, constant="not told", shuffled="not told")

    assert (refusal(spec, 0.9, rebuilt) is not None) == refused


def test_a_network_that_does_not_tell_noise_is_refused_with_what_it_rebuilds() -> None:
    assert refusal(probes(white_noise="not told"), 0.12, 0.03) == (
        "it tells white-noise windows from normal ones with an AUC of 0.60 (wanted 0.95), where a "
        "plain reference does; it rebuilds 12% of normal windows and 3% of white noise"
    )


def test_steps_that_are_found_shrink_with_the_noise() -> None:
    loud, quiet = (learnt("pca", noise=noise) for noise in (0.1, 0.05))

    # Of the fourth sensor this pca loses more than noise.
    for one, other in zip(loud.sensors[:3], quiet.sensors[:3], strict=True):
        assert one.smallest_step is not None
        assert other.smallest_step is not None
        assert one.smallest_step / other.smallest_step == pytest.approx(2, rel=0.15)


def test_units_change_no_probe_and_no_step_in_spreads() -> None:
    numbers = values(400)
    found, other = (
        audited(fitted([recording(one)], request("pca", window=8)))
        for one in (numbers, numbers * [1e3, 1e-3, 1.8] + [5, 0, 32])
    )

    for one, same, unit in zip(found.sensors, other.sensors, (1e3, 1e-3, 1.8), strict=True):
        assert one.smallest_step is not None
        assert same.smallest_step == pytest.approx(unit * one.smallest_step, rel=0.01)
        assert (same.in_spreads, same.step, same.drift) == (one.in_spreads, one.step, one.drift)
    assert {name: one.verdict for name, one in found.probes.items()} == {
        name: one.verdict for name, one in other.probes.items()
    }


def test_the_audit_of_a_bundle_is_the_one_made_when_it_was_fitted(pristine: Path) -> None:
    manifest, files = bundle.verify(pristine)
    sample = stored(files[bundle.GOLDEN])
    assert sample is not None

    passes: list[tuple[int, int]] = []
    again = audit(bundle.load(pristine), sample, lambda done, most: passes.append((done, most)))

    assert again == manifest.audit
    assert passes == [(done, len(passes)) for done in range(1, len(passes) + 1)]


def test_the_demos_detector_is_no_identity_map() -> None:
    folder = Path(demo.__file__).parent / "bundle"
    manifest, files = bundle.verify(folder)
    sample = stored(files[bundle.GOLDEN])
    if sample is None:
        pytest.skip("monitor/demo/bundle holds no sample; scripts/train-demo makes one that does")

    found = audit(bundle.load(folder), sample, lambda done, most: None)

    assert found.refused is None
    assert found.probes["white-noise"].verdict == "told"
    assert all(one.smallest_step is not None for one in found.sensors)
    assert manifest.audit is not None
    assert json.loads(found.model_dump_json()).keys() == manifest.audit.model_dump().keys()
