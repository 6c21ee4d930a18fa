import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import numpy as tensors

from models import bundle
from models.bundle import BundleError
from models.detector import Detector
from models.frame import SECOND, Floats
from models.runtime import OnnxRuntime, TorchRuntime
from monitor.board import State
from monitor.config import AlertsConfig, Config, SensorConfig
from monitor.errors import ConfigError, PartMissing
from monitor.reading import Message, MessageOutcome
from monitor.stream import Stream, open_streams
from tests.models.plant import fitted, recording, request, values, written
from tests.monitor.machines import TODAY, detector, message, outcomes, stream


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that bundles were loaded from, each bundle being a detector named like its folder."""
    folders: list[Path] = []

    def load(folder: Path, kind: str) -> Detector:
        assert kind == "onnx"
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such bundle")
        folders.append(folder)
        return detector(["x", "y"], digest=folder.name, units=["A", None])

    monkeypatch.setattr(bundle, "load", load)
    return folders


@pytest.fixture(scope="module")
def pump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle."""
    done = fitted([recording(values(400))], request("lstm", epochs=1, window=8))
    return written(tmp_path_factory.mktemp("bundles") / "pump", done)


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / bundle.MANIFEST).touch()
    return folder


def open_one(model: Path, **config: object) -> Stream:
    wanted = {"name": "pumps", "topic": "plant/{line}/{asset}/telemetry", "time": "t"}
    return open_streams(Config.model_validate({"stream": [wanted | {"model": model} | config]}))[0]


def test_a_bundle_reads_its_sensors_under_their_own_names(
    tmp_path: Path, loaded: list[Path]
) -> None:
    of = open_one(make(tmp_path / "pumps"))
    assert of.detectors.keys() == {None}
    assert of.sensors.names == ("x", "y")
    assert outcomes(of, [message(0, {"x": 1, "y": 2})]) == ["accepted"]
    assert of.pipeline.board.value[0].tolist() == [1.0, 2.0]


def test_with_runtime_torch_a_stream_scores_as_with_onnx(pump: Path) -> None:
    in_onnx, in_torch = open_one(pump), open_one(pump, runtime="torch")
    windows = tensors.load_file(pump / bundle.GOLDEN)["windows"]

    kinds: list[type] = []
    raw: list[Floats] = []
    for of in (in_onnx, in_torch):
        one = of.detectors[None]
        kinds.append(type(one.runtime))
        raw.append(one.score_windows(one.scale(windows)).raw)

    assert kinds == [OnnxRuntime, TorchRuntime]
    np.testing.assert_allclose(raw[1], raw[0], rtol=1e-4)


def test_one_bundle_may_run_in_both(pump: Path) -> None:
    both = [
        {"name": name, "model": pump, "topic": f"{name}/{{asset}}", "runtime": name}
        for name in ("onnx", "torch", "onnx")
    ]
    both[2]["name"] = "again"

    one, other, again = open_streams(Config.model_validate({"stream": both}))

    assert isinstance(one.detectors[None].runtime, OnnxRuntime)
    assert isinstance(other.detectors[None].runtime, TorchRuntime)
    assert again.detectors[None].runtime is one.detectors[None].runtime


def test_without_torch_a_stream_that_wants_it_says_what_to_install(
    pump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(PartMissing, match=r'stream "pumps" \. runtime.*sensor-monitor\[train\]'):
        open_one(pump, runtime="torch")
    assert PartMissing.exit_code == 69
    assert open_one(pump).detectors.keys() == {None}


def test_names_that_look_like_paths_are_names() -> None:
    of = stream(detector(["a.b", "[2]", "c=d e"]))
    of.take([message(0, {"a.b": 1, "[2]": 2, "c=d e": 3})], TODAY)
    assert of.pipeline.board.value[0].tolist() == [1.0, 2.0, 3.0]


def test_sensors_are_mapped_in_the_order_of_the_bundle(tmp_path: Path, loaded: list[Path]) -> None:
    sensors = {"z": "z", "y": {"path": "E.y", "scale": 0.5, "offset": 1}, "x": "E.x"}
    of = open_one(make(tmp_path / "pumps"), sensors=sensors)
    assert of.sensors.names == ("x", "y")
    of.take([message(0, {"E": {"x": 1, "y": 2}})], TODAY)
    assert of.pipeline.board.value[0].tolist() == [1.0, 2.0]


def test_sensors_of_the_bundle_that_the_stream_does_not_map_are_named(
    tmp_path: Path, loaded: list[Path]
) -> None:
    with pytest.raises(
        ConfigError, match=r'stream "pumps" \. sensors: does not map y, .*found z, x'
    ):
        open_one(make(tmp_path / "pumps"), sensors={"z": "z", "x": "x"})
    with pytest.raises(ConfigError, match=r"does not map x, y, which its bundle was trained on"):
        open_one(tmp_path / "pumps", sensors={"X": "x"})


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"sensors": {"x": "a..b", "y": "y"}}, r"'a\.\.b': wanted a key"),
        ({"sensors": {"x": "x", "y": {"path": "v[2"}}}, r"'v\[2': wanted"),
        ({"time": "t["}, r"'t\[': wanted"),
    ],
)
def test_a_path_that_is_none_is_an_error_of_the_configuration(
    tmp_path: Path, loaded: list[Path], config: dict[str, object], place: str
) -> None:
    with pytest.raises(ConfigError, match=rf'^stream "pumps": the path {place}'):
        open_one(make(tmp_path / "pumps"), **config)


