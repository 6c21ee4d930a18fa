"""The page of a judgement, read as a browser would."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from models import bundle
from models.caveats import warnings
from models.evaluation import DEFINITIONS
from models.frame import SECOND, Codes, Floats
from models.judgement import Average, Judgement, judge
from models.page.evaluation import LETTERS, page, short_names
from models.page.findings import findings, reconstruction, strangest_windows
from models.page.tables import MOST_ROWS, finding_tables
from models.page.verdict import tiles, verdict
from models.recording import Recording
from models.report import number
from models.selection import Selection
from tests.models.plant import START, fitted, recording, request, values, written

VOID = {"meta", "path", "rect", "use"}


class Reader(HTMLParser):
    """Checks that what is opened is closed, and keeps text and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def machine(
    seed: int, *faults: tuple[int, int], labels: Sequence[tuple[int, int]] | None = None
) -> Recording:
    """A recording with faults in the flow; labelled where they are, unless told otherwise."""
    numbers = values(160, seed=seed)
    label: Codes = np.zeros(160, np.uint8)
    for start, end in faults:
        numbers[start:end, 1] -= 8
    for start, end in faults if labels is None else labels:
        label[start:end] = 1
    return replace(recording(numbers, label=label), path=Path(f"plants/m{seed}.csv.gz"))


# An event found, one missed and a false alarm.
MIXED = machine(1, (60, 80), (120, 140), labels=((60, 80), (100, 103)))


def judged(folder: Path, *recordings: Recording) -> Judgement:
    detector = bundle.load(folder)
    return judge(detector, detector, recordings, [], lambda done, most: None)


def written_page(folder: Path, *recordings: Recording) -> str:
    return page(judged(folder, *recordings), bundle.verify(folder)[0])


@pytest.fixture(scope="module")
def html(pristine: Path) -> str:
    return written_page(pristine, MIXED)


def test_a_page_is_one_file_that_asks_for_nothing_and_runs_nothing(html: str) -> None:
    read = Reader(html)
    assert not {"script", "link", "img", "iframe", "object"} & {*read.tags}
    assert re.findall(r"https?://|@import|url\((?!#)", html) == []
    assert "default-src 'none'" in html
    assert 'content="sensor-trainer ' in html[:1000]
    assert len(read.ids) == len({*read.ids})
    assert "{{" not in html


def test_every_figure_on_the_page_is_that_of_the_judgement(pristine: Path) -> None:
    found = judged(pristine, MIXED, machine(2, (60, 80)), machine(3))

    html = page(found, bundle.verify(pristine)[0])

    rows = dict(re.findall(r"<tr><td><code>(\w+)</code></td>(.*)</tr>", html))
    assert rows.keys() == found.own.pooled.keys()
    for key, cells in rows.items():
        told = re.findall(r">([^<]*)</td>", cells)
        assert told[0] == number(found.own.pooled[key])
        assert found.always_alarm is not None
        assert told[1] == number(found.always_alarm.pooled[key])
        assert told[2].startswith(number(found.own.average.mean[key]))
    for key in found.own.pooled:
        assert f"<dt>{key}</dt>" in html
        assert DEFINITIONS[key] in unescape(html)


def test_the_same_judgement_makes_the_same_page(pristine: Path, html: str) -> None:
    assert written_page(pristine, MIXED) == html


def test_events_and_false_alarms_are_listed_with_what_became_of_them(pristine: Path) -> None:
    found = judged(pristine, MIXED)
    events, false = finding_tables(found, findings(found), ["m1"])

    assert (events.title, false.title) == ("Events", "False alarms")
    assert [(row.kind, row.says) for row in events.rows] == [
        ("found", "after 2\N{NO-BREAK SPACE}s"),
        ("missed", "missed"),
    ]
    assert [row.kind for row in false.rows] == ["false"]
    assert false.rows[0].start == "2026-09-21 14:15:22"
    assert events.rows[0].start == "2026-09-21 14:14:20"
    assert [row.length for row in events.rows] == ["20\N{NO-BREAK SPACE}s", "3\N{NO-BREAK SPACE}s"]
    assert events.rows[0].sensors.startswith("flow ")


