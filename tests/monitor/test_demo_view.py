"""The demo's view, as text: at 80 and 120 columns, without colour, without a terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from monitor.demo.view import AssetRow, Finding, Screen, Snapshot, View, summary

HISTORY = tuple(0.3 for _ in range(40))
ROWS = (
    AssetRow("p1", "normal", 0.42, HISTORY),
    AssetRow("p2", "pending", 1.2, (*HISTORY, 1.2), "flow", "l/min", 81.26, 96.0, "12:03:20"),
    AssetRow(
        "p3", "anomalous", 6.41, (*HISTORY, 3.0), "temperature", "°C", 71.2, 64.04, "12:04:05"
    ),
    AssetRow("p4", "warming"),
    AssetRow("p5", "no-data"),
    AssetRow("p6", "normal", 0.0, HISTORY[:3]),
)
ALERTS = (
    "p3: temperature is 71.2 °C where 64.0 °C is expected; score 6.4, since 12:04:05.",
    "p2 is normal again after 2 minutes.",
)
SNAPSHOT = Snapshot(31.9, 60, "mosquitto 127.0.0.1:41233", 3720, 3534, ROWS, ALERTS)
FINDINGS = (
    Finding("spike", "p2", "vibration", True, ("vibration",), 3.0),
    Finding("broken correlation", "p5", "flow", True, ("speed", "flow"), 17.0),
    Finding("drift", "p3", "temperature", False),
)


def draw(
    what: RenderableType, width: int, height: int = 24, *, colour: bool = True
) -> tuple[list[str], str]:
    """The lines a terminal shows, and what was really written to it."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=width,
        height=height,
        force_terminal=True,
        color_system="standard",
        no_color=not colour,
        legacy_windows=False,
    )
    console.print(what)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return console.export_text().splitlines(), written


@pytest.mark.parametrize("width", [80, 120])
def test_every_pump_is_one_line_with_all_there_is_to_know(width: int) -> None:
    lines, _ = draw(Screen(SNAPSHOT), width)
    assert all(cell_len(line) <= width for line in lines)
    for row in ROWS:
        (line,) = [line for line in lines if line.strip().startswith(f"{row.asset} ")]
        assert row.state in line
    (anomalous,) = [line for line in lines if "anomalous" in line]
    for part in ("p3", "6.41", "temperature 71.2 vs 64.0 °C", "12:04:05", "█"):
        assert part in anomalous
    (pending,) = [line for line in lines if "pending" in line]
    assert "flow 81.3 vs 96.0 l/min" in pending
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [80, 120])
def test_the_header_says_broker_time_and_counts(width: int) -> None:
    lines, _ = draw(Screen(SNAPSHOT), width)
    header = "\n".join(lines[:3])
    for part in ("mosquitto 127.0.0.1:41233", "0:31", "1:00", "3,720 messages", "3,534 windows"):
        assert part in header


@pytest.mark.parametrize("width", [80, 120])
def test_the_line_of_1_0_stands_at_one_place_and_is_named(width: int) -> None:
    lines, _ = draw(Screen(SNAPSHOT), width)
    (title,) = [line for line in lines if "strongest" in line]
    column = title.index("1.0") + 1
    marks = [line[column] for line in lines if line.strip()[:2] in {row.asset for row in ROWS}]
    assert marks == ["┼", "╋", "╋", "┼", "┼", "┼"]


@pytest.mark.parametrize(
    ("score", "bar"),
    [
        (0.0, "─────┼────"),
        (0.4, "━━───┼────"),
        (0.99, "━━━━━┼────"),
        (1.0, "━━━━━┼────"),
        (1.01, "━━━━━╋────"),
        (1.5, "━━━━━╋━━──"),
        (2.0, "━━━━━╋━━━━"),
        (2.1, "━━━━━╋━━━▶"),
        (1e9, "━━━━━╋━━━▶"),
    ],
)
def test_the_bar_grows_with_the_score_and_says_when_it_is_off_the_scale(
    score: float, bar: str
) -> None:
    row = AssetRow("p1", "normal", score, (score,))
    lines, _ = draw(Screen(Snapshot(0, 60, "amqtt", 0, 0, (row,))), 80)
    assert any(bar in line for line in lines)


