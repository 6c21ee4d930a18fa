"""Recordings of real machines, read where they lie beside the project."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.frame import SECOND, Coverage, Grid
from models.plan import plan
from models.recording import read, tracks_of, usual_period
from tests.models.plant import fitted, request, written

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings in {DATA}")

SETS = ["asd", "cmapss", "ims_bearing", "keogh", "nab", "skab", "smap_msl", "smd", "tep"]


def entries(name: str) -> list[dict[str, Any]]:
    return json.loads((DATA / name / "manifest.json").read_text())["files"]


@pytest.mark.parametrize("name", [*SETS, "ucr_anomaly"])
def test_a_real_recording_is_read_as_its_manifest_says(name: str) -> None:
    entry = min(entries(name), key=lambda one: one["rows"])

    found = read(DATA / name / entry["file"])

    columns = [one for one in entry["columns"] if one not in ("timestamp", "label", "changepoint")]
    assert found.sensors == tuple(one for one in columns if one != "asset")
    assert (len(found.time), found.sha256) == (entry["rows"], entry["sha256"])
    assert np.isnan(found.values).sum() == entry.get("nan_values", 0)
    if found.label is not None and "anomalous_rows" in entry:
        assert found.label.sum() == entry["anomalous_rows"]
    if entry.get("period_s"):
        assert usual_period([found]) == round(entry["period_s"] * SECOND)


def test_with_holds_a_1_hz_recording_keeps_its_windows_and_without_it_has_none() -> None:
    recording = read(DATA / "skab" / "anomaly_free.csv.gz", rows=(0, 3000))

    def kept(max_hold: int) -> float:
        (track,) = tracks_of([recording], Grid(SECOND, 64, max_hold))
        return float((track.frames.coverage == Coverage.COMPLETE).mean())

    assert kept(0) < 0.01
    assert kept(3) > 0.9


def test_a_fault_of_a_real_pump_is_found_after_400_normal_rows(tmp_path: Path) -> None:
    from models import bundle
    from models.evaluation import evaluate, judged, score_recordings

    entry = next(one for one in entries("skab") if one["file"].startswith("valve1"))
    path = DATA / "skab" / entry["file"]
    normal = read(path, rows=tuple(entry["train_rows"]))
    assert plan([normal], request("pca")).kept_ratio > 0.95

    detector = bundle.load(written(tmp_path / "pump", fitted([normal], request("pca"))))
    (scores,) = score_recordings(detector, [read(path)])

    figures = evaluate([judged(scores)], detector.grid)
    assert figures["event_recall"] == 1
    assert (figures["auc_roc"] or 0) > 0.8
