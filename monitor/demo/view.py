"""The demo in a terminal: one row a pump, the last alerts below, and what was found at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_STATES = {  # a sign, a word and a colour, so that none of them has to be told apart alone
    "normal": ("●", "green"),
    "pending": ("▲", "yellow"),
    "anomalous": ("■", "bold red"),
}
_OTHER_STATE = ("○", "dim")
_SPARKS = "▁▂▃▄▅▆▇█"
_TOP = 2.0  # the score at which bar and sparkline are full; 1.0, the line, is in the middle
_WIDE = 110  # columns from which there is room for long bars
_ALERT_LINES = 8
_OTHER_LINES = 9  # of the view, beside pumps and alerts, the prompt's own included


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One pump as the view shows it; history is its recent scores, newest last."""

    asset: str
    state: str
    score: float | None = None
    history: tuple[float, ...] = ()
    sensor: str = ""
    unit: str = ""
    actual: float | None = None
    expected: float | None = None
    since: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the view shows at one moment; elapsed and total are seconds of the wall clock.

    alerts holds every sentence so far, oldest first: the view shows the last ones that fit.
    """

    elapsed: float
    total: float
    broker: str
    messages: int
    windows: int
    assets: tuple[AssetRow, ...]
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one injected fault; named are the sensors its alerts called strongest."""

    kind: str
    asset: str
    sensor: str
    found: bool
    named: tuple[str, ...] = ()
    delay: float | None = None


class View:
    """A live view on a terminal; elsewhere, one line an alert."""

    def __init__(self, console: Console) -> None:
        self._console = console
        live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False) if live else None
        self._said = 0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot; without a terminal, print the alerts that are new in it."""
        if self._live:
            self._live.update(Screen(snapshot), refresh=True)
            return
        for sentence in snapshot.alerts[self._said :]:
            self._console.print(Text(sentence), soft_wrap=True)
        self._said = len(snapshot.alerts)


@dataclass(frozen=True, slots=True)
class Screen:
    """A snapshot as rich draws it, for whatever width there is."""

    snapshot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay header, pumps and alerts out, always over the same number of lines."""
        width = options.max_width - 2
        room = console.height - _OTHER_LINES - len(self.snapshot.assets)
        lines = max(2, min(_ALERT_LINES, room))
        yield Padding(
            Group(
                _header(self.snapshot, width),
                Text(),
                _pumps(self.snapshot.assets, wide=options.max_width >= _WIDE),
                Text(),
                Text("alerts", style="dim"),
                _alerts(self.snapshot.alerts, console, width, lines),
            ),
            (1, 1, 0, 1),
        )