def test_a_normal_pump_keeps_quiet_about_its_sensors() -> None:
    lines, _ = draw(Screen(Snapshot(0, 60, "amqtt", 0, 0, ROWS[:1])), 80)
    assert any(line.split()[:3] == ["p1", "●", "normal"] for line in lines)
    assert not any(" vs " in line for line in lines if "expected" not in line)


def test_without_colour_states_are_told_apart_by_sign_and_word() -> None:
    lines, written = draw(Screen(SNAPSHOT), 80, colour=False)
    assert not any(f"\x1b[{code}m" in written for code in ("31", "32", "33", "1;31"))
    text = "\n".join(lines)
    for state in ("● normal", "▲ pending", "■ anomalous", "○ warming", "○ no-data"):
        assert state in text
    _, coloured = draw(Screen(SNAPSHOT), 80)
    assert "\x1b[1;31m" in coloured


def test_no_color_in_the_environment_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=80).print(Screen(SNAPSHOT))
    assert "\x1b[32m" not in out.getvalue()


def test_the_newest_alert_comes_first_and_old_ones_make_room_whole() -> None:
    alerts = tuple(f"alert {number}: " + "something is strange here " * 6 for number in range(9))
    lines, _ = draw(Screen(Snapshot(9, 60, "amqtt", 0, 0, ROWS, alerts)), 80)
    shown = [line for line in lines if "• alert" in line]
    assert [line.split(":")[0].split()[-1] for line in shown] == ["8", "7"]
    assert sum("strange" in line for line in lines) == 6


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (80, 19)])
def test_the_view_fits_the_screen_and_never_changes_its_height(width: int, height: int) -> None:
    heights = {
        len(draw(Screen(snapshot), width, height)[0])
        for snapshot in (
            Snapshot(0, 60, "amqtt", 0, 0, tuple(AssetRow(r.asset, "warming") for r in ROWS)),
            SNAPSHOT,
            Snapshot(60, 60, "amqtt", 9, 9, ROWS, ("a long one " * 20,) * 9),
        )
    }
    assert len(heights) == 1
    assert heights.pop() < height


def test_a_demo_past_its_time_or_without_any_is_still_drawn() -> None:
    for elapsed, total in ((70.0, 60.0), (0.0, 0.0)):
        lines, _ = draw(Screen(Snapshot(elapsed, total, "amqtt", 0, 0, ROWS)), 80)
        assert "━━━" in lines[2]


def test_on_a_terminal_the_view_is_redrawn_in_place() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, legacy_windows=False)
    with View(console) as view:
        view.show(Snapshot(0, 60, "amqtt", 0, 0, ROWS))
        view.show(SNAPSHOT)
    assert out.getvalue().count("\x1b[1A") > 10  # up again, over the first drawing
    assert "\x1b[?25h" in out.getvalue()  # and the cursor is back


@pytest.mark.parametrize("kind", ["no terminal", "dumb"])
def test_without_a_terminal_each_alert_is_printed_once_on_a_line_of_its_own(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=kind == "dumb")
    wordy = "p4: [bold]flow[/bold] is 60.1 l/min " + "and goes on falling " * 5 + "since 12:00:00"
    with View(console) as view:
        view.show(Snapshot(0, 60, "amqtt", 0, 0, ROWS))
        view.show(SNAPSHOT)
        view.show(SNAPSHOT)
        view.show(Snapshot(40, 60, "amqtt", 9, 9, ROWS, (*ALERTS, wordy)))
    assert out.getvalue().splitlines() == [*ALERTS, wordy]


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_says_what_was_found_and_what_to_do_next(width: int) -> None:
    lines, _ = draw(summary(FINDINGS, 0), width)
    rows = [line.split() for line in lines]
    assert ["spike", "p2", "vibration", "✔", "yes", "vibration", "3", "s"] in rows
    assert ["broken", "correlation", "p5", "flow", "✔", "yes", "speed,", "flow", "17", "s"] in rows
    assert ["drift", "p3", "temperature", "✘", "missed"] in rows
    text = " ".join(" ".join(lines).split())
    assert "2 of 3 faults found, 0 false alerts." in text
    assert "Next: train on a recording of your own machine with sensor-trainer fit" in text
    assert "sensor-monitor run --config monitor.toml." in text
    assert all(cell_len(line) <= width for line in lines)


def test_one_false_alert_is_singular() -> None:
    lines, _ = draw(summary(FINDINGS[:2], 1), 80)
    assert any("2 of 2 faults found, 1 false alert." in line for line in lines)
