import contextlib
import hashlib
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors import numpy as tensors

from models import bundle
from models.bundle import GOLDEN, MANIFEST, NETWORK, WEIGHTS, BundleError, load, verify, write
from models.manifest import Manifest
from models.runtime import OnnxRuntime
from tests.models.plant import fitted, recording, request, values, written

FILES = (MANIFEST, WEIGHTS, NETWORK, GOLDEN)
WINDOW, SENSORS = 8, 3


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "plant"))


Content = Any  # of a bundle.json
Arrays = Mapping[str, np.ndarray]


def unchanged(content: Content) -> None:
    """No change."""


def seal(folder: Path, change: Callable[[Content], object] = unchanged) -> None:
    """Change the manifest as someone would who also mends every hash."""
    content = json.loads((folder / MANIFEST).read_text())
    for name in (WEIGHTS, NETWORK, GOLDEN):
        data = (folder / name).read_bytes()
        content["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    change(content)
    content["digest"] = ""
    text = json.dumps(content)
    # What is no manifest at all is refused before its digest is looked at.
    with contextlib.suppress(ValueError):
        content["digest"] = Manifest.model_validate_json(text).own_digest()
    (folder / MANIFEST).write_text(json.dumps(content))


def test_a_bundle_comes_back_as_it_was_written(folder: Path) -> None:
    done = fitted([recording(values(400))], request("pca", window=8))

    detector = load(folder)

    assert detector.name == "plant"
    assert detector.sensors == ("current", "flow", "heat")
    assert (detector.grid.window, detector.grid.period) == (8, 1_000_000_000)
    assert detector.calibration.center[0].tolist() == (done.manifest.calibrations["default"].center)
    assert detector.digest == verify(folder)[0].digest
    golden = tensors.load_file(folder / GOLDEN)
    scores = detector.score_windows(detector.scale(golden["windows"]))
    np.testing.assert_allclose(scores.raw, golden["raw"], rtol=1e-4)


def test_a_bundle_knows_when_its_machine_runs(tmp_path: Path) -> None:
    asked = request("pca", window=8, running="current > 1", settle=2_500_000_000)
    folder = written(tmp_path / "plant", fitted([recording(values(400))], asked))

    grid = load(folder).grid

    assert grid.running is not None
    assert grid.running.truth(np.array([[0.0, 0, 0], [2, 0, 0]])).tolist() == [-1, 1]
    assert (grid.settle, grid.settle_ticks) == (2_500_000_000, 3)


def test_resealing_alone_does_not_spoil_a_bundle(folder: Path) -> None:
    seal(folder)

    assert load(folder).name == "plant"


def test_the_folder_itself_may_be_a_symbolic_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)

    assert load(tmp_path / "link").digest == load(folder).digest


def test_a_missing_folder_is_no_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such bundle"):
        load(tmp_path / "nowhere")


def damages() -> dict[str, Callable[[Path], object]]:
    def truncated(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-7])

    def halved(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def emptied(path: Path) -> None:
        path.write_bytes(b"")

    def lengthened(path: Path) -> None:
        path.write_bytes(path.read_bytes() + b"x")

    def linked(path: Path) -> None:
        path.rename(path.parent.parent / path.name)
        path.symlink_to(path.parent.parent / path.name)

    def folded(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def piped(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    found = (truncated, halved, emptied, lengthened, linked, folded, piped, Path.unlink)
    return {damage.__name__: damage for damage in found}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", damages())
def test_a_damaged_file_is_refused_and_named(folder: Path, name: str, damage: str) -> None:
    damages()[damage](folder / name)

    with pytest.raises(BundleError, match=name):
        load(folder)


def test_another_spelling_of_the_same_number_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"max_held": 0.2', '"max_held": 0.20'))

    with pytest.raises(BundleError, match="is not the file that was written"):
        load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.01, 0.2, 0.31, 0.5, 0.77, 0.95, 0.999])
def test_a_flipped_bit_is_refused(folder: Path, name: str, place: float) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / name).write_bytes(data)

    with pytest.raises(BundleError, match=name):
        load(folder)


