"""Threshold rules and adaptation on their way from `--set` into a bundle, and what it does then."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.evaluation import score_recordings
from models.frame import Codes
from models.manifest import DEFAULT
from models.options import with_options
from models.plan import plan
from models.recording import Recording
from models.runtime import OnnxRuntime
from models.split import TrainingError
from models.threshold import THRESHOLDS
from tests.models.plant import fitted, recalibrated, recording, request, values, written


def labelled(rows: int = 400) -> Recording:
    """A recording whose last 30 rows are strange, and say so."""
    numbers = values(rows)
    numbers[-30:, 0] += 2
    return recording(numbers, label=(np.arange(rows) >= rows - 30).astype(np.uint8))


@pytest.mark.parametrize("rule", THRESHOLDS)
def test_every_threshold_makes_a_bundle_that_tells_how_it_was_found(
    rule: str, tmp_path: Path
) -> None:
    signed = ["score=mahalanobis-signed"] if rule == "chi-square" else []
    asked = with_options(request("pca", window=8), [*signed, f"threshold={rule}"])
    done = fitted([labelled()], asked)
    written(tmp_path / "plant", done)

    manifest, _ = bundle.verify(tmp_path / "plant")

    threshold = manifest.calibrations["default"].threshold
    assert manifest.thresholds.threshold == threshold.rule == rule
    assert threshold.promise
    assert threshold.scores == 400 - 30 - 7
    assert bundle.load(tmp_path / "plant").calibration.threshold.tolist() == [threshold.value]


def test_the_threshold_of_best_f_beta_lies_between_the_normal_and_the_labelled() -> None:
    done = fitted([labelled()], with_options(request("pca", window=8), ["threshold=f-beta"]))

    known = done.manifest.calibrations["default"].threshold
    assert known.parameters["precision"] == 1.0
    assert known.parameters["recall"] > 0.5
    assert known.expected_per_day == 0


@pytest.mark.parametrize("label", [None, np.zeros(400, np.uint8)])
def test_f_beta_without_labelled_windows_is_refused_before_training(label: Codes | None) -> None:
    asked = with_options(request("pca", window=8), ["threshold=f-beta"])

    with pytest.raises(TrainingError, match="f-beta needs windows labelled anomalous; found none"):
        plan([recording(values(400), label=label)], asked)


@pytest.mark.parametrize("share", [0.1, 0.01])
def test_chi_square_flags_the_promised_share_of_unseen_raw_scores(share: float) -> None:
    """White noise is what a network cannot rebuild: its residuals are Gaussian."""

    def noise(rows: int, seed: int) -> Recording:
        return recording(np.random.default_rng(seed).normal(size=(rows, 3)) * [1, 5, 0.2])

    asked = with_options(
        request("pca", window=8),
        [
            "variance=0.5",
            "score=mahalanobis-signed",
            "threshold=chi-square",
            f"quantile={1 - share}",
        ],
    )
    done = fitted([noise(8000, 0)], asked)
    judge = bundle.detector_of(done.manifest, OnnxRuntime(done.files[bundle.NETWORK]))

    (scores,) = score_recordings(judge, [noise(20_000, 1)])

    flagged = np.nanmean(scores.raw > 1)
    assert flagged == pytest.approx(share, rel=0.25)


@pytest.mark.parametrize("adaptive", ["spot", "dspot"])
def test_an_adaptive_bundle_starts_at_its_threshold_and_says_from_what(
    adaptive: str, tmp_path: Path
) -> None:
    pairs = ["level=0.8", f"adaptive={adaptive}", "adaptive_cap=1.5"]
    plain = fitted([recording(values(400))], request("pca", window=8))
    done = fitted([recording(values(400))], with_options(request("pca", window=8), pairs))
    written(tmp_path / "plant", done)
    detector = bundle.load(tmp_path / "plant")

    assert detector.adaptation
    (start,) = detector.adaptation.starts
    (moving,) = score_recordings(detector, [recording(values(400, seed=1))])
    (fixed,) = score_recordings(
        replace(detector, adaptation=None), [recording(values(400, seed=1))]
    )

    assert len(start.excesses) >= 10
    assert start.frames == 400 - 7
    assert (start.mean > 0) == (adaptive == "dspot")
    assert plain.files == done.files
    np.testing.assert_array_equal(moving.raw, fixed.raw)
    ratio = fixed.verdicts.score / moving.verdicts.score
    assert ratio[7] == 1.0
    assert np.nanmax(np.abs(ratio - 1)) > 0.01
    assert np.nanmax(ratio) <= 1.5


def test_too_few_excursions_to_adapt_from_are_refused_in_words() -> None:
    asked = with_options(request("pca", window=8), ["adaptive=spot", "level=0.999"])

    with pytest.raises(TrainingError, match=r"adaptive=spot: \d excursions over the 0.999 quant"):
        fitted([recording(values(400))], asked)


def test_calibrate_follows_the_rule_of_the_bundle(tmp_path: Path) -> None:
    pairs = ["threshold=mean-sigma", "sigmas=4", "adaptive=spot", "level=0.8"]
    first = written(
        tmp_path / "one",
        fitted([recording(values(400))], with_options(request("pca", window=8), pairs)),
    )
    manifest, _ = bundle.verify(first)

    renewed = recalibrated(first, [recording(values(500, seed=1))])

    known = bundle.verify(written(tmp_path / "two", renewed))[0]
    assert known.thresholds == manifest.thresholds
    assert known.calibrations[DEFAULT].threshold.rule == "mean-sigma"
    assert known.calibrations[DEFAULT].threshold.parameters["sigmas"] == 4
    assert known.calibrations[DEFAULT].start != manifest.calibrations[DEFAULT].start


def test_in_a_fleet_live_thresholds_start_from_each_assets_own_scores(tmp_path: Path) -> None:
    fleet = [replace(recording(values(400, seed)), assets=(f"p{seed}",)) for seed in (1, 2)]
    asked = with_options(request("pca", window=8), ["adaptive=spot", "level=0.75"])

    detector = bundle.load(written(tmp_path / "fleet", fitted(fleet, asked)))

    assert detector.adaptation
    levels = [start.level for start in detector.adaptation.starts]
    assert len(set(levels)) == 3
    frames = [start.frames for start in detector.adaptation.starts]
    assert frames == [2 * 393, 393, 393]
