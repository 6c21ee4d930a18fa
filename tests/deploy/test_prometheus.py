"""What Prometheus loads is judged by promtool, Prometheus's own tool."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "rules/sensor-monitor.yml"),
        ("test", "rules", "rules/sensor-monitor.test.yml"),
    ],
    ids=["configuration", "rules", "rule-tests"],
)
def test_promtool_accepts_what_is_shipped(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on the PATH; scripts/test installs it")

    done = subprocess.run(
        [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