def test_units_of_the_configuration_come_before_those_of_the_bundle(
    tmp_path: Path, loaded: list[Path]
) -> None:
    folder = make(tmp_path / "pumps")
    assert open_one(folder).detectors[None].units == ("A", None)
    sensors = {"x": {"unit": "mA"}, "y": {"unit": "bar"}}
    assert open_one(folder, sensors=sensors).detectors[None].units == ("mA", "bar")
    assert open_one(folder, sensors={"x": "x", "y": "y"}).detectors[None].units == ("A", None)


def test_a_missing_bundle_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such bundle"):
        open_one(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r'^stream "pumps": no bundle matches .*nowhere/\{asset\}$'
    ):
        open_one(tmp_path / "nowhere" / "{asset}")


def test_a_folder_that_is_no_bundle_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"pumps/golden\.safetensors: is missing"):
        open_one(make(tmp_path / "pumps"))


def test_each_asset_has_the_bundle_of_its_folder(tmp_path: Path, loaded: list[Path]) -> None:
    for name in ("p1", "Pumpe 7", "p.2"):
        make(tmp_path / name)
    of = open_one(tmp_path / "{asset}")
    assert {name: one.digest for name, one in of.detectors.items()} == {
        name: name for name in ("p1", "Pumpe 7", "p.2")
    }
    assert outcomes(of, [message(0, {"x": 1}, name) for name in ("p1", "other")]) == [
        *["accepted"] * 2
    ]
    states = [State(one) for one in of.pipeline.board.state[:2]]
    assert states == [State.WARMING, State.UNCALIBRATED]


def test_what_is_no_finished_bundle_is_no_assets(tmp_path: Path, loaded: list[Path]) -> None:
    make(tmp_path / "p1")
    make(tmp_path / "p1.previous")
    make(tmp_path / ".p1.4711.tmp")
    make(tmp_path / ".p1.4711.tmp.aside")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").touch()
    assert open_one(tmp_path / "{asset}").detectors.keys() == {"p1"}
    assert loaded == [tmp_path / "p1"]


def test_the_asset_may_be_any_part_of_the_bundles_path(tmp_path: Path, loaded: list[Path]) -> None:
    for name in ("pump-p1-v2", "pump-p2-v2", "pump-p3-v1", "pump--v2", "p4-v2"):
        make(tmp_path / "a" / name / "current")
        make(tmp_path / "a" / name / "current.previous")
    of = open_one(tmp_path / "a" / "pump-{asset}-v2" / "current")
    assert of.detectors.keys() == {"p1", "p2"}
    assert loaded == [tmp_path / "a" / f"pump-{name}-v2" / "current" for name in ("p1", "p2")]


def test_a_bundle_may_be_linked_for_several_assets(tmp_path: Path, loaded: list[Path]) -> None:
    make(tmp_path / "bundles" / "p1")
    (tmp_path / "bundles" / "p2").symlink_to("p1")
    assert open_one(tmp_path / "bundles" / "{asset}").detectors.keys() == {"p1", "p2"}


def test_bundles_of_one_stream_have_the_same_sensors() -> None:
    with pytest.raises(ConfigError, match=r"the bundle of p2 has the sensors x, z; wanted .* x, y"):
        stream(by_asset={"p1": detector(["x", "y"]), "p2": detector(["x", "z"])})


