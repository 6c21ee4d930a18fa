"""Areas under curves over every threshold: of frames (AUC), and forgiving a shift in time (VUS)."""

from collections.abc import Sequence

import numpy as np

from models.frame import Bools, Floats, Ints
from models.spans import events_of, in_ticks

Areas = tuple[float, float]  # under precision over recall, under recall over false alarms

# Longer windows are averaged over so many buffers, evenly spaced.
MOST_BUFFERS = 129
APART = 1 << 32  # ticks


def auc(label: Bools, score: Floats) -> Areas | None:
    """Average precision and area under the ROC curve; equal scores are one threshold.

    Args:
        label: shape (frames,).
        score: without NaN, shape (frames,).

    Returns:
        The areas; None without an anomalous or without a normal frame.
    """
    if not 0 < label.sum() < len(label):
        return None
    order, last = _ranked(score)
    hits = np.cumsum(label[order])[last]
    return _areas(hits / hits[-1], (last + 1 - hits) / (~label).sum(), hits / (last + 1))


def vus(
    labels: Sequence[Bools], scores: Sequence[Floats], ticks: Sequence[Ints], longest: int
) -> Areas | None:
    """Volume under the surface: the mean range-AUC over label buffers of 0 to `longest` ticks.

    Paparrizos et al. 2022, PVLDB 15(11): a buffer of l ticks lies around each event, l/2 on each
    side, where a label falls off as sqrt(1 - distance / l); the hit rate is multiplied by the
    share of events, with their buffers, in which there is any alarm. As TSB-AD computes it, but
    with every score as a threshold and not 250 of them.

    Args:
        labels: of each file, shape (frames,).
        scores: of each file, NaN where a frame is not scored: such a frame counts for nothing.
        ticks: when the frames are, increasing.
        longest: the longest buffer, ticks.

    Returns:
        The areas; None without an event or without a normal frame.
    """
    place, events = _laid_out(labels, scores, ticks)
    everything = np.concatenate(scores)
    scored = ~np.isnan(everything)
    nearest, second = _nearest(events, place)[:, scored]
    total, positive = len(nearest), int((nearest == 0).sum())
    if not 0 < positive < total:
        return None
    order, last = _ranked(everything[scored])
    nearest, second = nearest[order], second[order]
    inside = nearest == 0
    near = np.flatnonzero(~inside & (nearest <= longest // 2))
    nearest, second = nearest[near], second[near]
    hits, alarms = np.cumsum(inside)[last], last + 1
    thresholds = everything[scored][order[last]]
    highest = np.append(np.where(scored, everything, -np.inf), -np.inf)

    found: list[Areas] = []
    buffered = np.zeros(total)
    for buffer in np.unique(np.linspace(0, longest, min(longest + 1, MOST_BUFFERS)).astype(int)):
        # In the buffers of two events a frame is as anomalous as in an event.
        falling = np.sqrt(np.maximum(0.0, 1 - nearest / max(1, buffer)))
        falling = np.where(second <= buffer // 2, 1.0, falling)
        buffered[near] = np.where(nearest <= buffer // 2, falling, 0.0)
        peaks = np.sort(_peaks(events, place, highest, buffer // 2))
        existence = 1 - np.searchsorted(peaks, thresholds) / len(peaks)
        soft = np.cumsum(buffered)[last]
        # The label itself and the buffer that was alarmed in, halfway: neither hides the other.
        positives = positive + soft / 2
        recall = np.minimum((hits + soft) / positives, 1.0) * existence
        false = (alarms - hits - soft) / (total - positives)
        found.append(_areas(recall, false, (hits + soft) / alarms))
    pr, roc = np.mean(found, axis=0)
    return float(pr), float(roc)


def _ranked(score: Floats) -> tuple[Ints, Ints]:
    """Order from the highest score down, and where in it each run of equal scores ends."""
    order = np.argsort(-score, kind="stable")
    return order, np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])


def _areas(recall: Floats, false: Floats, precision: Floats) -> Areas:
    """Areas from (0, 0) through a curve's points, from the highest threshold down, to (1, 1)."""
    recall = np.r_[0, recall]
    roc = np.trapezoid(np.r_[recall, 1], np.r_[0, false, 1])
    return float((np.diff(recall) * precision).sum()), float(roc)


def _laid_out(
    labels: Sequence[Bools], scores: Sequence[Floats], ticks: Sequence[Ints]
) -> tuple[Ints, Ints]:
    """All files on one line of ticks, so far apart that no buffer reaches from one to another.

    Returns:
        The place of each frame, shape (frames,), and the events, [start, end) of shape (events, 2).
    """
    places: list[Ints] = []
    events: list[Ints] = []
    start = 0
    for label, score, tick in zip(labels, scores, ticks, strict=True):
        place = tick - tick[:1] + start
        places.append(place)
        events.append(in_ticks(events_of(label, score), place))
        start += int(tick[-1] - tick[0]) + APART if len(tick) else 0
    return np.concatenate(places), np.concatenate(events)


def _nearest(events: Ints, place: Ints) -> Floats:
    """How far off the nearest two events are: 0 inside the nearest, inf without one.

    Args:
        events, place: as of `_laid_out`.

    Returns:
        Shape (2, frames).
    """
    begun, ended = (np.searchsorted(edges, place, "right") for edges in events.T)
    first, last = np.r_[events[:, 0], np.inf, np.inf], np.r_[-np.inf, -np.inf, events[:, 1]] - 1
    later, earlier = first[[begun, begun + 1]] - place, place - last[[ended, ended + 1]]
    either = np.sort(np.concatenate((later, earlier)), axis=0)
    return np.where(begun > ended, 0, either[:2])


def _peaks(events: Ints, place: Ints, score: Floats, reach: int) -> Floats:
    """The highest score of each event within reach; events whose reaches overlap are one.

    Args:
        events, place: as of `_laid_out`.
        score: of all frames, -inf where not scored, and one more -inf at the end.
        reach: ticks.
    """
    apart = np.flatnonzero(np.r_[True, events[1:, 0] - events[:-1, 1] >= 2 * reach])
    start = events[apart, 0] - reach
    end = events[np.r_[apart[1:] - 1, len(events) - 1], 1] + reach
    frames = np.searchsorted(place, np.column_stack((start, end)))
    return np.maximum.reduceat(score, frames.ravel())[::2]