def test_a_finding_knows_its_peak_its_opening_and_its_sensors(pristine: Path) -> None:
    found = judged(pristine, MIXED)
    one = findings(found)[0]
    raw, score = found.tracks[0].raw, found.frames[0].score

    assert (one.start, one.end) == (START + 60 * SECOND, START + 80 * SECOND)
    assert one.peak == score[60:80].max()
    assert one.at == 60 + raw[60:80].argmax()
    assert one.opened == 62
    assert one.strongest[0] == 1
    # Of the frames in alert, not of the two before it opened.
    weighted = found.tracks[0].shares[62:80] * raw[62:80, None]
    assert one.shares == pytest.approx(weighted.sum(axis=0) / raw[62:80].sum())


def test_the_strangest_windows_are_the_peaks_then_the_openings_no_file_taking_all(
    pristine: Path,
) -> None:
    loud = machine(4, (30, 45), (60, 75), (90, 105), (120, 135))
    found = judged(pristine, loud, MIXED)
    stood_out = findings(found)

    windows = strangest_windows(found, stood_out, 4)

    assert [one.file for one in windows] == [0, 0, 1, 1]
    assert {one.end for one in windows} <= {one.at for one in stood_out}
    alone = strangest_windows(judged(pristine, machine(2, (60, 80))), findings(found)[:1], 6)
    assert [one.why for one in alone] == [
        "as the alert opened",
        "the peak of an event that is found",
    ]


def test_without_a_finding_the_highest_score_of_each_file_is_shown(pristine: Path) -> None:
    found = judged(pristine, machine(1), machine(3))

    windows = strangest_windows(found, findings(found), 6)

    assert [one.end for one in windows] == [int(np.nanargmax(t.raw)) for t in found.tracks]


def test_a_window_is_shown_in_the_units_of_its_sensors(pristine: Path) -> None:
    found = judged(pristine, machine(1))

    actual, expected = reconstruction(found.detector, found.tracks[0], 100)

    np.testing.assert_array_equal(actual, values(160, seed=1)[93:101])
    assert abs(actual - expected).max(axis=0) == pytest.approx([0, 0, 0], abs=1)