@pytest.mark.parametrize("extra", ["notes.txt", ".hidden", "weights.pt"])
def test_a_file_too_many_is_refused(folder: Path, extra: str) -> None:
    (folder / extra).touch()

    with pytest.raises(BundleError, match=f"{extra}: does not belong to a bundle"):
        load(folder)


def test_a_file_beyond_its_limit_is_refused_unread(folder: Path) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.truncate(1 << 33)

    with pytest.raises(BundleError, match="wanted at most 16777216"):
        load(folder)


def set_key(*path: str | int, value: object) -> Callable[[Content], object]:
    def change(content: Content) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


DEFAULT = ("calibrations", "default")
HOSTILE: dict[str, Callable[[Content], object]] = {
    "unknown key": set_key("extra", value=1),
    "unknown key of a rule": set_key("rule", "extra", value=1),
    "unknown key of a calibration": set_key(*DEFAULT, "extra", value=1),
    "older schema": set_key("schema_version", value=1),
    "newer schema": set_key("schema_version", value=3),
    "schema as text": set_key("schema_version", value="2"),
    "no sensors": set_key("sensors", value=[]),
    "nameless sensor": set_key("sensors", 0, "name", value=""),
    "sensor twice": set_key("sensors", 0, "name", value="flow"),
    "sensors as text": set_key("sensors", value="current"),
    "a sensor more": lambda content: content["sensors"].append({"name": "x", "unit": None}),
    "period 0": set_key("period_ns", value=0),
    "negative period": set_key("period_ns", value=-1_000_000_000),
    "endless period": set_key("period_ns", value=2**63),
    "period as float": set_key("period_ns", value=1e9 + 0.5),
    "another window": set_key("window", value=9),
    "window 1": set_key("window", value=1),
    "gigantic window": set_key("window", value=10**12),
    "endless hold": set_key("max_hold", value=10**12),
    "negative hold": set_key("max_hold", value=-1),
    "held share over 1": set_key("max_held", value=1.5),
    "held share NaN": set_key("max_held", value=math.nan),
    "condition that is none": set_key("running", value="current >"),
    "condition on another sensor": set_key("running", value="speed > 1"),
    "condition without an end": set_key("running", value="current > 1" + " " * 1000),
    "settling below 0": set_key("settle_ns", value=-1),
    "unknown score": set_key("score", value="guess"),
    "score without its statistics": set_key("score", value="mahalanobis"),
    "tail 0": set_key("tail", value=0),
    "tail beyond the window": set_key("tail", value=9),
    "rule with nothing to smooth": set_key("rule", "smooth", value=0),
    "rule with endless smoothing": set_key("rule", "smooth", value=10**12),
    "rule that always opens": set_key("rule", "need", value=0),
    "rule that cannot open": set_key("rule", "need", value=6),
    "rule with endless memory": set_key("rule", "of", value=10**12),
    "rule that clears at NaN": set_key("rule", "clear", value=math.nan),
    "rule that clears above the line": set_key("rule", "clear", value=5.0),
    "rule as list": set_key("rule", value=[5, 3, 5, 0.8]),
    "no calibration": set_key("calibrations", value={}),
    "no default calibration": lambda content: content.update(
        calibrations={"p7": content["calibrations"]["default"]}
    ),
    "negative threshold": set_key(*DEFAULT, "threshold", "value", value=-1.0),
    "threshold 0": set_key(*DEFAULT, "threshold", "value", value=0.0),
    "infinite threshold": set_key(*DEFAULT, "threshold", "value", value=math.inf),
    "NaN threshold": set_key(*DEFAULT, "threshold", "value", value=math.nan),
    "period as text": set_key("period_ns", value="1000000000"),
    "window as float": set_key("window", value=8.0),
    "days as text": set_key(*DEFAULT, "threshold", "days", value="1.0"),
    "threshold as text": set_key(*DEFAULT, "threshold", "value", value="1.0"),
    "threshold true": set_key(*DEFAULT, "threshold", "value", value=True),
    "no days": set_key(*DEFAULT, "threshold", "days", value=0.0),
    "center of NaN": set_key(*DEFAULT, "center", 1, value=math.nan),
    "infinite center": set_key(*DEFAULT, "center", 1, value=-math.inf),
    "center too short": set_key(*DEFAULT, "center", value=[0.0, 0.0]),
    "center too long": set_key(*DEFAULT, "center", value=[0.0] * 4),
    "center too deep": set_key(*DEFAULT, "center", value=[[0.0], [0.0], [0.0]]),
    "center as number": set_key(*DEFAULT, "center", value=0.0),
    "zero spread": set_key(*DEFAULT, "spread", 2, value=0.0),
    "negative spread": set_key(*DEFAULT, "spread", 2, value=-1.0),
    "zero error scale": set_key(*DEFAULT, "error_scale", 0, value=0.0),
    "ragged precision": set_key(
        *DEFAULT, "error_precision", value=[[1.0, 0.0, 0.0], [1.0], [0.0, 0.0, 1.0]]
    ),
    "precision not square": set_key(*DEFAULT, "error_precision", value=[[1.0, 0.0, 0.0]] * 4),
    "precision of NaN": set_key(*DEFAULT, "error_precision", value=[[math.nan] * 3] * 3),
    "mean too short": set_key(*DEFAULT, "error_mean", value=[0.0]),
    "bad calibration of an asset": lambda content: content["calibrations"].update(
        p7={**content["calibrations"]["default"], "spread": [1.0]}
    ),
    "parameter of NaN": set_key("parameters", "variance", value=math.nan),
    "parameter too deep": set_key("parameters", "hidden", value=[[1]]),
    "created without a zone": set_key("created", value="2026-01-01T00:00:00"),
    "created is nothing": set_key("created", value="soon"),
    "negative rows": set_key("data", 0, "rows", value=[-1, 5]),
    "data from a time that no date is": set_key("data", 0, "span_ns", value=[-(10**30), None]),
    "data without a time that no date is": set_key(
        *("data", 0, "excluded"),
        value=[{"asset": "", "start_ns": 0, "end_ns": 10**30, "why": "", "rows": 0}],
    ),
    "three ends of rows": set_key("data", 0, "rows", value=[0, 5, 6]),
    "a file more": set_key("files", "evil.bin", value={"sha256": "", "bytes": 0}),
    "a file by another way": set_key("files", "../bundle.json", value={"sha256": "", "bytes": 0}),
    "a file less": lambda content: content["files"].pop(GOLDEN),
    "another length": set_key("files", NETWORK, "bytes", value=1),
    "another hash": set_key("files", NETWORK, "sha256", value="0" * 64),
    "another scale": lambda content: content["calibrations"]["default"]["center"].reverse(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_that_makes_no_sense_is_refused_though_its_hashes_are_right(
    folder: Path, name: str
) -> None:
    seal(folder, HOSTILE[name])

    with pytest.raises(BundleError, match=str(folder)):
        load(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "{", '"x"', "[" * 100_000, '{"digest": ' * 10_000, "\udcff\x00"],
)
def test_a_manifest_that_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(BundleError, match=MANIFEST):
        load(folder)


def test_a_manifest_changed_by_hand_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"name": "heat"', '"name": "warm"'))

    with pytest.raises(BundleError, match="is not the file that was written"):
        load(folder)


GOLDENS: dict[str, Callable[[Arrays], Arrays]] = {
    "empty": lambda found: {name: array[:0] for name, array in found.items()},
    "without windows": lambda found: {"raw": found["raw"]},
    "without scores": lambda found: {"windows": found["windows"]},
    "one score is a number": lambda found: {**found, "raw": np.array(1.0)},
    "scores in a column": lambda found: {**found, "raw": found["raw"][:, None]},
    "a score too few": lambda found: {**found, "raw": found["raw"][:-1]},
    "windows too short": lambda found: {**found, "windows": found["windows"][:, :-1]},
    "windows too narrow": lambda found: {**found, "windows": found["windows"][:, :, :-1]},
    "windows flat": lambda found: {**found, "windows": found["windows"].reshape(-1, 24)},
    "float32": lambda found: {k: array.astype(np.float32) for k, array in found.items()},
    "whole numbers": lambda found: {k: array.astype(np.int64) for k, array in found.items()},
    "truths": lambda found: {k: array.astype(bool) for k, array in found.items()},
    "a window of NaN": lambda found: {**found, "windows": found["windows"] * np.nan},
    "a score of infinity": lambda found: {**found, "raw": found["raw"] + np.inf},
    "a small score a little off": lambda found: {
        **found,
        "raw": found["raw"] * (1 + 2e-4 * (found["raw"] == found["raw"].min())),
    },
    "windows a little off": lambda found: {**found, "windows": found["windows"] * 1.001},
    "a sample without scores": lambda found: {k: found[k] for k in found if k != "normal_raw"},
    "a sample without rows": lambda found: {k: found[k] for k in found if k != "normal_row"},
    "scores of a sample alone": lambda found: {k: found[k] for k in found if k != "normal"},
    "a sample of one stretch": lambda found: {
        k: array[:1] if k.startswith("normal") else array for k, array in found.items()
    },
    "a sample too narrow": lambda found: {**found, "normal": found["normal"][..., :-1]},
    "a sample too short": lambda found: {**found, "normal": found["normal"][:, :-1]},
    "a sample too short for a fault": lambda found: {
        **found,
        "normal": found["normal"][:, : 7 + 10],
        "normal_raw": found["normal_raw"][:, :10],
    },
    "a sample of float32": lambda found: {**found, "normal": found["normal"].astype(np.float32)},
    "a sample of NaN": lambda found: {**found, "normal": found["normal"] * np.nan},
    "scores of a sample as one number": lambda found: {**found, "normal_raw": np.array(1.0)},
    "a row that is no calibration": lambda found: {
        **found,
        "normal_row": found["normal_row"] + 1,
    },
    "a row below the first": lambda found: {**found, "normal_row": found["normal_row"] - 1},
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden_windows_that_prove_nothing_are_refused(folder: Path, name: str) -> None:
    found = GOLDENS[name](tensors.load_file(folder / GOLDEN))
    (folder / GOLDEN).write_bytes(tensors.save({key: found[key].copy() for key in found}))
    seal(folder)

    with pytest.raises(BundleError, match=r"golden"):
        load(folder)


def test_golden_scores_may_differ_as_much_as_two_machines_do(folder: Path) -> None:
    found = tensors.load_file(folder / GOLDEN)
    (folder / GOLDEN).write_bytes(tensors.save({**found, "raw": found["raw"] * (1 + 9e-5)}))
    seal(folder)

    assert load(folder).name == "plant"


def test_a_verdict_that_flips_within_the_tolerance_is_refused(folder: Path) -> None:
    detector = load(folder)
    windows = tensors.load_file(folder / GOLDEN)["windows"][:1]
    raw = detector.score_windows(detector.scale(windows)).raw
    just_over = verify(folder)[0].calibrations["default"].threshold.value * raw[0] / 1.00002

    golden = tensors.save({"windows": windows, "raw": np.array([0.99998])})
    (folder / GOLDEN).write_bytes(golden)
    seal(folder, set_key(*DEFAULT, "threshold", "value", value=float(just_over)))

    with pytest.raises(BundleError, match=r"golden window 0 scores 1\.00002; wanted 0\.99998"):
        load(folder)


@pytest.mark.parametrize("name", [WEIGHTS, GOLDEN, NETWORK])
@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04.", b"\xff" * 64, b"\x08" + bytes(7) + b"[1,2,3] ", pickle.dumps({})]
)
def test_a_file_of_another_format_is_refused_though_its_hash_is_right(
    folder: Path, name: str, data: bytes
) -> None:
    (folder / name).write_bytes(data)
    seal(folder)

    with pytest.raises(BundleError, match=name):
        load(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    weights = tensors.load_file(folder / WEIGHTS)
    weights["mean"][3] = np.nan
    (folder / WEIGHTS).write_bytes(tensors.save(weights))
    seal(folder)

    with pytest.raises(BundleError, match="mean holds numbers that are not finite"):
        load(folder)


def test_a_numeric_type_numpy_does_not_know_is_refused(folder: Path) -> None:
    header = b'{"mean":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    seal(folder)

    with pytest.raises(BundleError, match=WEIGHTS):
        load(folder)


def network(
    expected: str = "Identity",
    *,
    inputs: str = "windows",
    outputs: tuple[str, str] = ("expected", "error"),
    shape: tuple[str | int, int, int] = ("n", WINDOW, SENSORS),
    outside: str | None = None,
    error: str = "Abs",
) -> bytes:
    """A small ONNX model that is no autoencoder."""
    kind = TensorProto.FLOAT
    nodes = [
        helper.make_node(expected, [inputs], [outputs[0]]),
        helper.make_node(error, [inputs], [outputs[1]]),
    ]
    initialisers: list[TensorProto] = []
    if outside:
        weight = TensorProto(name="w", data_type=kind, dims=[SENSORS])
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=outside)
        initialisers.append(weight)
        nodes[0] = helper.make_node("Add", [inputs, "w"], [outputs[0]])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(inputs, kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        initialisers,
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


NETWORKS: dict[str, Callable[[], bytes]] = {
    "other outputs": lambda: network(outputs=("error", "expected")),
    "other inputs": lambda: network(inputs="x"),
    "a longer window": lambda: network(shape=("n", WINDOW + 1, SENSORS)),
    "more sensors": lambda: network(shape=("n", WINDOW, SENSORS + 1)),
    "one batch only": lambda: network(shape=(16, WINDOW, SENSORS)),
    "errors below 0": lambda: network(error="Neg"),
    "errors of another shape": lambda: network(error="GlobalAveragePool"),
    "errors of NaN": lambda: network(error="Log"),
    "another network": network,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_not_the_bundles_is_refused(folder: Path, name: str) -> None:
    (folder / NETWORK).write_bytes(NETWORKS[name]())
    seal(folder)

    with pytest.raises(BundleError, match=str(folder)):
        load(folder)


def test_a_network_with_names_that_are_no_text_is_refused_and_nothing_is_printed(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = (folder / NETWORK).read_bytes()
    (folder / NETWORK).write_bytes(data.replace(b"MatMul", b"\xffatMul"))
    seal(folder)

    with pytest.raises(BundleError, match="is no network ONNX Runtime can load"):
        load(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "message"),
    [("Neg", "makes error that is not 0 or more"), ("GlobalAveragePool", "wanted float32")],
)
def test_errors_that_are_none_are_refused_though_the_golden_scores_agree(
    folder: Path, error: str, message: str
) -> None:
    made = network(error=error)
    detector = bundle.detector_of(verify(folder)[0], OnnxRuntime(made))
    windows = tensors.load_file(folder / GOLDEN)["windows"]
    raw = detector.score_windows(detector.scale(windows)).raw
    (folder / NETWORK).write_bytes(made)
    (folder / GOLDEN).write_bytes(tensors.save({"windows": windows, "raw": raw}))
    seal(folder)

    with pytest.raises(BundleError, match=message):
        load(folder)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_network_cannot_read_files_beside_the_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, absolute: bool
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.zeros(SENSORS, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    (folder / NETWORK).write_bytes(network(outside=str(secret) if absolute else secret.name))
    seal(folder)

    with pytest.raises(BundleError, match="is no network ONNX Runtime can load"):
        load(folder)


def test_loading_calls_neither_pickle_nor_torch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def poison(*_: object, **__: object) -> None:
        raise AssertionError("a bundle was unpickled")

    for owner, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ):
        monkeypatch.setattr(owner, name, poison)

    assert load(folder).name == "plant"
    with pytest.raises(AssertionError):
        pickle.loads(pickle.dumps(1))


def test_loading_and_scoring_bring_neither_torch_nor_the_trainers_libraries(folder: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from models import bundle
detector = bundle.load(Path({str(folder)!r}))
print(sorted({{"torch", "sklearn", "onnx", "scipy"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def other(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """What it takes to write a bundle that differs from the one in the folder."""
    manifest, files = verify(folder)
    return (
        manifest.model_copy(update={"name": "other"}),
        {name: files[name] for name in (WEIGHTS, NETWORK, GOLDEN)},
    )


def test_an_existing_bundle_is_not_replaced_without_force(
    folder: Path, other: tuple[Manifest, dict[str, bytes]]
) -> None:
    before = files_of(folder)

    with pytest.raises(FileExistsError):
        write(folder, *other, force=False)

    assert files_of(folder) == before


@pytest.mark.parametrize("name", ["plant", "plant.previous"])
def test_force_never_replaces_what_is_no_bundle(
    name: str, folder: Path, other: tuple[Manifest, dict[str, bytes]]
) -> None:
    place = folder.with_name(name)
    if place.exists():
        (place / "bundle.json").unlink()
    place.mkdir(exist_ok=True)
    (place / "thesis.txt").write_text("years of work")

    with pytest.raises(FileExistsError, match="is no bundle"):
        write(folder, *other, force=True)

    assert (place / "thesis.txt").read_text() == "years of work"


def test_force_replaces_and_keeps_the_one_before(
    folder: Path, other: tuple[Manifest, dict[str, bytes]]
) -> None:
    before = files_of(folder)

    write(folder, *other, force=True)
    assert load(folder).name == "other"
    assert files_of(folder.with_name("plant.previous")) == before

    write(folder, *other, force=True)
    assert load(folder.with_name("plant.previous")).name == "other"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["plant", "plant.previous"]


def test_force_replaces_a_symbolic_link_and_not_what_it_points_to(
    folder: Path, tmp_path: Path, other: tuple[Manifest, dict[str, bytes]]
) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)

    for _ in range(2):
        write(link, *other, force=True)

    assert load(folder).name == "plant"
    assert load(link).name == "other"


@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize("call", range(4))
def test_an_end_in_the_midst_of_writing_leaves_the_old_bundle_whole(
    folder: Path,
    other: tuple[Manifest, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    *,
    in_one_step: bool,
) -> None:
    before, rename, calls = files_of(folder), Path.rename, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == call + 1:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    if not in_one_step:
        monkeypatch.setattr("models.folders.ctypes.CDLL", lambda name: object())  # pyright: ignore[reportUnknownLambdaType]

    try:
        write(folder, *other, force=True)
    except KeyboardInterrupt:
        assert files_of(folder) == before
        assert [path.name for path in folder.parent.iterdir()] == ["plant"]
    else:
        assert calls < call + 1


def test_a_kill_while_writing_leaves_the_old_bundle_whole(
    folder: Path, other: tuple[Manifest, dict[str, bytes]]
) -> None:
    before = files_of(folder)
    child = os.fork()
    if child == 0:
        real = os.fsync

        def fsync(descriptor: int) -> None:
            real(descriptor)
            os.kill(os.getpid(), 9)

        os.fsync = fsync
        write(folder, *other, force=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)

    assert os.WIFSIGNALED(status)
    assert files_of(folder) == before
    write(folder, *other, force=True)
    assert load(folder).name == "other"


def test_a_bundle_that_would_not_load_never_takes_the_place_of_one_that_does(
    folder: Path, other: tuple[Manifest, dict[str, bytes]]
) -> None:
    before = files_of(folder)
    manifest, files = other

    with pytest.raises(BundleError):
        write(folder, manifest, {**files, NETWORK: network()}, force=True)

    assert files_of(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["plant"]


def test_the_digest_covers_all_but_the_time_of_creation(folder: Path) -> None:
    manifest, _ = verify(folder)
    later = manifest.model_copy(update={"created": manifest.created.replace(year=2031)})
    renamed = manifest.model_copy(update={"name": "other"})

    assert later.own_digest() == manifest.own_digest() == manifest.digest
    assert renamed.own_digest() != manifest.digest


def test_the_network_says_nothing_of_where_it_was_made(folder: Path) -> None:
    model = onnx.load(folder / NETWORK)

    assert str(Path.cwd()).encode() not in model.SerializeToString()
    assert bundle.SCHEMA_VERSION == 2