def test_a_folder_that_two_streams_name_is_loaded_once(tmp_path: Path, loaded: list[Path]) -> None:
    folder = make(tmp_path / "pumps")
    config = Config.model_validate(
        {
            "stream": [
                {"name": name, "topic": f"{name}/{{asset}}", "model": folder} for name in ("a", "b")
            ]
        }
    )
    one, other = open_streams(config)
    assert loaded == [folder]
    assert one.assets is not other.assets


def test_a_stream_without_a_model_reads_the_sensors_it_names() -> None:
    of = stream(sensors={"x": SensorConfig(path="x")})
    assert outcomes(of, [message(0, 1.0), message(0, 1.0), message(1, {"y": 1})]) == [
        *("accepted", "accepted", "no-sensor")
    ]
    assert of.books.scored == 0


def test_a_stream_needs_a_model_or_sensors() -> None:
    with pytest.raises(ConfigError, match=r"has neither a model nor \[stream\.sensors\]"):
        stream()


def test_a_lateness_that_would_take_all_memory_is_refused() -> None:
    minutely = detector(period=60 * SECOND)
    assert stream(minutely, lateness=600_000.0).pipeline.groups[0].framer.lateness
    with pytest.raises(ConfigError, match=r"lateness: is 600001 s; wanted at most 600000 s, 10000"):
        stream(minutely, lateness=600_001.0)


def test_durations_of_the_configuration_are_the_rules_of_alerts() -> None:
    alerts = AlertsConfig(hold=1.0, renotify=2.0, expire=3.0)
    told: list[str] = []
    of = stream(detector(), alerts=alerts, lateness=0.0)
    for second, value in enumerate((0, 0, 2, 2, 2, 2, 2, *[1e6] * 6)):
        one = message(second, value)
        told += [f"{alert.step} {second - 1}" for alert in of.take([one], one.arrival)]
    # From second 7 on there is no score: told all the same, until the last score is 3 s old.
    assert told == ["opened 3", "updated 5", "updated 7", "updated 9", "resolved 10"]


def test_the_books_account_for_every_message_reading_and_window() -> None:
    of = stream(detector(["x", "y"]), lateness=0.0, max_assets=2)
    for second in range(6):
        value = 9 if second > 2 else 0
        sent = [
            message(second, {"x": value, "y": None}),
            message(second, {"x": value, "y": True}),
            message(second, {"x": value, "y": value}, "p2"),
            message(second, {"x": value}, "p3"),
            message(second - 3, {"x": value, "y": 1}, "p2"),
        ]
        of.take(sent, TODAY + second)
    books = of.books
    assert books.received == books.outcomes.sum() == 30
    counted = {one.label: int(books.outcomes[one]) for one in MessageOutcome if books.outcomes[one]}
    assert counted == {"accepted": 12, "duplicate": 6, "asset-limit": 6, "late": 6}
    assert dict(books.rejected) == {
        (1, "missing"): 6,
        (1, "not-a-number"): 6,
        (0, "duplicate"): 6,
        (0, "late"): 6,
        (1, "late"): 6,
    }
    # y of p1 is never read; p2 warms up for one frame, and its newest has not closed.
    assert books.scored == 4
    assert +books.skipped == {"warming": 2, "gap": 4}
    assert dict(books.alerts) == {("p2", "anomaly", "critical"): 1}


def test_the_bundle_that_is_shipped_opens(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "monitor" / "demo" / "bundle"
    shutil.copytree(shipped, tmp_path / "pumps")
    of = open_one(tmp_path / "pumps")
    assert of.sensors.names == of.detectors[None].sensors


def test_a_sensor_without_a_path_is_the_topic_level_of_its_own_name() -> None:
    config = {"x": SensorConfig(unit="C"), "y": SensorConfig(path="temp1")}
    one = stream(
        detector(["x", "y"]),
        sensors=config,
        topic="plant/{asset}/{sensor}",
        payload="number",
        time=None,
    )
    sent = [
        Message(f"plant/p1/{sensor}", b"1.5", TODAY + n, retained=False)
        for n, sensor in enumerate(["x", "temp1", "y"])
    ]
    assert outcomes(one, sent) == ["accepted", "accepted", "no-sensor"]
