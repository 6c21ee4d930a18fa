from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.affiliation import affiliation
from models.frame import Floats, Ints
from models.spans import spans_of

STEP = 1 / 8  # all ends, midpoints and folds are multiples of a quarter: midpoint sums are exact


def spans(*pairs: tuple[int, int]) -> Ints:
    return np.array(pairs, np.int64).reshape(-1, 2)


def step_by_step(events: Ints, alerts: Ints, frames: int) -> tuple[Floats, Floats]:
    """The paper's definition: chances of a random moment, summed moment by moment."""
    moments = np.arange(STEP / 2, frames, STEP)
    edges = [0, *((one[1] + two[0]) / 2 for one, two in pairwise(events)), frames]
    precision, recall = np.full(len(events), np.nan), np.zeros(len(events))
    for index, (first, last) in enumerate(events):
        low, high = edges[index : index + 2]
        here = [(max(s, low), min(e, high)) for s, e in alerts if e > low and s < high]
        if not here:
            continue
        alarmed = [y for y in moments if any(s < y < e for s, e in here)]
        anomalous = [y for y in moments if first < y < last]
        precision[index] = np.mean(
            [no_nearer(first, last, off(y, first, last), low, high) for y in alarmed]
        )
        recall[index] = np.mean(
            [no_nearer(y, y, min(off(y, *one) for one in here), low, high) for y in anomalous]
        )
    return precision, recall


def off(moment: float, first: float, last: float) -> float:
    """Distance of a moment from a span."""
    return max(first - moment, moment - last, 0.0)


def no_nearer(first: float, last: float, distance: float, low: float, high: float) -> float:
    """Chance that a random moment of [low, high) lies at least so far from a span in it."""
    return 1 - (min(last + distance, high) - max(first - distance, low)) / (high - low) * (
        distance > 0
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_the_integrals_are_those_of_the_definition(rows: list[tuple[bool, bool]]) -> None:
    label, alarm = (np.array(column) for column in zip(*rows, strict=True))
    events, alerts = spans_of(label), spans_of(alarm)

    precision, recall = affiliation(events, alerts, len(rows))

    wanted = step_by_step(events, alerts, len(rows))
    np.testing.assert_allclose(precision, wanted[0], atol=1e-12)
    np.testing.assert_allclose(recall, wanted[1], atol=1e-12)


def test_the_example_of_the_paper() -> None:
    # In minutes: three events in three hours, and seven alerts.
    events = spans((0, 10), (50, 70), (170, 175))
    alerts = spans((5, 6), (7, 10), (11, 12), (40, 60), (115, 130), (135, 140), (165, 170))

    precision, recall = affiliation(events, alerts, 180)

    assert precision[1] == pytest.approx(0.672222222)
    assert recall[1] == pytest.approx(0.944444444)
    # By hand, in the zone [0, 30): 4 of 5 minutes are right, one lies 1 to 2 minutes off.
    assert precision[0] == pytest.approx((4 + 1 - (10 + 1.5) / 30) / 5)


def test_alerts_in_events_are_right_and_events_under_alerts_are_found() -> None:
    events = spans((10, 20), (40, 50))

    inside = affiliation(events, spans((12, 15), (40, 41)), 60)
    over = affiliation(events, spans((5, 55)), 60)

    assert inside[0].tolist() == [1, 1]
    assert over[1].tolist() == [1, 1]
    assert (inside[1] < 1).all()
    assert (over[0] < 1).all()


def test_an_event_without_an_alert_in_its_zone_has_no_precision_and_no_recall() -> None:
    precision, recall = affiliation(spans((10, 20), (80, 90)), spans((12, 14)), 100)

    assert precision.tolist() == [1, pytest.approx(np.nan, nan_ok=True)]
    assert recall[1] == 0


def test_an_alert_at_random_is_worth_about_a_half() -> None:
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 990, 400)

    found = [affiliation(spans((500, 501)), spans((s, s + 1)), 1000)[0][0] for s in starts]

    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_without_events_or_alerts_there_is_nothing_to_be_near_to() -> None:
    assert [len(part) for part in affiliation(spans(), spans((0, 5)), 9)] == [0, 0]
    assert np.isnan(affiliation(spans((0, 5)), spans(), 9)[0]).all()
    assert affiliation(spans((0, 5)), spans(), 9)[1].tolist() == [0]
    assert [part.tolist() for part in affiliation(spans((0, 1)), spans((0, 1)), 1)] == [[1], [1]]
