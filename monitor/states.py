"""The retained state of every asset: what changed since the broker was last told."""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from models.frame import NEVER, SECOND, Coverage, grown
from models.recording import iso
from monitor.alert import Alert, significant
from monitor.board import State
from monitor.lives import UNSCORED
from monitor.stream import Stream

INTERVAL = 10 * SECOND  # a score that moves on is published no more often


class StateTopic:
    """Follows the board of one stream.

    Args:
        root: of our topics.
        stream: to follow.
    """

    def __init__(self, root: str, stream: Stream) -> None:
        self._root = root
        self._stream = stream
        self.forget()

    def forget(self) -> None:
        """Tell everything anew: the broker may have lost what it retained."""
        self._state = np.empty(0, np.int64)
        self._score = np.empty(0)
        self._at = np.empty(0, np.int64)

    def due(self, now: int, told: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Topics and payloads to publish, retained.

        Args:
            now: nanoseconds since the epoch.
            told: names of assets whose alerts have changed.
        """
        board, names = self._stream.pipeline.board, self._stream.assets.names
        if len(self._state) < len(board.state):
            rows = len(board.state)
            self._state = grown(self._state, rows, -1)
            self._score = grown(self._score, rows, np.nan)
            self._at = grown(self._at, rows, NEVER)
        state, score = board.state.astype(np.int64), board.score
        moved = (score != self._score) & ~(np.isnan(score) & np.isnan(self._score))
        changed = (state != self._state) | (moved & (now - self._at >= INTERVAL))
        for asset in told:
            changed[self._stream.assets.find(asset)] = True
        due = np.flatnonzero(changed[: len(names)])
        if not len(due):
            return
        open_alerts: dict[int | None, list[Alert]] = {}
        for index, alert in self._stream.pipeline.firing():
            open_alerts.setdefault(index, []).append(alert)
        for index in due.tolist():
            mine = open_alerts.get(index, [])
            coverage = Coverage(int(board.coverage[index]))
            payload = {
                "state": State(state[index]).label,
                "score": None if np.isnan(score[index]) else significant(float(score[index])),
                "time": iso(int(board.time[index])) if board.time[index] != NEVER else None,
                "reason": _missing(mine, len(self._stream.sensors.names))
                or _reason(State(state[index]), coverage, scored=not np.isnan(score[index])),
                "alerts": [
                    {
                        "alert_id": one.alert_id,
                        "kind": one.kind,
                        "severity": one.severity,
                        "onset": iso(one.onset),
                    }
                    for one in mine
                ],
            }
            yield (
                f"{self._root}/{self._stream.name}/{names[index]}/state",
                json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode(),
            )
            # Only now: what the caller does not go on from is told another time.
            self._state[index], self._score[index], self._at[index] = (
                state[index],
                score[index],
                now,
            )


def _missing(alerts: Iterable[Alert], sensors: int) -> str:
    """Which sensors' readings do not arrive, while others do."""
    for alert in alerts:
        if alert.kind == "no-data" and len(alert.sensors) < sensors:
            return f"no readings of {', '.join(one.name for one in alert.sensors)} arrive"
    return ""


def _reason(state: State, coverage: Coverage, *, scored: bool) -> str:
    match state:
        case State.ANOMALOUS | State.PENDING if coverage == Coverage.COMPLETE and not scored:
            return "no readings arrive"
        case State.NO_DATA:
            return "no readings arrive"
        case State.UNCALIBRATED:
            return "has no model or calibration of its own"
        case State.UNSCORABLE:
            return UNSCORED[Coverage.COMPLETE]
        case _:
            return "" if coverage == Coverage.COMPLETE else UNSCORED[coverage]
