"""Real recordings with holes, jitter and repeated stamps, and with steps back in time put in."""

import csv
import gzip
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from models.bundle import load
from models.evaluation import score_recordings
from models.recording import read
from tests.e2e.program import (
    Daemon,
    Event,
    Listener,
    Machine,
    sensor_monitor,
    trainer,
    write_config,
)
from tests.e2e.test_alerts import as_replay_sorts
from tests.mosquitto import Mosquitto

NAB = Path(__file__).parents[3] / "shared" / "data" / "nab"
# Of the first two half is missing, and some samples come at other times than every five minutes;
# each of the others has one stamp twelve times, with other values or with the same.
FILES = (
    "occupancy_6005",
    "speed_7578",
    "ec2_request_latency_system_failure",
    "ec2_disk_write_bytes_1ef3de",
)
ROWS = 2400  # of each; their repeated stamps are among the first 900
PERIOD, LATENESS = 300, 900  # seconds
CHUNK = 800  # messages between two looks at the scores


class Row(NamedTuple):
    """A reading, as it stands in the file and on its topic."""

    asset: str
    stamp: str
    value: str
    time: int  # seconds since the epoch

    @property
    def tick(self) -> int:
        return (self.time + PERIOD // 2) // PERIOD

    def event(self, stream: str) -> Event:
        payload = f'{{"at": "{self.stamp}", "value": {self.value}}}'
        return f"{stream}/{self.asset}", payload.encode()


def when(row: Row) -> int:
    return row.time


def reading(asset: str, stamp: str, value: str) -> Row:
    return Row(asset, stamp, value, round(datetime.fromisoformat(stamp).timestamp()))


def rows_of(asset: str) -> list[Row]:
    with gzip.open(NAB / f"{asset}.csv.gz", "rt", newline="") as file:
        lines = list(csv.DictReader(file))[:ROWS]
    return [reading(asset, line["timestamp"], line["value"]) for line in lines]


def with_steps_back(rows: Sequence[Row], chance: random.Random) -> list[Row]:
    """Some rows up to the lateness behind newer ones, some far more; and some twice."""
    due: list[tuple[float, Row]] = []
    for row in rows:
        for _ in range(chance.choice((1, 1, 1, 2))):
            within, beyond = chance.uniform(0, LATENESS), chance.uniform(LATENESS, 5 * LATENESS)
            delay = chance.choice((*[0.0] * 12, *[within] * 4, beyond))
            due.append((row.time + delay, row))
    due.sort(key=lambda pair: pair[0])
    return [row for _, row in due]


def sorted_out(rows: Iterable[Row]) -> tuple[list[Row], list[str]]:
    """By the contract's words: the rows of one asset that are in time, and the outcome of each.

    A row is late if one at or past its tick's end and the lateness has come before it, and a
    duplicate if it is what its frame would hold already.
    """
    newest, held = -math.inf, dict[int, tuple[int, float]]()
    kept: list[Row] = []
    outcomes: list[str] = []
    for row in rows:
        what, end = (row.time, float(row.value)), row.tick * PERIOD + PERIOD // 2
        if end + LATENESS <= newest:
            outcomes.append("late")
        else:
            kept.append(row)
            outcomes.append("duplicate" if held.get(row.tick) == what else "accepted")
            held[row.tick] = max(held.get(row.tick, what), what)
        newest = max(newest, row.time)
    return kept, outcomes


class Offline(NamedTuple):
    """What is made of some rows, sorted, in files."""

    scores: dict[str, dict[int, float]]  # by asset and tick, NaN where there is none
    alerts: list[bytes]


def offline(
    folder: Path, bundle: Path, config: Path, stream: str, rows: Mapping[str, Sequence[Row]]
) -> Offline:
    folder.mkdir()
    files = [
        write_rows(folder / f"{asset}.csv", sorted(of, key=when)) for asset, of in rows.items()
    ]
    found = score_recordings(load(bundle), [read(file) for file in files])
    scores = {
        one.track.asset: dict(
            zip(one.track.frames.tick.tolist(), one.verdicts.score.tolist(), strict=True)
        )
        for one in found
    }
    told = sensor_monitor("replay", *files, "--config", config, "--stream", stream)
    assert told.returncode == 0, told.stderr
    return Offline(scores, as_replay_sorts(told.stdout.encode().splitlines()))


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("timestamp,value\n" + "".join(f"{row.stamp},{row.value}\n" for row in rows))
    return path


def in_turns(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows of all assets, each in its order, spread over the whole."""
    placed = [(n / len(mine), row) for mine in rows.values() for n, row in enumerate(mine)]
    placed.sort(key=lambda pair: pair[0])
    return [row for _, row in placed]


@pytest.mark.skipif(not NAB.is_dir(), reason=f"wants the recordings in {NAB}")
def test_of_real_recordings_in_any_order_nothing_is_lost_and_nothing_is_scored_twice(
    broker: Mosquitto, start: Callable[..., Daemon], tmp_path: Path
) -> None:
    """One stream as the files are, one with steps back; both give what is scored offline."""
    chance, bundle = random.Random(3), tmp_path / "bundle"
    recorded = {asset: rows_of(asset) for asset in FILES}
    (tmp_path / "train").mkdir()
    train = [write_rows(tmp_path / "train" / f"{a}.csv", r[:900]) for a, r in recorded.items()]
    rule = ("--set", "threshold=quantile", "--set", "quantile=0.99")  # some alerts in each
    trainer("fit", *train, "--model", "pca", "--window", "8", *rule, "--out", bundle)
    sent = {
        "plain": recorded,
        "back": {asset: with_steps_back(rows, chance) for asset, rows in recorded.items()},
    }
    streams = "\n[[stream]]\n".join(
        f'name = "{name}"\nmodel = "{bundle}"\ntopic = "{name}/{{asset}}"\ntime = "at"\n'
        f"lateness = {LATENESS}"
        for name in sent
    )
    daemon = start(broker.port, stream=streams)
    config, _ = write_config(tmp_path, broker.port, stream=streams)
    wanted: dict[str, Offline] = {}
    outcomes: dict[str, Counter[str]] = {}
    for name, rows in sent.items():
        found = {asset: sorted_out(mine) for asset, mine in rows.items()}
        kept = {asset: mine for asset, (mine, _) in found.items()}
        wanted[name] = offline(tmp_path / name, bundle, config, name, kept)
        outcomes[name] = Counter(one for _, labels in found.values() for one in labels)
    assert outcomes["plain"]["duplicate"] == 11
    assert outcomes["plain"]["late"] == 0 < outcomes["back"]["late"]
    # The last reading of each closes what waits, and itself stays open.
    last = [reading(asset, "2020-01-01T00:00:00Z", "1") for asset in FILES]

    daemon.await_ready()
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        compared = 0
        for name, rows in sent.items():
            order = [*in_turns(rows), *last]
            for end in range(CHUNK, len(order) + CHUNK, CHUNK):
                machine.play(row.event(name) for row in order[end - CHUNK : end])
                daemon.outcomes(min(end, len(order)), name)
                compared += same_scores(daemon, name, order[:end], wanted[name].scores)

            outcomes[name]["accepted"] += len(last)
            assert daemon.outcomes(len(order), name) == +outcomes[name]
            scores = [one for of in wanted[name].scores.values() for one in of.values()]
            assert frames(daemon, name) == (sum(map(math.isfinite, scores)), len(scores))
        daemon.stop()
        listener.await_farewell()
        heard = listener.alerts()
    assert compared > 60
    for name in sent:
        told = [line for line in heard if json.loads(line)["data"]["stream"] == name]
        assert as_replay_sorts(told) == wanted[name].alerts
        assert len({json.loads(line)["data"]["asset"] for line in told}) > 2


def frames(daemon: Daemon, stream: str) -> tuple[int, int]:
    """Windows scored, and frames in all."""
    page = {name: int(value) for name, value in daemon.metrics().items() if stream in name}
    scored = page[f'windows_scored_total{{stream="{stream}"}}']
    skipped = [value for name, value in page.items() if name.startswith("windows_skipped_total{")]
    return scored, scored + sum(skipped)


def same_scores(
    daemon: Daemon, stream: str, sent: Sequence[Row], wanted: Mapping[str, Mapping[int, float]]
) -> int:
    """Compare the newest score of each asset with that of its frame; how many there are."""
    page = daemon.metrics()
    compared = 0
    for asset in FILES:
        kept, _ = sorted_out(one for one in sent if one.asset == asset)
        ended = (max(one.time for one in kept) - LATENESS - PERIOD // 2) // PERIOD
        tick = max((one.tick for one in kept if one.tick <= ended), default=None)
        score = math.nan if tick is None else wanted[asset][tick]
        shown = page.get(f'anomaly_score{{asset="{asset}",stream="{stream}"}}', math.nan)
        assert shown == pytest.approx(score, rel=1e-6, nan_ok=True), (asset, tick)
        compared += not math.isnan(shown)
    return compared