def _header(snapshot: Snapshot, width: int) -> RenderableType:
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True)
    title.add_column(justify="right", no_wrap=True)
    title.add_row(Text("Sensor Monitor demo", style="bold"), Text(snapshot.broker, style="dim"))

    counts = f"{snapshot.messages:,} messages   {snapshot.windows:,} windows scored"
    clocks = _clock(snapshot.elapsed), _clock(snapshot.total)
    length = max(4, width - len(counts) - sum(map(len, clocks)) - 5)
    share = min(1.0, snapshot.elapsed / snapshot.total) if snapshot.total > 0 else 1.0
    done = round(share * length)
    progress = Text(no_wrap=True, overflow="ellipsis")
    progress.append(f"{clocks[0]} ")
    progress.append("━" * done, style="cyan")
    progress.append("─" * (length - done), style="dim")
    progress.append(f" {clocks[1]}   {counts}", style="dim")
    return Group(title, progress)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def _pumps(assets: Sequence[AssetRow], *, wide: bool) -> Table:
    bar, sparks = (20, 20) if wide else (10, 6)
    table = Table(
        box=None,
        expand=True,
        pad_edge=False,
        padding=(0, 2 if wide else 1, 0, 0),
        header_style="dim",
    )
    table.add_column("pump", no_wrap=True, min_width=4)
    table.add_column("state", no_wrap=True, min_width=11)
    table.add_column(" " * (bar // 2 - 1) + "1.0", no_wrap=True, min_width=bar)
    table.add_column("score", no_wrap=True, justify="right", min_width=5)
    table.add_column("recent", no_wrap=True, min_width=sparks)
    table.add_column("strongest: now vs expected", no_wrap=True, ratio=1)
    table.add_column("since", no_wrap=True, min_width=8)
    for row in assets:
        sign, style = _STATES.get(row.state, _OTHER_STATE)
        table.add_row(
            row.asset,
            Text(f"{sign} {row.state}", style=style),
            _bar(row.score, bar, style),
            "" if row.score is None else f"{row.score:.{2 if row.score < 100 else 0}f}",
            _sparkline(row.history[-sparks:], sparks),
            _strongest(row),
            row.since,
        )
    return table


def _bar(score: float | None, width: int, style: str) -> Text:
    shown = score or 0.0
    reach = shown / _TOP * width
    text = Text()
    for cell in range(width):
        if cell == width // 2:
            text.append(*("╋", style) if shown > 1.0 else ("┼", ""))
        elif cell == width - 1 and shown > _TOP:
            text.append("▶", style)
        elif reach >= cell + 0.5:
            text.append("━", style)
        else:
            text.append("─", "dim")
    return text


def _sparkline(scores: Sequence[float], width: int) -> Text:
    text = Text(" " * (width - len(scores)))
    for score in scores:
        level = min(len(_SPARKS) - 1, int(score / _TOP * len(_SPARKS)))
        text.append(_SPARKS[max(0, level)], style="red" if score > 1.0 else "dim")
    return text


def _strongest(row: AssetRow) -> Text:
    if not row.sensor or row.actual is None or row.expected is None:
        return Text()
    size = max(abs(row.actual), abs(row.expected))
    decimals = 0 if size >= 1000 else 1 if size >= 10 else 2
    text = Text(f"{row.sensor} ")
    text.append(f"{row.actual:.{decimals}f}", style="bold")
    text.append(f" vs {row.expected:.{decimals}f} {row.unit}")
    return text


def _alerts(sentences: Sequence[str], console: Console, width: int, lines: int) -> RenderableType:
    """The newest alerts first, as many as fit whole, over exactly so many lines."""
    drawn: list[Text] = []
    for age, sentence in enumerate(reversed(sentences)):
        style = "dim" if age else ""
        wrapped = Text(sentence, style=style).wrap(console, width - 2)
        if drawn and len(drawn) + len(wrapped) > lines:
            break
        for number, line in enumerate(wrapped):
            drawn.append(Text.assemble(("  " if number else "• ", style), line))
    if not drawn:
        drawn.append(Text("  none yet", style="dim"))
    return Group(*drawn[:lines], *[Text()] * (lines - len(drawn)))


def summary(findings: Sequence[Finding], false_alerts: int) -> RenderableType:
    """What the demo's faults came to, and what to do next."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="dim",
        border_style="dim",
    )
    for title in ("injected fault", "pump", "sensor", "found", "named"):
        table.add_column(title)
    table.add_column("delay", justify="right")
    for finding in findings:
        table.add_row(
            finding.kind,
            finding.asset,
            finding.sensor,
            Text("✔ yes", style="green") if finding.found else Text("✘ missed", style="bold red"),
            ", ".join(finding.named),
            "" if finding.delay is None else f"{finding.delay:.0f} s",
        )
    found = sum(finding.found for finding in findings)
    alerts = "1 false alert" if false_alerts == 1 else f"{false_alerts} false alerts"
    verdict = Text(f"{found} of {len(findings)} faults found, {alerts}.", style="bold")
    advice = Text.assemble(
        "Next: train on a recording of your own machine with ",
        ("sensor-trainer fit recording.csv --out bundles/mine", "cyan"),
        ", then watch it with ",
        ("sensor-monitor run --config monitor.toml", "cyan"),
        ".",
    )
    return Padding(Group(table, Text(), verdict, advice), (1, 1, 1, 1))
