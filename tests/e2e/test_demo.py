"""The demo as a newcomer sees it, and as a subscriber outside its process hears it."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from monitor.demo.plant import schedule
from monitor.demo.show import LEAST_TICKS
from monitor.link import Link
from monitor.mqtt import LinkSettings
from tests.mosquitto import MOSQUITTO

SECONDS = 15
PROGRAM = "import sys; sys.argv[0] = 'sensor-monitor'; from monitor.cli import main; main()"
# The demo looks for mosquitto beside the PATH too; so hidden, it takes the broker inside.
HIDDEN = "import shutil; shutil.which = lambda *_, **__: None; "


@pytest.mark.parametrize("kind", ["mosquitto", "amqtt"])
def test_faults_are_found_named_and_heard_outside(kind: str) -> None:
    if kind == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; wanted Debian's package mosquitto")
    program = PROGRAM if kind == "mosquitto" else HIDDEN + PROGRAM
    with subprocess.Popen(
        [sys.executable, "-c", program, "demo", "--seconds", str(SECONDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        opening = [demo.stdout.readline() for _ in range(3)]
        found = re.search(r"^broker: (\w+) on ([\d.]+):(\d+)$", opening[0])
        assert found is not None, opening
        assert found[1] == kind
        protocol = "5" if kind == "mosquitto" else "3.1.1"
        outside = Link(
            LinkSettings(found[2], int(found[3]), "outside", protocol, session_expiry=0),
            filters=["sensor-monitor/demo/+/+/alerts"],
        )
        outside.start()
        heard: list[dict[str, Any]] = []
        while demo.poll() is None:
            batch = outside.receive(0.1)
            heard += [json.loads(message.payload) for message in batch]
            outside.acknowledge(len(batch))
        outside.stop(timeout=0.5)
        rest, errors = demo.stdout.read(), demo.stderr.read()
    assert demo.returncode == 0, errors
    assert "4 of 4 faults found, 0 false alerts." in rest
    assert "Traceback" not in errors
    opened = [event for event in heard if event["type"].endswith("alert.opened")]
    faults = schedule(max(LEAST_TICKS, 20 * SECONDS))
    assert [event["data"]["asset"] for event in opened] == [fault.asset for fault in faults]
    kinds = ["stuck" if fault.kind == "stuck" else "anomaly" for fault in faults]
    assert [event["data"]["kind"] for event in opened] == kinds
    for fault in faults:
        mine = [event["data"] for event in heard if event["data"]["asset"] == fault.asset]
        named = {event["sensors"][0]["name"] for event in mine}
        assert fault.sensor in named
        assert all(event["summary"] in rest for event in mine)
