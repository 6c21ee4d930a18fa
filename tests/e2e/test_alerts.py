"""What a subscriber outside the daemon's process is told of a machine's faults."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import pytest

from models.frame import SECOND, Grid, frames_of
from models.recording import read
from monitor.demo.plant import ASSETS, RECORDING_START, SENSOR_NAMES, payload, stamp
from monitor.demo.plant import Plant as Pumps
from tests.e2e.conftest import FAULTS, TICKS, Plant
from tests.e2e.program import (
    Daemon,
    Event,
    Listener,
    Machine,
    sensor_monitor,
    trainer,
    write_config,
)
from tests.mosquitto import Mosquitto

SKAB = Path(__file__).parents[3] / "shared" / "data" / "skab"
OTHERS = tuple(f"q{number}" for number in range(11))  # each pump is among 16 others


def test_a_played_recording_raises_the_alerts_of_replay_byte_for_byte(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    _, listener = outside
    daemon = start(broker.port).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=plant.stream)

    played = sensor_monitor(
        "publish", plant.faulty, "--config", config, "--stream", "pumps", "--speed", "max"
    )

    assert played.returncode == 0, played.stderr
    assert played.stderr.endswith(f"\n{plant.frames} messages published\n")
    daemon.await_frames(plant.frames)
    assert daemon.outcomes(plant.frames) == {"accepted": plant.frames}
    check_page(daemon)
    daemon.stop()
    listener.await_farewell()
    assert as_replay_sorts(listener.alerts()) == list(plant.alerts)


def test_every_fault_is_alerted_while_it_lasts_and_named_by_its_sensor(plant: Plant) -> None:
    told = [json.loads(line) for line in plant.alerts]
    for fault in FAULTS:
        steps = [event for event in told if event["data"]["asset"] == fault.asset]
        first, last = steps[0], steps[-1]
        assert first["type"].endswith("alert.opened")
        begin, end = (stamp(tick, RECORDING_START) for tick in (fault.start, fault.end))
        assert begin <= first["time"] < end
        assert last["type"].endswith("alert.resolved")
        assert last["data"]["reason"] == "normal"
        worst = max(steps, key=lambda event: event["data"]["score"])
        assert worst["data"]["sensors"][0]["name"] == fault.sensor
    assert {event["data"]["asset"] for event in told} == {fault.asset for fault in FAULTS}


def test_shuffled_doubled_and_among_others_the_alerts_are_the_same(
    plant: Plant,
    make_mosquitto: Callable[..., Mosquitto],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    # More than the default, so that a machine that stalls cannot make a message late.
    lateness = 5
    broker = make_mosquitto("max_queued_messages 100000")
    daemon = start(broker.port, more=f"lateness = {lateness}").await_ready()
    count = TICKS * (len(ASSETS) + len(OTHERS))
    with Machine(broker) as machine, Listener(broker, "edge-1") as listener:
        machine.play(shuffled(chain(plant.messages, others()), lateness))

        daemon.await_frames(count)
        assert daemon.outcomes(2 * count) == {"accepted": count, "duplicate": count}
        daemon.stop()
        listener.await_farewell()
        heard = listener.alerts()
    ours = [line for line in heard if json.loads(line)["data"]["asset"] in ASSETS]
    assert as_replay_sorts(ours) == list(plant.alerts)


def test_each_sensor_may_have_a_topic_of_its_own(
    plant: Plant,
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    """Without stamps the moment of arrival counts, so this one plays in real time, ten a second."""
    _, listener = outside
    normal, faulty, bundle = (tmp_path / name for name in ("normal.csv", "p9.csv", "fast"))
    pumps = Pumps(seed=3)
    rows = [pumps.sample(tick)[0].tolist() for tick in range(900)]
    write_fast(normal, rows)
    write_fast(faulty, [*rows[:25], *([10 * value for value in row] for row in rows[25:45])])
    trainer("fit", normal, "--out", bundle, "--model", "pca", "--window", "8")
    stream = (
        f'name = "fast"\nmodel = "{bundle}"\ntopic = "plant/{{line}}/{{asset}}/{{sensor}}"\n'
        'payload = "number"'
    )
    daemon = start(broker.port, stream=stream).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=stream)
    arguments = ("--config", config, "--stream", "fast", "--label", "line=b")

    played = sensor_monitor("publish", faulty, *arguments)

    assert played.returncode == 0, played.stderr
    assert "has no time key" in played.stderr
    assert daemon.outcomes(45 * 6, "fast") == {"accepted": 45 * 6}
    listener.wait_for(lambda _: listener.of("fast/p9/alerts"))
    for name, value in zip(SENSOR_NAMES, rows[44], strict=True):
        read = daemon.metric("sensor_value", stream="fast", asset="p9", sensor=name)
        assert read == pytest.approx(10 * value)
    event = json.loads(listener.of("fast/p9/alerts")[0])
    assert event["type"].endswith("alert.opened")
    assert event["data"]["labels"] == {"line": "b"}
    assert daemon.metric(
        "alert_active", asset="p9", kind="anomaly", severity="critical", stream="fast"
    )


def test_a_stuck_sensor_and_one_in_another_unit_are_told_as_replay_tells_them(
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    _, listener = outside
    normal, faulty, bundle = (tmp_path / name for name in ("normal.csv", "p9.csv", "fast"))
    pumps = Pumps(seed=3)
    rows = [pumps.sample(tick)[0].tolist() for tick in range(900)]
    write_fast(normal, rows, step=1.0)
    speed, pressure = SENSOR_NAMES.index("speed"), SENSOR_NAMES.index("pressure")
    for row in rows[300:500]:
        row[speed] = 1320.0
        row[pressure] *= 1000
    write_fast(faulty, rows, step=1.0)
    trainer("fit", normal, "--out", bundle, "--model", "pca", "--window", "8")
    stream = f'name = "fast"\nmodel = "{bundle}"\ntopic = "plant/{{asset}}"\ntime = "at"'
    daemon = start(broker.port, stream=stream).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=stream)
    arguments = (faulty, "--config", config, "--stream", "fast")
    replayed = sensor_monitor("replay", *arguments)

    played = sensor_monitor("publish", *arguments, "--speed", "max")

    assert played.returncode == replayed.returncode == 0, played.stderr + replayed.stderr
    daemon.await_frames(len(rows), "fast")
    daemon.stop()
    listener.await_farewell()
    assert as_replay_sorts(listener.alerts()) == replayed.stdout.encode().splitlines()
    told = [json.loads(line)["data"] for line in listener.alerts()]
    for kind, sensor, words in (
        ("stuck", "speed", "speed has read exactly 1320 since"),
        ("out-of-range", "pressure", "as if its unit had changed (×1000)"),
    ):
        opened, resolved = (one for one in told if one["kind"] == kind)
        assert [one["name"] for one in opened["sensors"]] == [sensor]
        assert words in opened["summary"]
        assert resolved["reason"] == "normal"


@pytest.mark.skipif(not SKAB.is_dir(), reason="wants the SKAB recordings in ../shared/data/skab")
def test_a_real_pump_raises_the_alerts_of_replay_byte_for_byte(
    broker: Mosquitto,
    outside: tuple[Machine, Listener],
    start: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    """Its stamps miss a second now and then, and its numbers are not rounded."""
    _, listener = outside
    recording, bundle = SKAB / "valve1_00.csv.gz", tmp_path / "valve1_00"
    trainer("fit", recording, "--rows", "0:400", "--model", "pca", "--out", bundle)
    stream = (
        f'name = "skab"\nmodel = "{tmp_path}/{{asset}}"\ntopic = "skab/{{asset}}/telemetry"\n'
        'time = "at.time"'
    )
    daemon = start(broker.port, stream=stream).await_ready()
    config, _ = write_config(tmp_path, broker.port, stream=stream)
    arguments = ("--config", config, "--stream", "skab")
    wanted = sensor_monitor("replay", recording, *arguments)
    rows = read(recording)
    frames, _ = frames_of(rows.asset, rows.time, rows.values, Grid(SECOND, 25))

    played = sensor_monitor("publish", recording, *arguments, "--speed", "max")

    assert played.returncode == 0, played.stderr
    daemon.await_frames(len(frames), "skab")
    daemon.stop()
    listener.await_farewell()
    assert wanted.stdout
    assert b"".join(line + b"\n" for line in listener.alerts()) == wanted.stdout.encode()


def as_replay_sorts(lines: Iterable[bytes]) -> list[bytes]:
    """By time and asset: between assets, events come as the batches fell."""

    def key(line: bytes) -> tuple[str, str]:
        event = json.loads(line)
        return event["time"], event["data"]["asset"]

    return sorted(lines, key=key)


def shuffled(events: Iterable[Event], lateness: float) -> list[Event]:
    """Every message twice, both up to `lateness` late; its tick is its stamp's."""
    chance = random.Random(17)
    due = [
        (json.loads(document)["time"], chance.uniform(0, 0.999 * lateness), topic, document)
        for topic, document in events
        for _ in range(2)
    ]
    order = {when: tick for tick, when in enumerate(sorted({when for when, *_ in due}))}
    due.sort(key=lambda event: order[event[0]] + event[1])
    return [(topic, document) for _, _, topic, document in due]


def others() -> Iterable[Event]:
    pumps = Pumps(seed=4)
    for tick in range(TICKS):
        rows, when = pumps.sample(tick), stamp(tick, RECORDING_START)
        for number, name in enumerate(OTHERS):
            yield f"plant/{name}/telemetry", payload(rows[number % len(rows)], when)


def write_fast(path: Path, rows: list[list[float]], step: float = 0.1) -> None:
    """A recording at ten rows a second, or another step."""
    names = ",".join(SENSOR_NAMES)
    lines = [
        f"{1_700_000_000 + step * tick:.1f}," + ",".join(map(str, row))
        for tick, row in enumerate(rows)
    ]
    path.write_text("\n".join([f"timestamp,{names}", *lines]) + "\n")


def check_page(daemon: Daemon) -> None:
    """Let Prometheus' own tool judge the live page."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; wanted Debian's package prometheus")
    _, page = daemon.get("/metrics")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
