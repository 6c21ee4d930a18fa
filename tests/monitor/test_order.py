"""Bytes → frames: order, copies and batches change nothing, and no input makes a flood of frames.

Readings come as bytes on topics, in each of the shapes devices send, through the whole of a stream:
reader, ticks, windows, scores, verdicts. The rules are those of the contract: a reading within the
lateness is in its frame, of equal stamps the larger value wins, and what a frame holds already is a
duplicate.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.frame import SECOND
from monitor.alert import Alert
from monitor.lives import Evidence
from monitor.payloads.sample import MOST_SAMPLES
from monitor.reading import AssetTable, Message, MessageOutcome
from monitor.stream import Stream
from tests.monitor.machines import TODAY, detector, events, few, many, stream

PERIOD = SECOND
LATENESS = 2 * SECOND
HOLD = 2
SENSORS = ("x", "y")
YEAR = 366 * 86_400 * SECOND
Reading = tuple[str, str, int, float]  # asset, sensor, event time, value


class Sent(NamedTuple):
    """A message and the readings in it."""

    topic: str
    payload: bytes
    readings: tuple[Reading, ...]

    def at(self, arrival: int) -> Message:
        return Message(self.topic, self.payload, arrival, retained=False)


def iso(time: int) -> str:
    """Text with all nine digits, as no float would keep them."""
    whole, part = divmod(time, SECOND)
    return f"{np.datetime64(whole, 's')}.{part:09d}Z"


def by_asset(readings: Sequence[Reading]) -> list[Sent]:
    """An object with all the sensors of an asset at a time, its time among them."""
    documents: list[dict[str, Reading]] = []
    for asset, sensor, time, value in readings:
        last = documents[-1] if documents else {}
        if sensor in last or (asset, time) not in {(one[0], one[2]) for one in last.values()}:
            documents.append({})
        documents[-1][sensor] = asset, sensor, time, value
    found: list[Sent] = []
    for mine in documents:
        ((asset, time),) = {(asset, time) for asset, _, time, _ in mine.values()}
        document = {"t": iso(time), **{sensor: value for sensor, (*_, value) in mine.items()}}
        found.append(Sent(f"plant/{asset}", json.dumps(document).encode(), (*mine.values(),)))
    return found


def by_sensor(readings: Sequence[Reading]) -> list[Sent]:
    """Each sensor on its own topic, with its time."""
    return [
        Sent(
            f"plant/{asset}/{sensor}",
            json.dumps({"at": {"t": iso(time)}, "v": value}).encode(),
            ((asset, sensor, time, value),),
        )
        for asset, sensor, time, value in readings
    ]


def by_gateway(readings: Sequence[Reading]) -> list[Sent]:
    """Lists of up to three samples, each with its asset, its sensor and its time."""
    parts = [tuple(readings[start : start + 3]) for start in range(0, len(readings), 3)]
    return [
        Sent(
            "plant/gateway",
            json.dumps(
                [
                    {"id": asset, "n": sensor, "t": iso(time), "v": value}
                    for asset, sensor, time, value in part
                ]
            ).encode(),
            part,
        )
        for part in parts
    ]


SHAPES: dict[Any, dict[str, Any]] = {
    by_asset: {"topic": "plant/{asset}", "time": "t"},
    by_sensor: {"topic": "plant/{asset}/{sensor}", "time": "at.t", "value": "v"},
    by_gateway: {
        "topic": "plant/gateway",
        "asset": "id",
        "time": "t",
        "samples": "[]",
        "sensor": "n",
        "value": "v",
    },
}
shapes = st.sampled_from(list(SHAPES))


class Watched:
    """A stream, and all that its windows and alerts are made of, as it comes."""

    def __init__(self, **config: Any) -> None:
        judge = detector(SENSORS, window=3, period=PERIOD, max_hold=HOLD)
        self.stream: Stream = stream(judge, lateness=LATENESS / SECOND, **config)
        self.seen: list[Evidence] = []
        self.alerts: list[Alert] = []
        (group,) = self.stream.pipeline.groups
        step = group.alerts.step

        def watched(seen: Evidence, assets: AssetTable) -> list[Alert]:
            self.seen.append(seen)
            return step(seen, assets)

        group.alerts.step = watched

    def take(self, messages: Sequence[Message], now: int) -> list[str]:
        """The outcomes of the messages, in no order."""
        before = self.stream.books.outcomes.copy()
        self.alerts += self.stream.take(messages, now)
        new = self.stream.books.outcomes - before
        return [code.label for code in MessageOutcome for _ in range(int(new[code]))]

    def finish(self) -> None:
        self.alerts += self.stream.pipeline.finish().alerts

    @property
    def count(self) -> int:
        """Of frames."""
        return sum(len(seen.frames) for seen in self.seen)

    def told(self) -> list[bytes]:
        """Of the model: silence counts the time of arrival."""
        return events([alert for alert in self.alerts if alert.kind == "anomaly"])

    def frames(self) -> dict[tuple[str, int], tuple[object, ...]]:
        """Frames with their verdicts; asserts that none has come twice."""
        found: dict[tuple[str, int], tuple[object, ...]] = {}
        for seen in self.seen:
            for i in range(len(seen.frames)):
                key = self.stream.assets.names[int(seen.asset[i])], int(seen.time[i])
                assert key not in found
                held = tuple(
                    None if math.isnan(value) else (value, age)
                    for value, age in zip(
                        seen.frames.values[i].tolist(), seen.frames.age[i].tolist(), strict=True
                    )
                )
                verdicts = seen.verdicts
                found[key] = (
                    held,
                    int(seen.frames.coverage[i]),
                    None if math.isnan(verdicts.score[i]) else float(verdicts.score[i]),
                    bool(verdicts.anomalous[i]),
                    bool(verdicts.pending[i]),
                )
        return found

    def books_are_right(self, received: int) -> bool:
        books = self.stream.books
        return books.received == received == int(books.outcomes.sum())


def outcome(
    held: dict[tuple[str, str, int], tuple[int, float]], newest: dict[str, int], one: Sent
) -> str:
    """What becomes of a message, by the contract's words and whole numbers; the best counts.

    Args:
        held: time and value that a frame holds, by asset, sensor and tick.
        newest: event time of each asset's newest reading.
    """
    found: list[str] = []
    for row in dict.fromkeys((asset, time) for asset, _, time, _ in one.readings):
        asset, time = row
        tick = (2 * time + PERIOD) // (2 * PERIOD)
        is_late = (2 * tick + 1) * PERIOD <= 2 * (newest.get(asset, 0) - LATENESS)
        newest[asset] = max(newest.get(asset, 0), time)
        news = False
        for _, sensor, _, value in (r for r in one.readings if (r[0], r[2]) == row):
            cell = asset, sensor, tick
            news |= held.get(cell) != (time, value)
            if not is_late:
                held[cell] = max(held.get(cell, (0, 0.0)), (time, value))
        found.append("late" if is_late else "accepted" if news else "duplicate")
    return min(found, key=["accepted", "late", "duplicate"].index)


def outcomes(order: Sequence[Sent]) -> list[str]:
    held: dict[tuple[str, str, int], tuple[int, float]] = {}
    newest: dict[str, int] = {}
    return [outcome(held, newest, one) for one in order]


@st.composite
def readings(draw: st.DrawFn, conflicts: bool) -> list[Reading]:
    """In order of time, distinct in (asset, sensor, time) unless stamps may conflict."""
    time = TODAY + draw(st.sampled_from([0, PERIOD // 2, PERIOD // 2 - 1, 123_456_789]))
    found: list[Reading] = []
    for _ in range(draw(st.integers(1, 25))):
        time += draw(st.sampled_from([0, 1, 1, 2, 3, 4, 4, 4, 9, 30])) * PERIOD // 4
        asset, sensor = draw(st.sampled_from(["p1", "p2"])), draw(st.sampled_from(SENSORS))
        value = draw(st.sampled_from([0.25, 0.5, 2.0, 6.0]))
        if conflicts or (asset, sensor, time) not in [one[:3] for one in found]:
            found.append((asset, sensor, time, value))
    return found


def expected(shape: Any, sent: Sequence[Sent]) -> Watched:
    """All messages in order of time, one by one, each as old as it says."""
    wanted = Watched(**SHAPES[shape])
    for one in sent:
        now = max(time for _, _, time, _ in one.readings)
        wanted.take([one.at(now)], now)
    wanted.finish()
    return wanted


def cut(length: int, edges: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *sorted(edge % (length + 1) for edge in edges), length]))


@many
@given(st.data(), shapes, st.booleans(), st.sampled_from([0, -50 * SECOND, 5 * YEAR]))
def test_any_split_any_order_within_the_lateness_and_any_copies_give_the_same_frames(
    data: st.DataObject, shape: Any, conflicts: bool, offset: int
) -> None:
    sent = shape(data.draw(readings(conflicts)))
    sent = [one for one in sent if one.readings[-1][2] - one.readings[0][2] <= LATENESS]
    copies = data.draw(st.lists(st.sampled_from(sent), max_size=15)) if sent else []
    # Each arrives after its newest reading, and less than the lateness after its oldest one; the
    # machines' clocks are wrong by as much as they like, but by the same.
    due: list[tuple[int, Sent]] = []
    for one in [*sent, *copies]:
        times = [time for _, _, time, _ in one.readings]
        due.append((data.draw(st.integers(max(times), min(times) + LATENESS)) + offset, one))
    due.sort(key=lambda pair: pair[0])
    wanted = expected(shape, sent)

    found = Watched(**SHAPES[shape])
    labels: list[str] = []
    for start, end in cut(len(due), data.draw(st.lists(st.integers(0, 40), max_size=8))):
        # As the daemon does: a batch counts as of its first arrival, and an empty look in between.
        batch = due[start:end]
        now = batch[0][0] if batch else due[start - 1][0] if start else 0
        labels += found.take([one.at(arrival) for arrival, one in batch], now)
    found.finish()

    assert found.frames() == wanted.frames()
    assert found.told() == wanted.told()
    assert Counter(labels) == Counter(outcomes([one for _, one in due]))
    assert "late" not in labels
    assert found.books_are_right(len(due))


@many
@given(st.data(), shapes, st.booleans())
def test_in_any_order_what_is_late_is_counted_and_the_rest_gives_the_frames_of_its_own_order(
    data: st.DataObject, shape: Any, conflicts: bool
) -> None:
    """A backlog that arrives in one moment, so that only the stamps close frames."""
    sent = shape(data.draw(readings(conflicts)))
    order = data.draw(st.permutations([*sent, *data.draw(st.lists(st.sampled_from(sent)))]))
    now = order[0].readings[0][2] + YEAR
    wanted_labels = outcomes(order)

    found = Watched(**SHAPES[shape])
    labels: list[str] = []
    for start, end in cut(len(order), data.draw(st.lists(st.integers(0, 40), max_size=8))):
        labels += found.take([one.at(now) for one in order[start:end]], now)
    found.finish()

    assert Counter(labels) == Counter(wanted_labels)
    assert found.books_are_right(len(order))
    if shape is not by_gateway:  # whose messages may be late in part
        kept = {one for one, label in zip(order, wanted_labels, strict=True) if label != "late"}
        wanted = expected(shape, [one for one in sent if one in kept])
        assert found.frames() == wanted.frames()
        assert found.told() == wanted.told()


def stamps() -> st.SearchStrategy[object]:
    now = TODAY // SECOND
    near = st.integers(now - 200, now + 200)
    edges = [0, 1, -1, 59, 60, 61, YEAR // SECOND, -YEAR // SECOND]
    return st.one_of(
        near,
        near.map(float),
        st.sampled_from([now + edge for edge in edges]),
        st.sampled_from([0, 1, -1, 4_102_444_799, 4_102_444_800, 2**63, -(2**63), 10**30]),
        st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 5e-324, -0.0]),
        st.sampled_from(["", "1970-01-01T00:00:00Z", "2099-12-31T23:59:59.999999999Z", "now"]),
        st.integers(),
        st.floats(),
        st.none(),
    )


@few
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2"]),
            st.lists(st.tuples(stamps(), st.sampled_from([1.0, math.nan, None])), max_size=4),
            st.sampled_from([0, 0, 1, SECOND, 10 * SECOND, YEAR]),
        ),
        max_size=25,
    )
)
def test_a_message_makes_at_most_a_frame_and_its_holds_of_each_of_its_samples(
    drawn: list[tuple[str, list[tuple[object, object]], int]],
) -> None:
    """Whatever its stamps say, and however far the clock has gone on."""
    of = Watched(topic="plant/{asset}", time="t", samples="[]", lenient_json=True)
    now, samples = TODAY, 0
    open_ticks = of.stream.pipeline.groups[0].framer.ticks._tick.shape[1]
    for n, (asset, held, step) in enumerate(drawn):
        now += step
        payload = json.dumps([{"t": stamp, "x": x, "y": 1.0} for stamp, x in held]).encode()
        before = of.count
        of.take([Message(f"plant/{asset}", payload, now, retained=False)], now)
        samples += len(held)
        assert of.count <= (1 + HOLD) * samples
        # What one message can close: its own ticks and those that waited, of both machines.
        assert of.count - before <= (1 + HOLD) * (len(held) + 2 * open_ticks)
        assert of.books_are_right(n + 1)
    of.finish()
    assert of.count <= (1 + HOLD) * samples


def test_the_samples_of_a_message_are_bounded_and_so_are_the_frames_of_the_fullest() -> None:
    """Each far enough from the one before that all holds are made."""
    of = Watched(topic="plant/{asset}", time="t", samples="[]", max_payload=2**20)

    def full(samples: int) -> list[str]:
        times = [TODAY // SECOND + 10 * n for n in range(samples)]
        payload = json.dumps([{"t": t, "x": 1, "y": 1} for t in times]).encode()
        arrival = TODAY + YEAR
        return of.take([Message("plant/p1", payload, arrival, retained=False)], arrival)

    assert full(MOST_SAMPLES + 1) == ["malformed"]
    assert full(MOST_SAMPLES) == ["accepted"]
    of.finish()
    assert of.count == MOST_SAMPLES + (MOST_SAMPLES - 1) * HOLD
