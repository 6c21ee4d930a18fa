"""Facts about sensors → the life of an alert: one for each asset at most, for as long as they hold.

The anomalies' lives, which follow scores, are in `monitor.lives`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from models.frame import FOREVER, Bools, Ints, grown
from monitor.alert import Alert, AlertRules, SensorEvidence, alert_id, duration
from monitor.reading import AssetTable


@dataclass(frozen=True, slots=True)
class Finding:
    """What there is to tell of an asset's sensors.

    Args:
        onset: when the first of them was first seen so.
        words: what they do, as the end of a sentence.
        model, digest: of the bundle that knows better, if it takes one.
    """

    onset: int
    sensors: tuple[SensorEvidence, ...]
    words: str
    model: str | None = None
    digest: str | None = None


@dataclass(slots=True)
class Case:
    """An alert that is open.

    Args:
        last: what was told last.
        told: the sensors it has been told of, shape (sensors,).
        ended: told to be over while it still holds.
    """

    last: Alert
    told: Bools
    ended: bool = False

    @property
    def firing(self) -> bool:
        """Whether it is not yet ended."""
        return not self.ended


class Casebook:
    """The alerts of one kind.

    Args:
        kind: of the alerts.
        over: what is said when one is over.
        stream: its name.
        sensors: how many an asset has.
        assets: the stream's; None where the stream is looked at as a whole, under the index 0.
        rules: when an open alert is told again.
        expire: how long an alert stays open at most, nanoseconds.

    Attributes:
        lives: the open ones by asset index.
    """

    def __init__(
        self,
        kind: str,
        over: str,
        stream: str,
        sensors: int,
        assets: AssetTable | None,
        rules: AlertRules,
        expire: int = FOREVER,
    ) -> None:
        self.lives: dict[int, Case] = {}
        self._kind, self._over = kind, over
        self._stream = stream
        self._assets = assets
        self._renotify, self._expire = rules.renotify, expire
        self._affected = np.empty((0, sensors), bool)
        self._due = np.empty(0, np.int64)  # when an open alert is told again

    def step(
        self,
        asset: Ints,
        time: Ints,
        affected: Bools,
        find: Callable[[int], Finding],
        news: Bools | None = None,
    ) -> list[Alert]:
        """Advance the alerts by what holds at some times, and return what there is to tell.

        Args:
            asset: rows of an asset stand together, in order of time, shape (rows,).
            time: shape (rows,).
            affected: the sensors that it holds of, shape (rows, sensors).
            find: the finding at a row.
            news: whether there is more to tell of the same sensors, shape (rows,).
        """
        if not (affected.any() or self.lives):
            return []
        self._ensure(int(asset.max()) + 1)
        first = np.r_[True, asset[1:] != asset[:-1]]
        before = np.concatenate((affected[:1], affected[:-1]))
        before[first] = self._affected[asset[first]]
        changed = (affected != before).any(axis=1)
        due = affected.any(axis=1) & (time >= self._due[asset])
        fresh = np.zeros(len(asset), bool) if news is None else news
        last = np.r_[first[1:], True]
        self._affected[asset[last]] = affected[last]
        out: list[Alert] = []
        for i in np.flatnonzero(changed | due | fresh).tolist():
            told = self._advance(
                int(asset[i]), int(time[i]), affected[i], lambda i=i: find(i), news=bool(fresh[i])
            )
            if told is not None:
                out.append(told)
        return out

    def _ensure(self, assets: int) -> None:
        if assets > len(self._due):
            rows = max(assets, 2 * len(self._due), 16)
            self._due = grown(self._due, rows, FOREVER)
            self._affected = grown(self._affected, rows, 0)

    def _advance(
        self,
        index: int,
        time: int,
        affected: Bools,
        find: Callable[[], Finding],
        *,
        news: bool,
    ) -> Alert | None:
        case = self.lives.get(index)
        if not affected.any():
            self._due[index] = FOREVER
            if case is not None:
                del self.lives[index]
            return None if case is None or case.ended else self._end(case.last, time, "normal")
        if case is None:
            last = self._opened(index, time, find())
            self.lives[index] = Case(last, affected.copy())
        elif case.ended:
            return None
        elif time - case.last.onset >= self._expire:
            case.ended = True
            self._due[index] = FOREVER
            return self._end(case.last, time, "expired")
        elif news or (affected & ~case.told).any() or time - case.last.time >= self._renotify:
            case.told = case.told | affected
            case.last = last = self._updated(case.last, time, find())
        else:
            return None
        self._due[index] = min(time + self._renotify, last.onset + self._expire)
        return last

    def _opened(self, index: int, time: int, found: Finding) -> Alert:
        asset = None if self._assets is None else self._assets.names[index]
        return Alert(
            alert_id=alert_id(self._stream, asset, self._kind, found.onset),
            step="opened",
            number=0,
            stream=self._stream,
            asset=asset,
            labels=() if self._assets is None else self._assets.labels[index],
            kind=self._kind,
            severity="warning",
            score=None,
            peak_score=None,
            time=time,
            onset=found.onset,
            sensors=found.sensors,
            quality="good",
            model=found.model,
            digest=found.digest,
            words=self._sentence(asset, found.words),
        )

    def _updated(self, last: Alert, time: int, found: Finding) -> Alert:
        words = self._sentence(last.asset, found.words)
        return replace(
            last,
            step="updated",
            number=last.number + 1,
            time=time,
            sensors=found.sensors,
            words=words,
        )

    def _end(self, last: Alert, time: int, reason: str) -> Alert:
        """The last step; it carries the evidence of the one before."""
        lasted = duration(time - last.onset)
        names = ", ".join(one.name for one in last.sensors)
        over = f"{self._over.format(names=names)} after {lasted}."
        if reason != "normal":
            over = f"the alert of {self._kind} is closed after {lasted} ({reason})."
        return replace(
            last,
            step="resolved",
            number=last.number + 1,
            time=time,
            reason=reason,
            words=self._sentence(last.asset, over),
        )

    def _sentence(self, asset: str | None, words: str) -> str:
        return f"{self._stream}: {words}" if asset is None else f"{self._stream}/{asset}: {words}"
