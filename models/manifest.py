"""bundle.json: what a bundle says of itself, and what is no bundle at all."""

import hashlib
import json
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, Self

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
from models.recording import Recording
from models.running import LONGEST, Condition, ConditionError
from models.selection import Selection, Stretch
from models.tail import LEAST_PEAKS
from models.threshold import THRESHOLDS, ThresholdSettings
from models.timestamps import EARLIEST, LATEST

# Memory per asset grows with these, so a bundle may not ask for any number.
LONGEST_WINDOW, LONGEST_HOLD, LONGEST_RULE, DEEPEST = 65_536, 1000, 1000, 100
SCHEMA_VERSION: Final = 2
LONGEST_PERIOD = 366 * 86_400 * SECOND  # ticks of times until 2100 stay within int64

LONGEST_LIST = 64  # layers or members of a network

# The calibration of assets that have none of their own.
DEFAULT = "default"

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Time = Annotated[int, Field(ge=EARLIEST, le=LATEST)]
Words = Annotated[tuple[str, ...], Field(max_length=LONGEST_LIST)]
Numbers = Annotated[tuple[int, ...], Field(max_length=LONGEST_LIST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class HabitSpec(_Strict):
    """What a sensor did in normal data.

    Args:
        flat: frames in the longest run of one and the same value; None if it had only one.
        low, high: between them lie all but the strangest of its readings.
    """

    flat: int | None = Field(gt=0)
    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is over high {self.high:g}")
        return self


class SensorSpec(_Strict):
    """A sensor, in the order of the network's columns; older bundles know no habits."""

    name: str = Field(min_length=1)
    unit: str | None = None
    habit: HabitSpec | None = None


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


class StretchSpec(_Strict):
    """A time that was left out, as `models.selection.Stretch` describes it."""

    asset: str
    start_ns: Time
    end_ns: Time
    why: str
    rows: Count


class DataSpec(_Strict):
    """A file the detector was made of, and what of it, as `models.selection` describes it."""

    file: str
    sha256: str
    rows: tuple[Count, Count]
    span_ns: tuple[Time | None, Time | None] = (None, None)
    assets: tuple[str, ...] = ()
    excluded: tuple[StretchSpec, ...] = ()

    @classmethod
    def of(cls, recording: Recording) -> Self:
        """What was used of a recording."""
        selection = recording.selection
        return cls(
            file=recording.path.name,
            sha256=recording.sha256,
            rows=recording.rows,
            span_ns=selection.span,
            assets=selection.assets,
            excluded=tuple(
                StretchSpec(
                    asset=one.asset, start_ns=one.start, end_ns=one.end, why=one.why, rows=one.rows
                )
                for one in selection.excluded
            ),
        )

    @property
    def selection(self) -> Selection:
        """The rows that were used."""
        excluded = (
            Stretch(one.start_ns, one.end_ns, one.asset, one.why, one.rows) for one in self.excluded
        )
        return Selection(self.rows, self.span_ns, self.assets, tuple(excluded))


class TrainingSpec(_Strict):
    """How training went."""

    seed: int
    fingerprint: str = ""  # of the request, the data and the versions
    epochs: Count
    windows: Count
    windows_left_out: dict[str, Count]
    rows_left_out: dict[str, Count] = {}
    kept_ratio: float
    folds: Count
    # Mean squared residuals of validation windows, in spreads, of the network and the baseline.
    validation_loss: float
    pca_validation_loss: float


# A detector that does not tell these from normal windows is refused; other probes are reported.
REQUIRED_PROBES = ("white-noise", "sensor-swap")


class ProbeSpec(_Strict):
    """How well windows that are not normal are told from normal ones."""

    auc: float = Field(ge=0, le=1)
    verdict: Literal["told", "not told", "not applicable"]


class FaultSpec(_Strict):
    """In how many normal stretches a fault was found, and the median time it took."""

    found: Count
    of: Count
    delay_s: float | None


class SensitivitySpec(_Strict):
    """What is found in one sensor; None is a fault that changes nothing in it.

    Args:
        smallest_step: that is found in nine of ten stretches, in the sensor's unit and in spreads;
            None if none is.
        step: of that size.
        drift: away by two spreads in the time that faults are followed.
        stuck: at its last normal value.
        swap: with the sensor `swapped_with`: of those that are no twins, the one most like it.
    """

    sensor: str
    smallest_step: Positive | None
    in_spreads: Positive | None
    step: FaultSpec | None
    drift: FaultSpec
    stuck: FaultSpec | None
    swap: FaultSpec | None
    swapped_with: str | None


class AuditSpec(_Strict):
    """What the detector tells from normal data, and whether it is refused.

    Args:
        refused: why it is an identity map; None if it is none.
        stretches: of held-out normal data.
        alarmed: those in alert as they are; faults are put into others.
        followed_s: how long a fault lasts; a step is to be found in the first half of it.
        rebuilt_normal, rebuilt_noise: share of the power of normal windows and of white noise that
            the network rebuilds.
        sensors: empty where every stretch is in alert as it is.
    """

    refused: str | None
    stretches: Count
    alarmed: Count
    followed_s: Positive
    rebuilt_normal: float
    rebuilt_noise: float
    probes: dict[str, ProbeSpec]
    sensors: list[SensitivitySpec]


class FileSpec(_Strict):
    """A file of the bundle as it was written."""

    sha256: str
    bytes: Count


class Manifest(_Strict):
    """bundle.json.

    Args:
        running: when the machine runs, as `models.running` reads it; None = always.
        calibration_data: all that `calibrate` used after training, unless a later one replaced it.
        baseline: calibrations of the window PCA in `baseline.safetensors`; empty without one.
        digest: SHA-256 of all that does not differ between equal runs, the other files' hashes
            included; empty before the bundle is written.
    """

    digest: str = ""
    schema_version: Literal[2]  # SCHEMA_VERSION
    created: AwareDatetime
    name: str
    model: str
    parameters: dict[str, bool | int | float | str | Numbers | Words]
    sensors: list[SensorSpec] = Field(min_length=1)
    period_ns: int = Field(gt=0, le=LONGEST_PERIOD)
    window: int = Field(ge=2, le=LONGEST_WINDOW)
    max_hold: int = Field(ge=0, le=LONGEST_HOLD)
    max_held: float = Field(ge=0, le=1)
    running: str | None = Field(default=None, max_length=LONGEST)
    settle_ns: int = Field(default=0, ge=0, le=LONGEST_PERIOD)
    score: Score
    tail: int = Field(ge=1)
    rule: RuleSpec
    thresholds: ThresholdsSpec = ThresholdsSpec(**asdict(ThresholdSettings()))
    calibrations: dict[str, CalibrationSpec]
    baseline: dict[str, CalibrationSpec] = {}
    data: list[DataSpec]
    calibration_data: list[DataSpec] = []
    training: TrainingSpec
    audit: AuditSpec | None = None
    versions: dict[str, str]
    files: dict[str, FileSpec]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [sensor.name for sensor in self.sensors]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"sensors: {twice[0]!r} stands twice")
        if self.tail > self.window:
            raise ValueError(f"tail: {self.tail} frames of a window of {self.window}")
        try:
            _ = self.grid
        except ConditionError as error:
            raise ValueError(f"running: {error}") from None
        if DEFAULT not in self.calibrations:
            raise ValueError(f"calibrations: has no {DEFAULT!r}")
        if self.baseline and self.baseline.keys() != self.calibrations.keys():
            raise ValueError("baseline: has not the assets of the calibrations")
        for asset, one in (*self.calibrations.items(), *self.baseline.items()):
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
        """Period, window, hold rules and running condition."""
        names = tuple(sensor.name for sensor in self.sensors)
        running = None if self.running is None else Condition(self.running, names)
        return Grid(
            self.period_ns, self.window, self.max_hold, self.max_held, running, self.settle_ns
        )


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of a manifest as JSON, without its time of creation and the digest itself."""
    kept = {key: value for key, value in content.items() if key not in ("created", "digest")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
