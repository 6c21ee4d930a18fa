"""Bundles: everything a trained detector needs, in one folder, verified before it is used."""

import hashlib
import json
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as tensors

from models.decision import Rule
from models.detector import Calibration, Detector, Score
from models.frame import Grid
from models.runtime import OnnxRuntime, Runtime

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
NETWORK = "model.onnx"
GOLDEN = "golden.safetensors"
LARGEST = {MANIFEST: 1 << 20, WEIGHTS: 1 << 30, NETWORK: 1 << 30, GOLDEN: 1 << 26}
TOLERANCE = 1e-4


class BundleError(ValueError):
    """A bundle that cannot be trusted: one message naming the file and what is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SensorSpec(_Strict):
    """A sensor, in the order of the network's columns."""

    name: str = Field(min_length=1)
    unit: str | None = None


class ThresholdSpec(_Strict):
    """A threshold and what it promises; rates are false alarms per day per asset."""

    value: float = Field(gt=0)
    rule: str
    requested_per_day: float
    supported: bool
    expected_per_day: float
    bound_per_day: float
    days: float


class CalibrationSpec(_Strict):
    """Scaling, error statistics and threshold of an asset; lists have one number per sensor."""

    center: list[float]
    spread: list[float]
    error_scale: list[float]
    error_mean: list[float] | None = None
    error_precision: list[list[float]] | None = None
    threshold: ThresholdSpec


class DataSpec(_Strict):
    """A file the detector was trained on."""

    file: str
    sha256: str
    rows: tuple[int, int]


class TrainingSpec(_Strict):
    """How training went."""

    seed: int
    epochs: int
    windows: int
    windows_left_out: dict[str, int]
    kept_ratio: float
    folds: int
    validation_loss: float
    pca_validation_loss: float


class FileSpec(_Strict):
    """A file of the bundle as it was written."""

    sha256: str
    bytes: int


