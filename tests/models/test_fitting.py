import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import bundle
from models.detector import LEAST_ERROR
from models.evaluation import score_recordings
from models.families import FAMILIES
from models.fitting import save
from models.frame import SECOND
from models.options import WORDS, with_options
from models.packing import Fit
from models.plan import Request, plan
from models.recording import Recording
from models.running import ConditionError
from models.split import TrainingError
from tests.models.plant import START, fitted, recording, request, values


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("rows", "window"), [(100, 8), (312, 19), (700, 43), (5000, 64)])
def test_the_default_window_is_a_sixteenth_of_the_rows_from_8_to_64(rows: int, window: int) -> None:
    if rows == 100:
        with pytest.raises(TrainingError, match="windows of 8 frames"):
            plan([recording(values(rows))], Request())
        return
    assert plan([recording(values(rows))], Request()).grid.window == window


@pytest.mark.parametrize("model", FAMILIES)
def test_312_rows_train(model: str, tmp_path: Path) -> None:
    done = fitted([recording(values(312))], request(model))

    detector = bundle.load(write_to(tmp_path / "plant", done))

    (scores,) = score_recordings(detector, [recording(values(312, seed=1))])
    assert np.isfinite(scores.raw[18:]).all()
    assert not scores.verdicts.anomalous.any()


def write_to(folder: Path, done: Fit) -> Path:
    save(done, folder, force=False)
    return folder


def test_fewer_rows_are_refused_in_words() -> None:
    with pytest.raises(TrainingError, match=r"too little normal data: 93 windows of 8 frames"):
        plan([recording(values(100))], Request())


def test_a_recording_without_a_complete_window_is_refused_with_the_reasons() -> None:
    sparse = recording(values(300), time=START + np.arange(300) * 10 * SECOND)

    with pytest.raises(TrainingError, match=r"no window of 18 frames of 1 s .* left out: \d+ gap"):
        plan([sparse], Request(period=SECOND))


def test_windows_with_a_labelled_frame_are_left_out_and_counted() -> None:
    label = np.zeros(400, np.uint8)
    label[200:210] = 1
    marked = recording(values(400), label=label)

    the = plan([marked], Request(window=20))

    assert the.left_out == {"gap": 0, "held": 0, "idle": 0, "excluded": 0, "labelled": 29}
    assert len(the.ends) == 400 - 19 - 29
    assert not any(end - 19 < 210 and end >= 200 for end in the.ends)


def resting(rows: int, seed: int = 0) -> Recording:
    """A machine that stands still for 40 of every 200 seconds, its current at 0."""
    numbers = values(rows, seed)
    numbers[np.arange(rows) % 200 >= 160] = 0
    return recording(numbers)


def test_windows_of_an_idle_machine_are_left_out_counted_and_not_scored(tmp_path: Path) -> None:
    asked = request("pca", window=10, running="current > 1", settle=5 * SECOND)
    the = plan([resting(800)], asked)

    # Of each stop its 40 s, 5 s to settle and 9 s to fill a window; at the beginning the last two.
    assert {why: count for why, count in the.left_out.items() if count} == {
        "idle": 3 * (40 + 5 + 9) + 40
    }
    assert not any((end % 200) >= 160 or (end % 200) < 14 for end in the.ends)

    detector = bundle.load(write_to(tmp_path / "plant", fitted([resting(800)], asked)))
    assert detector.grid.idleness == "idle unless current > 1 for 5 s"
    (scores,) = score_recordings(detector, [resting(800, seed=1)])
    assert np.isfinite(scores.raw).nonzero()[0].tolist() == the.ends.tolist()
    assert not scores.verdicts.anomalous.any()


def test_a_condition_on_another_sensor_is_refused() -> None:
    with pytest.raises(ConditionError, match="'speed'; wanted one of the sensors current, flow"):
        plan([recording(values(400))], Request(running="speed > 1"))


def test_no_window_crosses_from_one_recording_or_asset_to_the_next() -> None:
    two = replace(recording(values(300)), asset=np.repeat([0, 1], 150), assets=("a", "b"))

    the = plan([two, recording(values(200))], Request(window=10))

    starts = [end - 9 for end in the.ends]
    inside = [(0, 150), (150, 300), (300, 500)]
    assert all(
        any(first <= start and end < last for first, last in inside)
        for start, end in zip(starts, the.ends, strict=True)
    )
    assert len(the.ends) == 2 * 141 + 191


