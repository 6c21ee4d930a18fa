"""Bundles: everything a trained detector needs, in one folder, verified before it is used."""

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import numpy as tensors

from models.adaptation import Adaptation, Start
from models.decision import Rule
from models.detector import Calibration, Detector, Habits
from models.folders import written
from models.frame import Floats
from models.manifest import (
    DEFAULT,
    SCHEMA_VERSION,
    CalibrationSpec,
    FileSpec,
    Manifest,
    digest_of,
)
from models.runtime import (
    OUTPUTS,
    Kind,
    OnnxRuntime,
    Runtime,
    TorchRuntime,
    first_line,
    rebuilt,
)
from models.threshold import ThresholdSettings

MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
NETWORK = "model.onnx"
GOLDEN = "golden.safetensors"
BASELINE = "baseline.safetensors"
LARGEST = {
    MANIFEST: 1 << 24,
    WEIGHTS: 1 << 30,
    NETWORK: 1 << 30,
    GOLDEN: 1 << 26,
    BASELINE: 1 << 30,
}
OPTIONAL = {BASELINE}
TOLERANCE = 1e-4


class BundleError(ValueError):
    """A bundle that cannot be trusted: one message naming the file and what is wrong with it."""


def write(out: Path, manifest: Manifest, files: dict[str, bytes], *, force: bool) -> Manifest:
    """Write a bundle, complete and proven to load, or not at all.

    Args:
        out: the folder; must not exist unless `force`, which keeps it as `NAME.previous`.
        manifest: its `files` are filled in here.
        files: bytes by name.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: if there is such a folder and no `force`.
        BundleError: if it could not be loaded again.
    """
    out = out.absolute()
    if not force and out.exists():
        raise FileExistsError(f"{out}: exists")
    for place in (out, out.with_name(out.name + ".previous")):
        if not replaceable(place):
            raise FileExistsError(f"{place}: is no bundle; only a bundle is ever replaced")
    manifest = manifest.model_copy(
        update={"files": {name: _described(data) for name, data in sorted(files.items())}}
    )
    manifest = manifest.model_copy(update={"digest": manifest.own_digest()})
    with written(out) as draft:
        for name, data in {**files, MANIFEST: _dump(manifest)}.items():
            with (draft / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        load(draft)
    return manifest


def replaceable(place: Path) -> bool:
    """Whether nothing but a bundle would be lost there."""
    if not place.is_dir():
        return not place.exists()
    return (place / MANIFEST).is_file() or not any(place.iterdir())


def load(folder: Path, kind: Kind = "onnx") -> Detector:
    """Read a bundle, verify every file and score its golden windows on this machine.

    Args:
        folder: the bundle; may itself be a symbolic link.
        kind: what runs the network: ONNX Runtime its `model.onnx`, or torch its weights.

    Raises:
        FileNotFoundError: if there is no such folder.
        BundleError: if anything in it is not as it was written.
        ModuleNotFoundError: if torch is wanted and not installed.
    """
    manifest, files = verify(folder)
    tensors_of(folder / WEIGHTS, files[WEIGHTS])
    golden = tensors_of(folder / GOLDEN, files[GOLDEN])
    windows, wanted = golden.get("windows"), golden.get("raw")
    shape = (manifest.window, len(manifest.sensors))
    if (
        windows is None
        or wanted is None
        or not wanted.size
        or (wanted.shape, windows.shape) != ((wanted.size,), (wanted.size, *shape))
        or not windows.dtype == wanted.dtype == np.float64
    ):
        found = {name: f"{array.dtype} {array.shape}" for name, array in golden.items()}
        raise BundleError(
            f"{folder / GOLDEN}: holds {found}; wanted 'windows', float64 (n, {shape[0]}, "
            f"{shape[1]}), and their scores 'raw', float64 (n)"
        )
    _check_normal(folder / GOLDEN, golden, manifest)
    try:
        runtime = _runtime(kind, manifest, files)
        runtime.settle(*shape)
        detector = detector_of(manifest, runtime)
        scores = _scores(detector, windows)
    except ModuleNotFoundError:
        raise
    # Whatever a network of unknown origin makes the runtime raise.
    except Exception as error:
        place = folder / (NETWORK if kind == "onnx" else WEIGHTS)
        raise BundleError(f"{place}: {first_line(error)}") from None
    check_golden(scores, wanted, f"{folder}: on this machine")
    return detector


def _runtime(
    kind: Kind, manifest: Manifest, files: Mapping[str, bytes]
) -> OnnxRuntime | TorchRuntime:
    if kind == "onnx":
        return OnnxRuntime(files[NETWORK])
    shape = manifest.window, len(manifest.sensors)
    return TorchRuntime(rebuilt(manifest.model, *shape, manifest.parameters, files[WEIGHTS]))


def _check_normal(path: Path, golden: dict[str, np.ndarray], manifest: Manifest) -> None:
    """Refuse a sample of normal stretches that could not be audited; a bundle may have none."""
    names = ("normal", "normal_raw", "normal_row")
    found = {name: f"{golden[name].dtype} {golden[name].shape}" for name in names if name in golden}
    if not found:
        return
    length, sensors, rows = manifest.window, len(manifest.sensors), len(manifest.calibrations)
    fewest = manifest.rule.smooth + manifest.rule.of + 1  # a fault and what comes before it
    if len(found) == len(names):
        values, raw, row = (golden[name] for name in names)
        stretches, ends = raw.shape if raw.ndim == 2 else (0, 0)
        if (
            stretches > 1
            and ends >= fewest
            and (values.shape, row.shape) == ((stretches, ends + length - 1, sensors), (stretches,))
            and (values.dtype, raw.dtype, row.dtype) == (np.float64, np.float64, np.int64)
            and ((row >= 0) & (row < rows)).all()
        ):
            return
    raise BundleError(
        f"{path}: holds {found}; wanted 'normal', float64 (n, k + {length - 1}, {sensors}), the "
        f"scores 'normal_raw', float64 (n, k), and 'normal_row', int64 (n) below {rows}, of 2 "
        f"stretches of {fewest} windows or more"
    )


def _scores(detector: Detector, windows: Floats) -> Floats:
    scaled = detector.scale(windows)
    found = detector.runtime(scaled)
    shapes = (windows.shape, windows.shape, windows.shape[:1])
    for name, part, shape in zip(OUTPUTS, found, shapes, strict=True):
        if part is not None and (part.shape != shape or part.dtype != np.float32):
            raise ValueError(
                f"makes {name} {part.dtype} {part.shape} of windows {windows.shape}; wanted "
                f"float32 {shape}"
            )
        if part is not None and name != "expected" and not (part >= 0).all():
            raise ValueError(f"makes {name} that is not 0 or more")
    return detector.score_windows(scaled).raw


def check_golden(found: Floats, wanted: Floats, where: str) -> None:
    """Refuse scores of the golden windows that are not those they were stored with.

    Raises:
        BundleError: naming the first window that differs.
    """
    equal = np.isclose(found, wanted, rtol=TOLERANCE, atol=0) & ((found > 1) == (wanted > 1))
    if not equal.all():
        index = int(np.flatnonzero(~equal)[0])
        raise BundleError(
            f"{where}: golden window {index} scores {found[index]:.6g}; wanted {wanted[index]:.6g} "
            f"within {TOLERANCE:g}"
        )


def verify(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Read a bundle's files, each exactly as its manifest says.

    Raises:
        FileNotFoundError: if there is no such folder.
        BundleError: if a file is missing, too many, no plain file, or has other bytes.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such bundle")
    found = {entry.name for entry in folder.iterdir()}
    if missing := sorted(LARGEST.keys() - OPTIONAL - found):
        raise BundleError(f"{folder / missing[0]}: is missing")
    if extra := sorted(found - LARGEST.keys()):
        raise BundleError(f"{folder / extra[0]}: does not belong to a bundle")
    files = {name: _read(folder / name, LARGEST[name]) for name in sorted(found)}
    try:
        manifest = Manifest.model_validate_json(files[MANIFEST])
    except ValidationError as error:
        first = error.errors()[0]
        place = [".".join(str(part) for part in first["loc"])] if first["loc"] else []
        what = first["msg"].removeprefix("Value error, ")
        if place == ["schema_version"]:
            what = f"is {first['input']!r:.20}; wanted {SCHEMA_VERSION}: fit the model anew"
        raise BundleError(": ".join([str(folder / MANIFEST), *place, what])) from None
    try:
        written = json.loads(files[MANIFEST], parse_float=_as_written, object_pairs_hook=_once)
    except ValueError as error:
        raise BundleError(f"{folder / MANIFEST}: {first_line(error)}") from None
    # Of the file, not of the manifest: a field that a later version adds does not change it.
    if (wanted := digest_of(written)) != manifest.digest:
        raise BundleError(
            f"{folder / MANIFEST}: is not the file that was written (its digest is "
            f"{manifest.digest[:12]}…, wanted {wanted[:12]}…)"
        )
    if missing := sorted(manifest.files.keys() & OPTIONAL - found):
        raise BundleError(f"{folder / missing[0]}: is missing")
    if manifest.files.keys() != found - {MANIFEST}:
        raise BundleError(f"{folder / MANIFEST}: files: names {sorted(manifest.files)}")
    for name, spec in manifest.files.items():
        if _described(files[name]) != spec:
            raise BundleError(
                f"{folder / name}: is not the file that was written "
                f"({len(files[name])} bytes, wanted {spec.bytes} with sha256 {spec.sha256[:12]}…)"
            )
    return manifest, files


def _as_written(text: str) -> float:
    """A number of the manifest; NaN where a last digit differs and the number is still the same."""
    number = float(text)
    return number if repr(number) == text else math.nan


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the manifest; of a key that stands twice, readers differ in which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(
            f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice"
        )
    return found


def detector_of(manifest: Manifest, runtime: Runtime) -> Detector:
    """The detector a manifest describes, on a runtime for its network."""
    assets = tuple(name for name in manifest.calibrations if name != DEFAULT)
    return Detector(
        manifest.name,
        manifest.digest,
        manifest.created.timestamp(),
        tuple(sensor.name for sensor in manifest.sensors),
        tuple(sensor.unit for sensor in manifest.sensors),
        manifest.grid,
        Rule(**manifest.rule.model_dump()),
        manifest.score,
        manifest.tail,
        calibration_of(assets, [manifest.calibrations[name] for name in (DEFAULT, *assets)]),
        runtime,
        adaptation_of(manifest, [manifest.calibrations[name] for name in (DEFAULT, *assets)]),
        _habits(manifest),
    )


def _habits(manifest: Manifest) -> Habits:
    known = [sensor.habit for sensor in manifest.sensors]
    return Habits(
        np.array([(one and one.flat) or 0 for one in known]),
        np.array([-np.inf if one is None else one.low for one in known]),
        np.array([np.inf if one is None else one.high for one in known]),
    )


def adaptation_of(manifest: Manifest, rows: Sequence[CalibrationSpec]) -> Adaptation | None:
    """How the thresholds of some calibrations follow their assets, the default one first."""
    starts = tuple(Start(**row.start.model_dump()) for row in rows if row.start is not None)
    asked = ThresholdSettings(**manifest.thresholds.model_dump())
    depth = asked.depth(manifest.window)
    return Adaptation(manifest.window, asked.adaptive_cap, depth, starts) if starts else None


def calibration_of(assets: tuple[str, ...], rows: Sequence[CalibrationSpec]) -> Calibration:
    """The arrays of some calibrations, the default one first."""
    known = [row for row in rows if row.error_mean is not None]
    return Calibration(
        assets,
        np.array([row.center for row in rows]),
        np.array([row.spread for row in rows]),
        np.array([row.error_scale for row in rows]),
        np.array([row.threshold.value for row in rows]),
        np.array([row.threshold.expected_per_day for row in rows]),
        np.array([row.threshold.bound_per_day for row in rows]),
        np.array([row.error_mean for row in known]) if known else None,
        np.array([row.error_precision for row in known]) if known else None,
    )


def _described(data: bytes) -> FileSpec:
    return FileSpec(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _dump(manifest: Manifest) -> bytes:
    return (
        json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    ).encode()


def _read(path: Path, limit: int) -> bytes:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: is no plain file")
    if status.st_size > limit:
        raise BundleError(f"{path}: has {status.st_size} bytes; wanted at most {limit}")
    return path.read_bytes()


def tensors_of(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """The arrays in a file of tensors.

    Raises:
        BundleError: if it is none, or holds numbers that are not finite.
    """
    try:
        found = tensors.load(data)
    # Beside its own error, the reader raises what a file's types and shapes lead to.
    except Exception as error:
        raise BundleError(f"{path}: is no safetensors file ({first_line(error)})") from None
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} holds numbers that are not finite")
    return found