def test_names_are_shown_as_they_are_and_never_as_markup(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", 'a"b&c', "$x^2$")
    normal = recording(values(400), names=names)
    folder = written(tmp_path / "<b>p", fitted([normal], request("pca", window=8)))
    bad = replace(MIXED, sensors=names, path=Path("<i>m.csv"))

    html = written_page(folder, bad)

    assert "script" not in Reader(html).tags
    assert "<i>m" not in html
    assert 'a"b&c' in Reader(html).text
    assert "<i>m" in Reader(html).text


def test_a_page_has_a_bound_however_much_was_judged(
    pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.page.evaluation.MOST_PICTURES", 2)
    monkeypatch.setattr("models.page.evaluation.MOST_FILES", 3)
    many = [machine(seed, (30, 45), (90, 105)) for seed in range(1, 5)]

    html = written_page(pristine, *many)

    assert html.count('<figure id="file-') == 2
    assert html.count('class="strip"') == 3
    text = Reader(html).text
    assert "2 of 4 files are drawn" in text
    assert "And 1 more." in text
    assert html.count('<span class="mark">') == len(LETTERS) + 1  # and in the legend
    found = judged(pristine, MIXED)
    table = finding_tables(found, findings(found) * MOST_ROWS, ["m1"])[0]
    assert (len(table.rows), table.left_out) == (MOST_ROWS, MOST_ROWS)


def test_without_labels_there_are_alerts_and_nothing_is_called_false(pristine: Path) -> None:
    html = written_page(pristine, replace(MIXED, label=None))

    text = Reader(html).text
    assert "Without labels nobody can say which of them are right." in text
    assert "False alarms" not in text
    assert "labelled event" not in text
    assert text.count("Alerts") == 1


def test_files_with_and_without_labels_stand_on_one_page(pristine: Path) -> None:
    text = Reader(written_page(pristine, MIXED, replace(machine(2, (60, 80)), label=None))).text

    assert "1 of 2 files have no labels" in text
    assert "Alerts in files without labels" in text


@pytest.mark.parametrize("rows", [1, 7, 8])
def test_the_shortest_recordings_have_a_page_too(pristine: Path, rows: int) -> None:
    label = np.zeros(rows, np.uint8)
    text = Reader(written_page(pristine, recording(values(rows), label=label))).text

    assert ("Not a single frame could be scored" in text) == (rows < 8)


def test_an_asset_without_a_reading_has_a_row_and_no_picture(pristine: Path) -> None:
    numbers = values(160, seed=1)
    numbers[80:] = np.nan
    two = replace(recording(numbers), assets=("p1", "p2"), asset=np.repeat([0, 1], 80))

    html = written_page(pristine, two)

    assert html.count('<figure id="file-') == 1
    assert html.count('class="strip"') == 2


@pytest.mark.parametrize("sensors", [1, 40])
def test_one_sensor_and_many_fit_a_page(tmp_path: Path, sensors: int) -> None:
    def numbers(rows: int, seed: int) -> Floats:
        return np.tile(values(rows, seed), 14)[:, :sensors] + np.random.default_rng(seed).normal(
            size=(rows, sensors)
        )

    names = [f"sensor {index}" for index in range(sensors)]
    folder = written(
        tmp_path / "b", fitted([recording(numbers(300, 0), names=names)], request("pca", window=8))
    )

    html = written_page(folder, recording(numbers(100, 1), names=names))

    assert html.count("<h2>") >= 4
    assert len(html) < 200_000


def test_short_names_leave_out_what_all_share() -> None:
    assert short_names(["a/b/x.csv"]) == ["x"]
    assert short_names(["a/b/x.csv.gz", "a/c/x.csv"]) == ["b/x", "c/x"]
    assert short_names(["/d/x.csv:p1", "/d/x.csv:p2"]) == ["x:p1", "x:p2"]
    assert short_names(["d/x.csv", "d/x.csv.gz"]) == ["x.csv", "x.csv.gz"]


def test_the_verdict_says_what_the_figures_say(pristine: Path) -> None:
    def says(*recordings: Recording) -> str:
        return " ".join(verdict(judged(pristine, *recordings))).replace("\N{NO-BREAK SPACE}", " ")

    assert says(MIXED).startswith("Finds 1 of 2 events, within 2 s. Raises 1 false alarm: ")
    assert says(machine(1, (60, 80)), machine(3, (60, 80))).startswith(
        "Finds 2 of 2 events, half of them within 2 s. Raises no false alarm."
    )
    quiet, brief = machine(59, labels=((60, 80),)), machine(5, labels=((60, 80),))
    assert says(quiet).startswith("Never alerts: the highest score is 0.")
    assert says(brief).startswith(
        "Never alerts: no score stays over the threshold for long enough."
    )
    assert "1 event missed." in says(quiet)
    assert says(machine(1, (60, 80), labels=())).startswith(
        "There is no labelled event in these recordings. Raises 1 false alarm"
    )
    everywhere = machine(1, (60, 80), labels=((0, 160),))
    assert "no better than that of always being in alert" in says(everywhere)


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ((0.01, 0.05), "It ranks frames better than the pca baseline does: VUS-PR"),
        ((-0.05, -0.01), "The pca baseline ranks frames better: VUS-PR"),
        ((-0.03, 0.11), "No clear difference from the pca baseline: VUS-PR"),
        (None, "of the pca baseline, on too few files to tell chance from skill."),
    ],
)
def test_the_baseline_is_beaten_only_where_the_interval_says_so(
    pristine: Path, interval: tuple[float, float] | None, sentence: str
) -> None:
    found = judged(pristine, MIXED)
    pca = replace(found.own, pooled={**found.own.pooled, "vus_pr": 0.4})
    gain = Average({"vus_pr": 0.1}, {"vus_pr": interval}, {"vus_pr": 9})

    said = " ".join(verdict(replace(found, pca=pca, gain=gain)))

    assert sentence in said
    assert "pca baseline" not in " ".join(verdict(found))


def test_tiles_are_the_pooled_figures_beside_those_of_the_baseline(pristine: Path) -> None:
    found = judged(pristine, MIXED)
    pca = replace(found.own, pooled={**found.own.pooled, "event_recall": 1.0})

    events, delay, *_ = tiles(replace(found, pca=pca))

    assert (events.value, events.name, events.detail) == ("1 of 2", "events found", "pca 2 of 2")
    assert delay.value == "2\N{NO-BREAK SPACE}s"


def test_what_makes_figures_worth_less_is_said(pristine: Path) -> None:
    detector = bundle.load(pristine)
    fleet = replace(detector, calibration=replace(detector.calibration, assets=("p1",)))
    gappy = replace(MIXED, time=MIXED.time + np.arange(160) // 40 * 60 * SECOND)

    found = judge(fleet, None, [gappy], [("0" * 64, Selection((0, 30)))], lambda done, most: None)
    said = " ".join(warnings(found, ["m1"]))

    assert "30 rows of these recordings were trained or calibrated on" in said
    assert "of the frames could not be scored" in said
    assert "1 asset without a calibration of its own" in said
    assert "no pca baseline" in said
    assert warnings(judged(pristine, MIXED), ["m1"]) == []
