import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.areas import MOST_BUFFERS, Areas, auc
from models.areas import vus as vus_at
from models.frame import Bools, Floats

Frames = list[tuple[bool, int | None]]


def flags(text: str) -> Bools:
    return np.array([one == "1" for one in text])


def scores(text: str) -> Floats:
    return np.array([np.nan if one == "-" else float(one) for one in text])


def vus(labels: list[Bools], scores: list[Floats], longest: int) -> Areas | None:
    """Of files without holes."""
    return vus_at(labels, scores, [np.arange(len(label)) for label in labels], longest)


def range_areas(label: Bools, score: Floats, buffer: int) -> tuple[float, float]:
    """Range-AUC of one file and one buffer: the definition of the paper, step by step."""
    half = buffer // 2
    change = np.flatnonzero(np.diff(np.r_[False, label, False].astype(int)))
    events = [
        (int(start), int(end) - 1)
        for start, end in zip(change[::2], change[1::2], strict=True)
        if not np.isnan(score[start:end]).all()
    ]
    soft = np.zeros(len(label))
    for first, last in events:
        for at in range(len(label)):
            if first <= at <= last:
                soft[at] += 1
            elif first - half <= at < first:
                soft[at] += (1 - (first - at) / buffer) ** 0.5
            elif last < at <= last + half:
                soft[at] += (1 - (at - last) / buffer) ** 0.5
    soft = np.minimum(soft, 1)
    inside = np.zeros(len(label), bool)
    joined: list[list[int]] = []
    for first, last in events:
        inside[first : last + 1] = True
        if joined and joined[-1][1] >= first - half:
            joined[-1][1] = last + half
        else:
            joined.append([first - half, last + half])
    known = ~np.isnan(score)
    true, count = int((inside & known).sum()), int(known.sum())
    tprs, fprs, precisions = [0.0], [0.0], [1.0]
    for threshold in sorted(set(score[known]), reverse=True):
        alarm = known & (np.nan_to_num(score, nan=-1) >= threshold)
        hit = (soft * alarm).sum()
        positive = (true + true + (soft * alarm * ~inside).sum()) / 2
        existing = sum(alarm[max(0, first) : last + 1].any() for first, last in joined)
        tprs.append(min(hit / positive, 1) * existing / len(joined))
        fprs.append((alarm.sum() - hit) / (count - positive))
        precisions.append(hit / alarm.sum())
    pr = sum((tprs[k] - tprs[k - 1]) * precisions[k] for k in range(1, len(tprs)))
    return float(pr), float(np.trapezoid([*tprs, 1], [*fprs, 1]))


@given(
    st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 5)), min_size=2, max_size=30),
    st.integers(0, 12),
)
def test_volumes_are_those_of_the_definition_taken_step_by_step(rows: Frames, longest: int) -> None:
    label = np.array([one for one, _ in rows])
    score = np.array([np.nan if one is None else float(one) for _, one in rows])
    known = label[~np.isnan(score)]
    assume(known.any() and not known.all())

    wanted = np.mean([range_areas(label, score, b) for b in range(longest + 1)], axis=0)

    assert vus([label], [score], longest) == pytest.approx(tuple(wanted))


def test_an_alarm_that_comes_a_frame_late_is_worth_something_to_a_buffer() -> None:
    label, late = flags("0010"), scores("0003")
    half = 0.5**0.5  # of a frame, beside an event in a buffer of 2

    # Without a buffer the alarm hits nothing; then all 4 frames alarm and hit the 1 event.
    assert vus([label], [late], 0) == pytest.approx((1 / 4, (1 - 1 / 3) / 2))
    # A buffer of 1 reaches no frame. With 2, the alarm hits half of 1 + half / 2 positives; then
    # both frames beside the event are alarmed in.
    recall = half / (1 + half / 2)
    pr = recall * half + (1 - recall) * (1 + 2 * half) / 4
    far = (1 - half) / (4 - 1 - half / 2)
    far_of_all = (4 - 1 - 2 * half) / (4 - 1 - half)
    roc = far * recall / 2 + (far_of_all - far) * (1 + recall) / 2 + (1 - far_of_all)
    assert vus([label], [late], 2) == pytest.approx(
        ((1 / 4 + 1 / 4 + pr) / 3, (1 / 3 + 1 / 3 + roc) / 3)
    )


def test_in_the_buffers_of_two_events_a_frame_is_as_anomalous_as_in_an_event() -> None:
    label = flags("0000101000")

    in_both, in_one = scores("0000090000"), scores("0000000900")

    assert (vus([label], [in_both], 2) or (0,))[0] > (vus([label], [in_one], 2) or (0,))[0]


def test_no_buffer_reaches_into_another_file() -> None:
    event_at_the_end, normal = flags("00001"), flags("00000")
    alarm_at_the_start = scores("90000")
    together = vus([event_at_the_end, normal], [scores("00008"), alarm_at_the_start], 8)
    apart = vus([event_at_the_end, normal], [scores("00008"), scores("00009")], 8)

    assert together == pytest.approx(apart)


def test_frames_without_a_score_lie_between_others_and_count_for_nothing() -> None:
    label = flags("0001000000")
    near, far = scores("0000900000"), scores("0000---900")

    assert (vus([label], [near], 4) or (0,))[0] > (vus([label], [far], 4) or (0,))[0]
    assert vus([flags("0011")], [scores("12--")], 4) is None
    assert vus([flags("0101")], [scores("123-")], 0) == vus([flags("010")], [scores("123")], 0)


def test_a_buffer_reaches_so_many_ticks_whatever_frames_there_are() -> None:
    label, late = flags("000100000"), scores("000090000")
    together, after_a_hole = np.arange(9), np.array([0, 1, 2, 3, 70, 71, 72, 73, 74])

    near, far = vus_at([label], [late], [together], 4), vus_at([label], [late], [after_a_hole], 4)

    assert (near or (0,))[0] > (far or (0,))[0]


@pytest.mark.parametrize("label", ["0000", "1111", "0", "1", ""])
def test_without_an_event_or_a_normal_frame_there_is_no_volume(label: str) -> None:
    assert vus([flags(label)], [np.arange(len(label), dtype=float)], 3) is None


def test_a_perfect_score_has_all_the_area_and_the_opposite_little() -> None:
    label = flags("0" * 20 + "1" * 10 + "0" * 20)

    assert vus([label], [label.astype(float)], 0) == (1, 1)
    best, worst = vus([label], [label.astype(float)], 8), vus([label], [(~label).astype(float)], 8)
    assert best is not None
    assert worst is not None
    assert best[0] > 0.9
    assert best[1] > 0.9
    assert worst[1] < 0.5


def test_long_windows_are_averaged_over_evenly_spaced_buffers() -> None:
    rng = np.random.default_rng(0)
    label, score = flags("0" * 600 + "1" * 100 + "0" * 700), rng.normal(size=1400)
    buffers = np.linspace(0, 512, MOST_BUFFERS).astype(int)

    wanted = np.mean([range_areas(label, np.round(score, 1), b) for b in buffers], axis=0)

    assert vus([label], [np.round(score, 1)], 512) == pytest.approx(tuple(wanted))


def test_equal_scores_are_one_threshold() -> None:
    assert auc(flags("0101"), scores("1111")) == (0.5, 0.5)