class Manifest(_Strict):
    """bundle.json."""

    schema_version: Literal[1]
    created: AwareDatetime
    name: str
    model: str
    parameters: dict[str, Any]
    sensors: list[SensorSpec] = Field(min_length=1)
    period_ns: int = Field(gt=0)
    window: int = Field(ge=2)
    max_hold: int = Field(ge=0)
    max_held: float = Field(ge=0, le=1)
    score: Score
    tail: int = Field(ge=1)
    rule: Rule
    calibrations: dict[str, CalibrationSpec]
    data: list[DataSpec]
    training: TrainingSpec
    versions: dict[str, str]
    files: dict[str, FileSpec]

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest without what differs between equal runs, hence of all files."""
        content = self.model_dump(mode="json", exclude={"created": True})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def grid(self) -> Grid:
        """Period, window and hold rules."""
        return Grid(self.period_ns, self.window, self.max_hold, self.max_held)


def write(out: Path, manifest: Manifest, files: dict[str, bytes], *, force: bool) -> Manifest:
    """Write a bundle, complete or not at all.

    Args:
        out: the folder; must not exist unless `force`, which keeps it as `NAME.previous`.
        manifest: its `files` are filled in here.
        files: bytes by name.

    Returns:
        The manifest as written.
    """
    manifest = manifest.model_copy(
        update={
            "files": {
                name: FileSpec(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
                for name, data in sorted(files.items())
            }
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        draft.mkdir()
        for name, data in {**files, MANIFEST: _dump(manifest)}.items():
            with (draft / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        previous = out.with_name(out.name + ".previous")
        if out.exists() and force:
            if previous.exists():
                shutil.rmtree(previous)
            out.rename(previous)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def load(folder: Path, runtime: Runtime | None = None) -> Detector:
    """Read a bundle, verify every file and score its golden windows on this machine.

    Args:
        folder: the bundle; may itself be a symbolic link.
        runtime: how the network runs; default ONNX Runtime on the bundle's `model.onnx`.

    Raises:
        FileNotFoundError: if there is no such folder.
        BundleError: if anything in it is not as it was written.
    """
    manifest, files = verify(folder)
    golden = _tensors(folder / GOLDEN, files[GOLDEN])
    _tensors(folder / WEIGHTS, files[WEIGHTS])
    sensors = len(manifest.sensors)
    if "default" not in manifest.calibrations:
        raise BundleError(f"{folder / MANIFEST}: calibrations: has no 'default'")
    for asset, calibration in manifest.calibrations.items():
        for part in ("center", "spread", "error_scale", "error_mean", "error_precision"):
            numbers = getattr(calibration, part)
            if numbers is not None and np.shape(numbers)[-1:] != (sensors,):
                raise BundleError(
                    f"{folder / MANIFEST}: calibrations.{asset}.{part}: wanted a number per "
                    f"sensor, {sensors}"
                )
        if manifest.score == "mahalanobis" and calibration.error_precision is None:
            raise BundleError(f"{folder / MANIFEST}: calibrations.{asset}: has no error_precision")
        if min(*calibration.spread, *calibration.error_scale) <= 0:
            raise BundleError(
                f"{folder / MANIFEST}: calibrations.{asset}: spread and error_scale must be > 0"
            )
    try:
        onnx = OnnxRuntime(files[NETWORK]) if runtime is None else None
    except ValueError as error:
        raise BundleError(f"{folder / NETWORK}: {error}") from None
    detector = detector_of(manifest, runtime or onnx)
    windows, wanted = golden.get("windows"), golden.get("raw")
    if (
        windows is None
        or wanted is None
        or windows.shape != (len(wanted), manifest.window, sensors)
        or not len(wanted)
    ):
        raise BundleError(f"{folder / GOLDEN}: holds no windows of {manifest.window} × {sensors}")
    scaled = detector.scale(windows)
    try:
        if onnx is not None:
            onnx.settle(scaled)
        found = detector.score_windows(scaled).raw
    except Exception as error:
        raise BundleError(
            f"{folder / NETWORK}: does not score windows of {manifest.window} frames of "
            f"{sensors} sensors ({str(error)[:200]})"
        ) from None
    check_golden(found, wanted, f"{folder}: on this machine")
    return detector


def check_golden(found: np.ndarray, wanted: np.ndarray, where: str) -> None:
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
    expected = {MANIFEST, WEIGHTS, NETWORK, GOLDEN}
    found = {entry.name for entry in folder.iterdir()}
    if missing := sorted(expected - found):
        raise BundleError(f"{folder / missing[0]}: is missing")
    if extra := sorted(found - expected):
        raise BundleError(f"{folder / extra[0]}: does not belong to a bundle")
    files = {name: _read(folder / name, LARGEST[name]) for name in sorted(expected)}
    try:
        manifest = Manifest.model_validate_json(files[MANIFEST])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{folder / MANIFEST}: {place}: {first['msg']}") from None
    if set(manifest.files) != expected - {MANIFEST}:
        raise BundleError(f"{folder / MANIFEST}: files: names {sorted(manifest.files)}")
    for name, spec in manifest.files.items():
        if hashlib.sha256(files[name]).hexdigest() != spec.sha256:
            raise BundleError(
                f"{folder / name}: is not the file that was written "
                f"({len(files[name])} bytes, wanted {spec.bytes} with sha256 {spec.sha256[:12]}…)"
            )
    return manifest, files


def detector_of(manifest: Manifest, runtime: Runtime) -> Detector:
    """The detector a manifest describes, on a runtime for its network."""
    default = manifest.calibrations["default"]
    return Detector(
        manifest.name,
        manifest.digest,
        manifest.created.timestamp(),
        tuple(sensor.name for sensor in manifest.sensors),
        tuple(sensor.unit for sensor in manifest.sensors),
        manifest.grid,
        manifest.rule,
        manifest.score,
        manifest.tail,
        Calibration(
            np.array(default.center),
            np.array(default.spread),
            np.array(default.error_scale),
            np.array(default.error_mean or 0.0),
            np.array(default.error_precision or 0.0),
            default.threshold.value,
            default.threshold.expected_per_day,
            default.threshold.bound_per_day,
        ),
        runtime,
    )


def now() -> datetime:
    """The time of creation, the one thing that differs between equal runs."""
    return datetime.now(UTC).replace(microsecond=0)


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


def _tensors(path: Path, data: bytes) -> dict[str, np.ndarray]:
    try:
        found = tensors.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: is no safetensors file ({str(error)[:120]})") from None
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} holds numbers that are not finite")
    return found
