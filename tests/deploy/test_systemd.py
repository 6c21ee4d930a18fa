"""The unit is sound, closed and restarts where a restart helps."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "sensor-monitor.service"


def directives(path: Path) -> dict[str, list[str]]:
    """Every value of every directive, in order; systemd allows a directive more than once."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in path.read_text().splitlines():
        if line and line[0] not in "#[":
            name, value = line.split("=", 1)
            found[name].append(value)
    return found


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not on the PATH")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(params=["alone", "with-drop-ins"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit where its program exists."""
    unit = tmp_path / UNIT.name
    program = "/opt/sensor-monitor/bin/sensor-monitor"
    assert program in UNIT.read_text()
    unit.write_text(UNIT.read_text().replace(f"ExecStart={program}", "ExecStart=/bin/true"))
    if request.param == "with-drop-ins":
        shutil.copytree(SYSTEMD / f"{UNIT.name}.d", tmp_path / f"{UNIT.name}.d")
    return unit


def test_systemd_finds_nothing_to_complain_about(installed: Path) -> None:
    done = systemd_analyze("verify", installed)

    complaints = [line for line in done.stderr.splitlines() if installed.name in line]
    assert (done.returncode, complaints) == (0, [])


def test_the_unit_is_closed_to_at_most_1_5_of_10(installed: Path) -> None:
    done = systemd_analyze("security", "--offline=true", "--threshold=15", installed)

    assert done.returncode == 0, done.stdout


def test_a_failure_is_restarted_unless_it_cannot_heal() -> None:
    unit = directives(UNIT)

    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["30"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartSec"] == ["2"]
    assert unit["RestartPreventExitStatus"] == ["2 65 66 78"]


def test_after_a_takeover_the_restart_waits() -> None:
    [command] = directives(UNIT)["ExecStopPost"]

    shell = command.removeprefix("/bin/sh -c '").removesuffix("'").replace("$$", "$")
    shell = shell.replace("sleep", "echo waits")
    said = {
        status: subprocess.run(
            ["/bin/sh", "-c", shell], env={"EXIT_STATUS": status}, capture_output=True, check=True
        ).stdout
        for status in ("0", "70", "75", "TERM")
    }
    assert said == {"0": b"", "70": b"", "75": b"waits 30\n", "TERM": b""}


def test_the_daemon_gets_its_own_user_and_folders() -> None:
    unit = directives(UNIT)

    assert unit["DynamicUser"] == ["yes"]
    assert unit["StateDirectory"] == unit["ConfigurationDirectory"] == ["sensor-monitor"]
    assert "${CONFIGURATION_DIRECTORY}" in unit["ExecStart"][0]


def test_nothing_is_closed_that_scoring_needs() -> None:
    unit = directives(UNIT)

    assert not any("@resources" in value for value in unit["SystemCallFilter"])
    assert "ProcSubset" not in unit
    assert "MemoryDenyWriteExecute" not in unit