@pytest.mark.parametrize(
    ("model", "score"),
    [*((model, "mean-square") for model in FAMILIES), ("pca", "mahalanobis")],
)
def test_the_same_seed_gives_equal_bytes_whatever_the_number_of_workers(
    model: str, score: str, tmp_path: Path
) -> None:
    for name, workers, now in (("one", 1, START), ("two", 2, START + 7 * SECOND)):
        done = fitted([recording(values(400))], request(model, score=score, workers=workers))
        created = done.manifest.model_copy(
            update={"created": done.manifest.created.fromtimestamp(now // SECOND, None)}
        )
        assert created.own_digest() == done.manifest.own_digest()
        save(done, tmp_path / name, force=False)

    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    one, two = bundle.load(tmp_path / "one"), bundle.load(tmp_path / "two")
    assert one.digest == two.digest


def test_another_seed_gives_other_weights() -> None:
    one = request("stacked")
    other = replace(one, training=replace(one.training, seed=1))
    rows = [recording(values(400))]

    assert fitted(rows, one).files[bundle.WEIGHTS] != fitted(rows, other).files[bundle.WEIGHTS]


@pytest.mark.parametrize("model", FAMILIES)
def test_the_stored_weights_are_the_network_that_scores(model: str, tmp_path: Path) -> None:
    folder = write_to(tmp_path / "plant", fitted([recording(values(400))], request(model)))

    # In torch the bundle proves itself on the same golden windows.
    in_torch, in_onnx = bundle.load(folder, "torch"), bundle.load(folder)

    assert in_torch.digest == in_onnx.digest
    (one,) = score_recordings(in_torch, [recording(values(400, seed=1))])
    (other,) = score_recordings(in_onnx, [recording(values(400, seed=1))])
    np.testing.assert_allclose(one.raw, other.raw, rtol=1e-4)


def test_the_threshold_is_the_highest_cross_fitted_score_and_normal_data_stay_under_it() -> None:
    done = fitted([recording(values(800))], request("pca"))
    threshold = done.manifest.calibrations["default"].threshold

    assert not threshold.supported
    assert threshold.requested_per_day == 0.1
    assert threshold.days == pytest.approx((800 - 49) * 1 / 86_400)
    assert threshold.bound_per_day == pytest.approx(2.9957 / threshold.days, rel=1e-4)


def test_a_bundle_says_what_it_was_trained_on() -> None:
    rows = replace(recording(values(400)), rows=(100, 500), sha256="ab" * 32)

    manifest = fitted([rows], request("pca")).manifest

    (data,) = manifest.data
    assert (data.file, data.rows, data.sha256) == ("plant.csv", (100, 500), "ab" * 32)
    assert manifest.training.windows == 400 - 24
    assert manifest.training.kept_ratio == 1.0
    assert manifest.training.pca_validation_loss == manifest.training.validation_loss


def test_a_noiseless_recording_trains_and_every_real_change_is_an_alarm(tmp_path: Path) -> None:
    seconds = np.arange(400)
    exact = np.column_stack((np.sin(seconds / 5), np.cos(seconds / 5), np.full(400, 3.0)))
    done = fitted([recording(exact)], request("pca"))
    assert min(done.manifest.calibrations["default"].error_scale) == LEAST_ERROR

    detector = bundle.load(write_to(tmp_path / "plant", done))
    (quiet,) = score_recordings(detector, [recording(exact)])
    exact[200:, 0] += 0.5
    (strange,) = score_recordings(detector, [recording(exact)])

    assert not quiet.verdicts.anomalous.any()
    assert strange.verdicts.anomalous[210:230].all()


def test_a_recording_in_which_nothing_ever_moves_trains(tmp_path: Path) -> None:
    still = np.tile([5.0, 0.0, -2.0], (400, 1))

    detector = bundle.load(write_to(tmp_path / "plant", fitted([recording(still)], request("pca"))))

    (quiet,) = score_recordings(detector, [recording(still)])
    still[200:, 0] = 5.5
    (strange,) = score_recordings(detector, [recording(still)])
    assert not quiet.verdicts.anomalous.any()
    assert strange.verdicts.anomalous[210:].all()


def test_long_data_are_split_once_and_the_network_is_the_one_that_was_judged() -> None:
    done = fitted([recording(values(5200))], request("pca", window=16))

    assert done.manifest.training.folds == 1
    assert done.manifest.calibrations["default"].threshold.days == pytest.approx(
        1037 / 86_400, rel=1e-2
    )


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("hiden=3", "no such key for stacked; known: .*batch, clip_norm, denoise, .*, hidden"),
        ("epochs", "no such key"),
        ("seed=3", "no such key"),
        ("code=3", "no such key"),
        ("window=3", "no such key"),
        ("epochs=1.5", "wanted a whole number"),
        ("epochs=true", "wanted a whole number"),
        ("epochs=0", "wanted over 0"),
        ("epochs=10000000000", "wanted over 0"),
        ("lr=fast", "wanted a number"),
        ("lr=NaN", "wanted over 0"),
        ("lr=Infinity", "wanted over 0"),
        ("lr=-1", "wanted over 0"),
        ("lr=" + "1" * 400, "wanted over 0"),
        ("denoise=-0.1", "wanted 0 or more"),
        ("stride=0", "wanted over 0"),
        ("epoch_windows=0.5", "wanted a whole number"),
        ("clip_norm=0", "wanted over 0"),
        ("mask=1", "wanted 0 or more and under 1"),
        ("layerwise=-1", "wanted 0 or more"),
        ("tied=1", "wanted true or false"),
        ("tied=yes", "wanted true or false"),
        ("activation=tanh", "wanted one of selu, relu"),
        ('hidden=["a"]', "wanted a list of whole numbers"),
        ("hidden=64", "wanted a list of whole numbers"),
        ("hidden=[64, 1.5]", "wanted a list of whole numbers"),
        ('hidden=[64, "a"]', "wanted a list of whole numbers"),
        ("hidden=[]", "wanted over 0"),
        ("hidden=[64, 0]", "wanted over 0"),
        ("score=mean", "wanted one of mean-square, mahalanobis, mahalanobis-signed"),
        ("threshold=max", "wanted one of false_alarms_per_day, quantile, pot, chi-square"),
        ("adaptive=yes", "wanted one of none, spot, dspot"),
        ("quantile=1", "wanted over 0 and below 1"),
        ("quantile=half", "wanted a number"),
        ("level=0", "wanted over 0 and below 1"),
        ("adaptive_cap=1", "wanted over 1"),
        ("adaptive_depth=101", "wanted from 1 to 100"),
        ("quantile=0.9", "is for threshold=quantile or threshold=chi-square"),
        ("level=0.9", "is for threshold=pot or adaptive=spot or adaptive=dspot"),
        ("sigmas=2", "is for threshold=mean-sigma"),
        ("f_beta=2", "is for threshold=f-beta"),
        ("adaptive_depth=9", "is for adaptive=dspot"),
        ("threshold=chi-square", "needs score=mahalanobis-signed; found mean-square"),
        ("tail=0", "wanted over 0"),
        ("max_hold=-1", "wanted 0 or more"),
        ("max_held=1.1", "wanted from 0 to 1"),
        ("patience=", "wanted a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_was_wanted(pair: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"--set .*{message}"):
        with_options(Request(model="stacked"), [pair])


def test_settings_reach_training_score_and_family() -> None:
    asked = with_options(
        Request(model="stacked"),
        ["epochs=7", "lr=1", "score=mahalanobis", "max_held=0", "hidden=[16, 4]", "denoise=0"],
    )

    assert (asked.training.epochs, asked.training.lr, asked.training.seed) == (7, 1.0, 0)
    assert (asked.score, asked.max_held) == ("mahalanobis", 0.0)
    assert asked.parameters == {"hidden": (16, 4), "denoise": 0.0}
    assert fitted([recording(values(400))], replace(asked, window=8)).manifest.parameters == {
        "hidden": (16, 4),
        "denoise": 0.0,
    }
    assert with_options(Request(model="lstm"), ["hidden=8"]).parameters == {"hidden": 8}


def test_every_option_of_the_stacked_autoencoder_comes_back_from_the_bundle(tmp_path: Path) -> None:
    asked = with_options(
        request("stacked", window=8, epochs=1),
        ["tied=true", "activation=relu", "mask=0.2", "denoise=0", "layerwise=1", "hidden=[6,2]"],
    )

    folder = write_to(tmp_path / "plant", fitted([recording(values(400))], asked))

    assert bundle.verify(folder)[0].parameters == {
        "tied": True,
        "activation": "relu",
        "mask": 0.2,
        "denoise": 0.0,
        "layerwise": 1,
        "hidden": (6, 2),
    }


def test_every_word_that_a_family_takes_is_one_of_a_known_few() -> None:
    words = {
        name
        for family in FAMILIES.values()
        for name, parameter in inspect.signature(family).parameters.items()
        if isinstance(parameter.default, str)
    }

    assert words <= set(WORDS)


def test_recordings_are_framed_apart_and_pooled(tmp_path: Path) -> None:
    parts: list[Recording] = [recording(values(300, seed)) for seed in range(3)]

    done = fitted(parts, request("pca", window=16))

    assert done.manifest.training.windows == 3 * 285
    assert len(done.manifest.data) == 3
