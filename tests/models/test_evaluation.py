from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from models import bundle
from models.affiliation import affiliation
from models.areas import vus
from models.evaluation import (
    DEFINITIONS,
    Judged,
    always_alarm,
    evaluate,
    judged,
    rows_seen,
    score_recordings,
)
from models.frame import SECOND, Grid
from models.selection import Selection
from models.spans import spans_of
from tests.models.plant import START, recording, values

DAY = 86_400
GRID = Grid(SECOND, 8)


def frames(label: str, alarm: str, score: str | None = None) -> Judged:
    """Frames from strings: 0 or 1 each; a score is a digit, or - where the frame is not scored."""
    digits = score or alarm
    return Judged(
        np.array([one == "1" for one in label], bool),
        np.array([one == "1" for one in alarm], bool),
        np.array([np.nan if one == "-" else float(one) for one in digits]),
        np.arange(len(label)),
    )


#                     0         1
#                     0123456789012345
HAND = frames(label="0000111100001100", alarm="0110001110000000", score="0990123990001100")


def test_every_figure_of_a_worked_example() -> None:
    # Alarms: frames 1-2 (false), 6-8 (touches the first event). Events: 4-7, 12-13.
    found = evaluate([HAND], Grid(10 * SECOND, 8))

    hit, false, miss, quiet = 2, 3, 4, 7
    assert found["windows"] == 16
    assert found["unscored_ratio"] == 0
    assert found["prevalence"] == 6 / 16
    assert found["precision"] == hit / (hit + false)
    assert found["recall"] == pytest.approx(hit / (hit + miss))
    assert found["f1"] == pytest.approx(2 * hit / (2 * hit + false + miss))
    assert found["far"] == false / (false + quiet)
    assert found["mar"] == pytest.approx(miss / (hit + miss))
    assert found["mcc"] == pytest.approx((hit * quiet - false * miss) / (5 * 6 * 10 * 11) ** 0.5)
    assert found["time_in_alert_ratio"] == 5 / 16
    assert (found["alerts"], found["events"]) == (2, 2)
    assert found["alerts_per_day"] == pytest.approx(2 / (160 / DAY))
    assert found["event_recall"] == 0.5
    assert found["event_precision"] == 0.5
    assert found["event_f1"] == 0.5
    assert found["detection_delay_s"] == 20
    assert found["false_alarms_per_day"] == pytest.approx(1 / (100 / DAY))
    # Scores of anomalous frames: 1 2 3 9 1 1, of normal ones: 0 9 9 0 9 0 0 0 0 0.
    assert found["auc_roc"] == pytest.approx((5 * 7 + 1 * (7 + 3 / 2)) / 60)
    assert found["auc_pr"] == pytest.approx((1 / 4 + 2 / 5 + 3 / 6 + 3 * 6 / 9) / 6)


def test_every_figure_has_a_definition_and_every_definition_a_figure() -> None:
    assert evaluate([HAND], GRID).keys() | {"rows_seen_in_training"} == DEFINITIONS.keys()


def test_volumes_take_their_buffers_from_the_window_and_affiliation_its_spans_from_alerts() -> None:
    label, score = HAND.label, HAND.score
    assert label is not None
    found = evaluate([HAND], Grid(SECOND, 5))

    assert (found["vus_pr"], found["vus_roc"]) == vus([label], [score], [HAND.tick], 5)
    precision, recall = affiliation(spans_of(label), spans_of(HAND.alarm), 16)
    assert found["affiliation_precision"] == np.nanmean(precision)
    assert found["affiliation_recall"] == recall.mean()
    assert 0 < (found["affiliation_f1"] or 0) < 1


def test_a_hole_in_a_recording_is_as_long_as_it_was() -> None:
    whole = frames(label="0011110000", alarm="0000110000", score="1123-94111")
    tick = whole.tick + np.array([0, 0, 0, 0, 0, 60, 60, 60, 60, 60])

    found = evaluate([replace(whole, tick=tick)], GRID)

    assert evaluate([whole], GRID)["detection_delay_s"] == 3
    assert found["detection_delay_s"] == 63
    assert found["affiliation_recall"] != evaluate([whole], GRID)["affiliation_recall"]


