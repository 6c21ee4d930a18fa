"""The whole job on SKAB: `fit` on normal rows, then each file through mosquitto to a daemon.

`scripts/bench skab` prints a table of all files and proves that the daemon's alerts are those of
`replay`, byte for byte; also with the messages shuffled within the lateness, doubled, and among
those of all other files. The data are read from ../shared/data/skab and never copied.
"""

import argparse
import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sklearn.metrics import average_precision_score

from monitor.config import load
from monitor.link import Link
from monitor.mqtt import LinkSettings
from monitor.player import play
from monitor.replaying import messages, read_for
from monitor.stream import open_streams
from tests.mosquitto import Mosquitto, free_port, wait_until

SKAB = Path(__file__).parents[3] / "shared" / "data" / "skab"
BIN = Path(sys.executable).parent
CONFIG = """\
[mqtt]
port = {port}
client_id = "skab-{run}"
[alerts]
instance = "skab"
[http]
listen = "127.0.0.1:{http}"
[[stream]]
name = "skab"
model = "bundles/{{asset}}"
topic = "skab/{{asset}}/telemetry"
time = "timestamp"
"""


@dataclass(slots=True)
class Row:
    file: str
    fit_s: float
    kept: str
    loss: float
    pca_loss: float
    auc_pr: float = 0.0
    alerted: bool = False
    opened: bool = False
    delay_s: float | None = None
    before: float = 0.0
    sensor: str = ""
    same: bool = False
    same_shuffled: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--model", default="lstm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("files", nargs="*", help="names such as valve1_00; default all 17")
    arguments = parser.parse_args()
    manifest = json.loads((SKAB / "manifest.json").read_text())
    files = [
        entry
        for entry in manifest["files"]
        if "anomaly_segments" in entry and (not arguments.files or stem(entry) in arguments.files)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extra = ["--model", arguments.model, "--seed", str(arguments.seed)]
        extra += [word for pair in arguments.set for word in ("--set", pair)]
        rows = [fit(folder, entry, extra) for entry in files]
        one_by_one = through_broker(folder, files, "plain", shuffled=False)
        together = through_broker(folder, files, "shuffled", shuffled=True)
        for row, entry in zip(rows, files, strict=True):
            wanted = replayed(folder, entry)
            row.same = one_by_one[row.file] == wanted
            row.same_shuffled = together[row.file] == wanted
            judge(row, folder, entry, one_by_one[row.file])
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        show(rows)


def stem(entry: dict[str, Any]) -> str:
    return entry["file"].removesuffix(".csv.gz")


def fit(folder: Path, entry: dict[str, Any], extra: list[str]) -> Row:
    first, last = entry["train_rows"]
    out = folder / "bundles" / stem(entry)
    began = time.monotonic()
    done = subprocess.run(
        [
            BIN / "sensor-trainer",
            "fit",
            SKAB / entry["file"],
            "--rows",
            f"{first}:{last}",
            "--out",
            out,
            *extra,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    training = json.loads((out / "bundle.json").read_text())["training"]
    kept = re.search(r"kept \(([\d.]+%)\)", done.stdout)
    return Row(
        stem(entry),
        seconds,
        kept[1] if kept else "?",
        training["validation_loss"],
        training["pca_validation_loss"],
    )


def through_broker(
    folder: Path, files: list[dict[str, Any]], run: str, *, shuffled: bool
) -> dict[str, list[bytes]]:
    """Alert events by asset, as a subscriber outside the daemon's process receives them."""
    http = free_port()
    broker = Mosquitto(folder, "max_queued_messages 100000")
    broker.start()
    config = folder / f"{run}.toml"
    config.write_text(CONFIG.format(port=broker.port, run=run, http=http))
    settings = LinkSettings("127.0.0.1", broker.port, f"listener-{run}", session_expiry=0)
    listener = Link(settings, filters=["sensor-monitor/+/+/+/alerts"])
    listener.start()
    with (folder / f"{run}.log").open("wb") as log:
        daemon = subprocess.Popen(
            [BIN / "sensor-monitor", "run", "--config", config], stderr=log, env={**os.environ}
        )
    try:
        assert listener.wait_ready(10)
        wait_until(lambda: ready(http), 30)
        if shuffled:
            play(
                LinkSettings("127.0.0.1", broker.port, "player"),
                mixed(config, files),
                speed=None,
                rate_limit=2000,
            )
        else:
            for entry in files:
                subprocess.run(
                    [
                        BIN / "sensor-monitor",
                        "publish",
                        SKAB / entry["file"],
                        "--config",
                        config,
                        "--stream",
                        "skab",
                        "--speed",
                        "max",
                    ],
                    check=True,
                    capture_output=True,
                )
        rows = sum(entry["rows"] for entry in files) * (2 if shuffled else 1)
        wait_until(lambda: settled(http, rows), 60)
    finally:
        daemon.terminate()
        daemon.wait(10)
    found: dict[str, list[bytes]] = {stem(entry): [] for entry in files}
    # The daemon has left: its alerts came before its farewell, and all of them are here.
    while batch := listener.receive(0.5):
        for message in batch:
            found[message.topic.split("/")[3]].append(message.payload)
    listener.stop()
    broker.kill()
    return found


def mixed(config: Path, files: list[dict[str, Any]]) -> Iterator[tuple[float, str, bytes]]:
    """All files at once, each message up to the lateness late, and twice."""
    stream = open_streams(load(config))[0]
    lateness = 2.0  # seconds: the default for a period of 1 s
    chance = random.Random(17)
    everything: list[tuple[float, str, bytes]] = []
    for entry in files:
        recording, names = read_for(stream, SKAB / entry["file"], None)
        own = list(messages(stream, recording, names, {}))
        origin = own[0][0]
        for due, topic, payload in own:
            for _ in range(2):
                late = chance.uniform(0, 0.999 * lateness)
                everything.append((due - origin + late, topic, payload))
    everything.sort(key=lambda message: message[0])
    yield from everything


def ready(port: int) -> bool:
    return page(port, "/readyz") is not None


def settled(port: int, rows: int) -> bool:
    text = page(port, "/metrics") or ""
    received = re.search(r"messages_received_total\{[^}]*\} ([\d.e+]+)", text)
    return received is not None and float(received[1]) >= rows


def page(port: int, path: str) -> str | None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def replayed(folder: Path, entry: dict[str, Any]) -> list[bytes]:
    done = subprocess.run(
        [
            BIN / "sensor-monitor",
            "replay",
            SKAB / entry["file"],
            "--config",
            folder / "plain.toml",
            "--stream",
            "skab",
        ],
        capture_output=True,
        check=True,
    )
    return done.stdout.splitlines()


def judge(row: Row, folder: Path, entry: dict[str, Any], events: Iterable[bytes]) -> None:
    scores = folder / f"{row.file}.scores.csv"
    subprocess.run(
        [
            BIN / "sensor-trainer",
            "score",
            folder / "bundles" / row.file,
            SKAB / entry["file"],
            "--out",
            scores,
        ],
        check=True,
    )
    with subprocess.Popen(
        ["gzip", "-dc", SKAB / entry["file"]], stdout=subprocess.PIPE, text=True
    ) as unpacked:
        assert unpacked.stdout is not None
        recording = list(csv.DictReader(unpacked.stdout))
    label = {line["timestamp"]: int(float(line["label"])) for line in recording}
    with scores.open() as file:
        scored = [line for line in csv.DictReader(file) if line["score"]]
    known = [line for line in scored if line["timestamp"] in label]
    row.auc_pr = float(
        average_precision_score(
            [label[line["timestamp"]] for line in known], [float(line["score"]) for line in known]
        )
    )
    start, end = entry["anomaly_segments"][0]
    begin = seconds(recording[start]["timestamp"])
    finish = seconds(recording[end - 1]["timestamp"]) + 1
    before = [line for line in scored if seconds(line["timestamp"]) < begin]
    row.before = sum(int(line["alert"]) for line in before) / len(before)
    spans = alert_spans(events, finish)
    inside = [(max(a, begin), b, event) for a, b, event in spans if a < finish and b > begin]
    row.alerted = bool(inside)
    row.opened = any(begin <= a < finish for a, _, _ in spans)
    if inside:
        row.delay_s = min(a for a, _, _ in inside) - begin
        # The worst moment told of an alert names the sensor.
        worst = max((event for _, _, event in inside), key=lambda event: event["data"]["score"])
        row.sensor = worst["data"]["sensors"][0]["name"]


def alert_spans(events: Iterable[bytes], end: float) -> list[tuple[float, float, dict[str, Any]]]:
    """(opened, resolved, an event) for every event told of each alert."""
    told: dict[str, list[dict[str, Any]]] = {}
    for event in map(json.loads, events):
        told.setdefault(event["data"]["alert_id"], []).append(event)
    spans: list[tuple[float, float, dict[str, Any]]] = []
    for steps in told.values():
        last = steps[-1]
        over = seconds(last["time"]) if last["type"].endswith("resolved") else end
        spans += [(seconds(steps[0]["time"]), over, step) for step in steps]
    return spans


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def show(rows: list[Row]) -> None:
    print(
        "file        alert  opened  delay s  before %  AUC-PR  loss   pca    fit s  kept    "
        "same  sensor"
    )
    for row in rows:
        delay = "–" if row.delay_s is None else f"{row.delay_s:.0f}"
        print(
            f"{row.file:11} {'yes' if row.alerted else 'no':5}  {'yes' if row.opened else 'no':6} "
            f"{delay:>8} {100 * row.before:>9.1f}"
            f" {row.auc_pr:>7.3f}  {row.loss:.3f}  {row.pca_loss:.3f} {row.fit_s:>6.1f}  "
            f"{row.kept:6}  {'yes' if row.same and row.same_shuffled else 'NO':4}  {row.sensor}"
        )
    good = sum(row.alerted and row.before < 0.1 for row in rows)
    print(
        f"{sum(row.alerted for row in rows)} of {len(rows)} faults alerted inside their segment, "
        f"{good} of them with under 10 % of the time before it in alert; in "
        f"{sum(row.opened for row in rows)} an alert opened there; "
        f"slowest fit {max(row.fit_s for row in rows):.1f} s"
    )
    print(
        f"alerts equal to replay: {sum(row.same for row in rows)} of {len(rows)} played alone, "
        f"{sum(row.same_shuffled for row in rows)} shuffled, doubled and among the others"
    )


if __name__ == "__main__":
    main()
