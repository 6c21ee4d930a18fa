"""bundle.json: what a bundle says of itself, and what is no bundle at all."""

import hashlib
import json
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from models.adaptation import MOST, Adaptive
from models.detector import Score
from models.frame import SECOND, Grid
from models.tail import LEAST_PEAKS
from models.threshold import THRESHOLDS, ThresholdSettings

# Memory per asset grows with these, so a bundle may not ask for any number.
LONGEST_WINDOW, LONGEST_HOLD, LONGEST_RULE, DEEPEST = 65_536, 1000, 1000, 100
LONGEST_PERIOD = 366 * 86_400 * SECOND  # ticks of times until 2100 stay within int64

# The calibration of assets that have none of their own.
DEFAULT = "default"

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class SensorSpec(_Strict):
    """A sensor, in the order of the network's columns."""

    name: str = Field(min_length=1)
    unit: str | None = None


class ThresholdSpec(_Strict):
    """A threshold and what it promises; rates are false alarms per day per asset."""

    value: Positive
    rule: str
    requested_per_day: Positive
    supported: bool
    expected_per_day: float = Field(ge=0)
    bound_per_day: Positive
    days: Positive
    scores: Count = 0
    promise: str = ""
    parameters: dict[str, float] = {}
    caution: str = ""


class RuleSpec(_Strict):
    """The decision rule, as `models.decision.Rule` describes it."""

    smooth: int = Field(ge=1, le=LONGEST_RULE)
    need: int = Field(ge=1)
    of: int = Field(ge=1, le=LONGEST_RULE)
    clear: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _can_open(self) -> Self:
        if self.need > self.of:
            raise ValueError(f"needs {self.need} of {self.of} scores")
        return self


class ThresholdsSpec(_Strict):
    """How thresholds are found, as `models.threshold.ThresholdSettings` describes it."""

    threshold: str
    quantile: float | None = Field(default=None, gt=0, lt=1)
    level: float = Field(gt=0, lt=1)
    sigmas: Positive
    f_beta: Positive
    adaptive: Adaptive
    adaptive_cap: float = Field(gt=1)
    adaptive_depth: int = Field(ge=1, le=DEEPEST)

    @field_validator("threshold")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in THRESHOLDS:
            raise ValueError(f"{name!r}; wanted one of {', '.join(THRESHOLDS)}")
        return name


class StartSpec(_Strict):
    """Where a live threshold starts, as `models.adaptation.Start` describes it."""

    level: float
    excesses: tuple[Positive, ...] = Field(min_length=LEAST_PEAKS, max_length=MOST)
    frames: Positive
    share: Positive
    mean: float

    @model_validator(mode="after")
    def _is_over_0(self) -> Self:
        if self.level + self.mean <= 0:
            raise ValueError(f"level {self.level:g} above a mean of {self.mean:g} is not over 0")
        return self


class CalibrationSpec(_Strict):
    """Scaling, error statistics and threshold of an asset; lists have one number per sensor."""

    center: list[float]
    spread: list[Positive]
    error_scale: list[Positive]
    error_mean: list[float] | None = None
    error_precision: list[list[float]] | None = None
    threshold: ThresholdSpec
    start: StartSpec | None = None


class DataSpec(_Strict):
    """A file the detector was trained on."""

    file: str
    sha256: str
    rows: tuple[Count, Count]


class TrainingSpec(_Strict):
    """How training went."""

    seed: int
    epochs: Count
    windows: Count
    windows_left_out: dict[str, Count]
    kept_ratio: float
    folds: Count
    validation_loss: float
    pca_validation_loss: float


class FileSpec(_Strict):
    """A file of the bundle as it was written."""

    sha256: str
    bytes: Count


class Manifest(_Strict):
    """bundle.json.

    Args:
        calibration_data: what `calibrate` saw after training, if it did.
        digest: SHA-256 of all that does not differ between equal runs, the other files' hashes
            included; empty before the bundle is written.
    """

    digest: str = ""
    schema_version: Literal[1]
    created: AwareDatetime
    name: str
    model: str
    parameters: dict[str, int | float | str | tuple[int, ...]]
    sensors: list[SensorSpec] = Field(min_length=1)
    period_ns: int = Field(gt=0, le=LONGEST_PERIOD)
    window: int = Field(ge=2, le=LONGEST_WINDOW)
    max_hold: int = Field(ge=0, le=LONGEST_HOLD)
    max_held: float = Field(ge=0, le=1)
    score: Score
    tail: int = Field(ge=1)
    rule: RuleSpec
    thresholds: ThresholdsSpec = ThresholdsSpec(**asdict(ThresholdSettings()))
    calibrations: dict[str, CalibrationSpec]
    data: list[DataSpec]
    calibration_data: list[DataSpec] = []
    training: TrainingSpec
    versions: dict[str, str]
    files: dict[str, FileSpec]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [sensor.name for sensor in self.sensors]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"sensors: {twice[0]!r} stands twice")
        if self.tail > self.window:
            raise ValueError(f"tail: {self.tail} frames of a window of {self.window}")
        if DEFAULT not in self.calibrations:
            raise ValueError(f"calibrations: has no {DEFAULT!r}")
        for asset, one in self.calibrations.items():
            mean, precision = one.error_mean, one.error_precision
            wanted = self.score != "mean-square"
            if (mean is not None, precision is not None) != (wanted, wanted):
                have = "lacks" if wanted else "has"
                raise ValueError(
                    f"calibrations.{asset}: {have} error_mean or error_precision with the score "
                    f"{self.score}"
                )
            if (one.start is None) != (self.thresholds.adaptive == "none"):
                raise ValueError(
                    f"calibrations.{asset}: {'lacks' if one.start is None else 'has'} a start with "
                    f"adaptive={self.thresholds.adaptive}"
                )
            lists = {"center": one.center, "spread": one.spread, "error_scale": one.error_scale}
            for part, numbers in (
                *lists.items(),
                ("error_mean", mean),
                ("error_precision", precision),
                *(("error_precision", row) for row in precision or ()),
            ):
                if numbers is not None and len(numbers) != len(names):
                    raise ValueError(
                        f"calibrations.{asset}.{part}: has {len(numbers)} numbers for "
                        f"{len(names)} sensors"
                    )
        return self

    def own_digest(self) -> str:
        """The digest its content leads to."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def grid(self) -> Grid:
        """Period, window and hold rules."""
        return Grid(self.period_ns, self.window, self.max_hold, self.max_held)


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of a manifest as JSON, without its time of creation and the digest itself."""
    kept = {key: value for key, value in content.items() if key not in ("created", "digest")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