def test_without_an_alert_event_and_affiliation_f1_are_0_and_precision_has_no_meaning() -> None:
    found = evaluate([frames(label="00110", alarm="00000")], GRID)

    assert (found["event_f1"], found["affiliation_f1"], found["affiliation_recall"]) == (0, 0, 0)
    assert found["event_precision"] is found["affiliation_precision"] is None


def test_what_needs_labels_is_measured_on_the_files_that_have_them() -> None:
    unlabelled = replace(HAND, label=None)

    found, alone = evaluate([HAND, unlabelled], GRID), evaluate([HAND], GRID)

    assert (found["windows"], found["alerts"]) == (32, 4)
    for key in alone.keys() - {"windows", "alerts"}:
        assert found[key] == alone[key], key


def test_the_delay_is_the_median_of_the_found_events() -> None:
    found = evaluate([frames(label="011110011110011110011", alarm="001000000010000100000")], GRID)

    assert found["event_recall"] == 0.75
    assert found["detection_delay_s"] == 2  # of 1, 3, 2 and a missed one


def test_an_alarm_that_began_before_its_event_is_no_delay_and_no_false_alarm() -> None:
    found = evaluate([frames(label="00011100", alarm="01110000")], GRID)

    assert found["detection_delay_s"] == 0
    assert found["event_precision"] == 1
    assert found["false_alarms_per_day"] == 0
    assert found["far"] == 2 / 5


def test_frames_without_a_score_count_for_nothing_but_their_share() -> None:
    full = frames(label="00111100", alarm="00011000", score="00012000")
    holed = frames(label="0001111100", alarm="0000111000", score="0-0012-000")

    one, other = evaluate([full], GRID), evaluate([holed], GRID)

    assert other["unscored_ratio"] == 0.2
    for key in ("windows", "f1", "far", "mar", "mcc", "auc_pr", "auc_roc", "prevalence"):
        assert other[key] == one[key], key
    assert other["time_in_alert_ratio"] == one["time_in_alert_ratio"]


def test_an_event_without_a_single_score_could_not_be_found_and_is_none() -> None:
    found = evaluate([frames(label="00110011", alarm="00000010", score="00--0011")], GRID)

    assert (found["events"], found["event_recall"]) == (1, 1)


def test_nothing_is_point_adjusted() -> None:
    # One hit in an event of eight frames is one hit, not eight.
    found = evaluate([frames(label="0111111110", alarm="0000100000")], GRID)

    assert found["recall"] == 1 / 8
    assert found["event_recall"] == 1


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1))
def test_frame_figures_are_those_of_scikit_learn(rows: list[tuple[bool, bool, int]]) -> None:
    label, alarm, score = (np.array(column) for column in zip(*rows, strict=True))

    found = evaluate([Judged(label, alarm, score.astype(float), np.arange(len(rows)))], GRID)

    for key, reference in (
        ("f1", f1_score),
        ("precision", precision_score),
        ("recall", recall_score),
    ):
        wanted = reference(label, alarm, zero_division=np.nan)  # pyright: ignore[reportArgumentType]
        assert np.isnan(wanted) if found[key] is None else found[key] == pytest.approx(wanted)
    if found["mcc"] is not None:
        assert found["mcc"] == pytest.approx(matthews_corrcoef(label, alarm))
    if 0 < label.sum() < len(label):
        assert found["auc_pr"] == pytest.approx(average_precision_score(label, score))
        assert found["auc_roc"] == pytest.approx(roc_auc_score(label, score))
    else:
        assert found["auc_pr"] is None


def test_without_labels_there_are_only_the_alarm_figures() -> None:
    assert evaluate([replace(HAND, label=None)], GRID) == {
        "windows": 16,
        "unscored_ratio": 0.0,
        "time_in_alert_ratio": 5 / 16,
        "alerts": 2,
        "alerts_per_day": pytest.approx(2 / (16 / DAY)),
    }


def test_without_an_event_event_figures_have_no_meaning_and_alarms_are_false() -> None:
    found = evaluate([frames(label="00000", alarm="01010")], GRID)

    assert found["event_recall"] is found["event_f1"] is found["auc_pr"] is None
    assert found["recall"] is found["mar"] is found["detection_delay_s"] is None
    assert (found["event_precision"], found["far"]) == (0, 0.4)


def test_without_a_frame_nothing_has_a_meaning() -> None:
    found = evaluate([frames("", "")], GRID)

    assert {key: value for key, value in found.items() if value is not None} == {
        "windows": 0,
        "alerts": 0,
        "events": 0,
    }


def test_a_detector_that_always_alarms_finds_all_and_is_always_wrong() -> None:
    found = evaluate([always_alarm(HAND)], GRID)

    assert (found["recall"], found["far"], found["mar"]) == (1, 1, 0)
    assert found["f1"] == pytest.approx(2 * 6 / (2 * 6 + 10))
    assert (found["event_recall"], found["detection_delay_s"]) == (1, 0)
    assert (found["auc_roc"], found["auc_pr"]) == (0.5, pytest.approx(6 / 16))
    assert found["mcc"] is None
    holed = frames(label="01", alarm="00", score="0-")
    assert np.isnan(always_alarm(holed).score).tolist() == [False, True]


def test_pooling_counts_all_frames_and_joins_no_event_or_alarm_of_two_files() -> None:
    ends, starts = frames(label="0011", alarm="0001"), frames(label="1100", alarm="1000")

    found = evaluate([ends, starts], GRID)

    assert (found["windows"], found["events"], found["alerts"]) == (8, 2, 2)
    assert found["detection_delay_s"] == 0.5  # of 1 and 0
    assert found["recall"] == 0.5


def test_rows_seen_in_training_are_told_by_the_files_hash() -> None:
    here = replace(recording(values(100)), rows=(50, 150), sha256="a")

    assert rows_seen(here, 0, []) == 0
    assert rows_seen(here, 0, [("b", Selection((0, 1000)))]) == 0
    ranges = [(0, 70), (60, 80), (140, 900)]
    assert rows_seen(here, 0, [("a", Selection(one)) for one in ranges]) == 30 + 10
    assert rows_seen(here, 0, [("a", Selection((0, 20)))]) == 0
    two = replace(here, assets=("p1", "p2"), asset=np.repeat([0, 1], [5, 95]))
    assert [rows_seen(two, asset, [("a", Selection((0, 70)))]) for asset in (0, 1)] == [5, 15]


def test_scoring_judges_every_frame_and_scores_complete_windows_only(pristine: Path) -> None:
    detector = bundle.load(pristine)
    label = np.zeros(200, np.uint8)
    label[120:140] = 1
    numbers = values(200, seed=1)
    numbers[120:140, 1] -= 8
    time = START + np.r_[0:60, 70:210] * SECOND  # a hole of ten seconds
    (scores,) = score_recordings(detector, [recording(numbers, label=label, time=time)])

    scored = ~np.isnan(scores.raw)
    assert np.flatnonzero(~scored).tolist() == [*range(7), 62, *range(63, 70)]
    assert (np.isnan(scores.shares[:, 0]) == ~scored).all()
    np.testing.assert_allclose(scores.shares[scored].sum(axis=1), 1)

    found = evaluate([judged(scores)], GRID)
    assert (found["events"], found["event_recall"], found["false_alarms_per_day"]) == (1, 1, 0)
    assert (scores.shares[judged(scores).label].argmax(axis=1) == 1).all()


def test_a_gap_restarts_the_mean_of_the_score(pristine: Path) -> None:
    detector = bundle.load(pristine)
    time = START + np.r_[0:60, 70:130] * SECOND
    (scores,) = score_recordings(detector, [recording(values(120, seed=1), time=time)])

    first = np.flatnonzero(~np.isnan(scores.raw[63:]))[0] + 63

    assert scores.verdicts.score[first] == scores.raw[first]
    np.testing.assert_allclose(
        scores.verdicts.score[first + 4], scores.raw[first : first + 5].mean(), rtol=1e-12
    )
