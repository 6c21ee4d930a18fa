"""Keys of payloads that nobody reads: under which name a silent sensor may go on."""

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
import numpy as np

from models.frame import NEVER, Floats, Ints, grown
from monitor.payloads.packed import PACKED, unpacked
from monitor.payloads.path import Place, compiled, keys_of
from monitor.shape import numbers_of

# Payloads that are remembered, two of each asset, are no larger.
LARGEST = 8192
# An asset that has sent more keys than these makes them up, and its new ones say nothing.
MOST_KEYS = 100
# Payloads that are looked into at once.
MOST_LOOKS = 50
LONGEST_KEY, MOST_NAMED = 100, 3
# The same few paths come again and again.
_at, _getter = lru_cache(4096)(keys_of), lru_cache(4096)(compiled)


class Keys:
    """Numbers in the payloads of a stream's assets that no sensor is read from.

    Only payloads that lack a sensor are looked into, and of each asset only the newest: where all
    are whole, a payload costs the place to remember it in.

    Args:
        read: places that are read.
        paths: where each sensor is read, to find the new key that is most like it.
    """

    def __init__(self, read: Iterable[Place], paths: Sequence[str]) -> None:
        self._read = frozenset(read)
        self._paths = tuple(path.replace('"', "").lower() for path in paths)
        self._came = np.empty((0, len(paths)), bool)  # sensors that an asset has ever sent
        self._whole = np.empty(0, object)  # the newest payload with all of them, until looked into
        self._lacking = np.empty(0, object)  # the newest without
        self._due: dict[int, None] = {}  # assets to look into, the longest waiting first
        self._first: dict[int, dict[Place, int]] = {}  # by asset: when each key was first seen
        self._youngest = np.empty(0, np.int64)  # of the keys in the newest payload looked into

    def note(self, payloads: Sequence[bytes], asset: Ints, values: Floats) -> None:
        """Payloads have arrived.

        Args:
            payloads: in order of arrival, one per row.
            asset: shape (rows,).
            values: NaN where a payload lacks a sensor, shape (rows, sensors).
        """
        if not len(asset):
            return
        self._ensure(int(asset.max()) + 1)
        there = ~np.isnan(values)
        row, sensor = np.nonzero(there & ~self._came[asset])
        self._came[asset[row], sensor] = True
        lacks = (self._came[asset] & ~there).any(axis=1)
        kept = np.array([one if len(one) <= LARGEST else None for one in payloads], object)
        self._whole[asset[~lacks]] = kept[~lacks]
        if lacks.any():
            self._lacking[asset[lacks]] = kept[lacks]
            self._due.update(dict.fromkeys(asset[lacks].tolist()))

    def look(self, now: int) -> None:
        """Look into the newest payloads that lack a sensor; those beyond the most wait."""
        for index in list(self._due)[:MOST_LOOKS]:
            del self._due[index]
            first = self._first.setdefault(index, {})
            for at, _, _ in self._unread(self._whole[index]):
                _learn(first, at, NEVER)
            self._whole[index] = None
            seen = [_learn(first, at, now) for at, _, _ in self._unread(self._lacking[index])]
            self._youngest[index] = max(seen, default=NEVER)

    def since(self, assets: int) -> Ints:
        """When the youngest key of each asset's newest payload was first seen, or NEVER.

        Returns:
            Nanoseconds, shape (assets,).
        """
        self._ensure(assets)
        return self._youngest[:assets]

    def words(self, index: int, sensors: Ints, since: int) -> str:
        """The new keys of an asset as the end of a sentence; empty if there is none any more.

        Args:
            index: of the asset.
            sensors: that are silent, the keys most like theirs being named first.
            since: keys first seen before are not new, nanoseconds.
        """
        first = self._first.get(index, {})
        found = {
            path: value
            for at, path, value in self._unread(self._lacking[index])
            if first.get(at, NEVER) >= since
        }
        chosen: list[int] = sensors[:MOST_NAMED].tolist()
        old = [self._paths[sensor] for sensor in chosen]
        best = sorted(
            found, key=lambda path: max(_likeness(path, one) for one in old), reverse=True
        )
        named = [f"{path} with {found[path]:.6g}" for path in best[: len(old)]]
        if not named:
            return ""
        more = f" and {len(found) - len(named)} more" if len(found) > len(named) else ""
        return f"its messages now have the new key{'s'[: len(found) > 1]} {', '.join(named)}{more}"

    def _unread(self, payload: bytes | None) -> list[tuple[Place, str, float]]:
        """Place, path and value of the numbers in a payload that nobody reads."""
        if payload is None:
            return []
        try:
            document = _document(payload)
            paths = [path for path in numbers_of(document) if len(path) <= LONGEST_KEY]
            unread = [path for path in paths if path.isprintable() and _at(path) not in self._read]
            found = [(_at(path), path, _getter(path)(document)) for path in unread]
            return [
                (at, path, float(value))
                for at, path, value in found
                if isinstance(value, int | float) and math.isfinite(value)
            ]
        except Exception:
            # Whatever a payload does to its reader, it then has no key to tell of.
            return []

    def _ensure(self, assets: int) -> None:
        if assets > len(self._youngest):
            rows = max(assets, 2 * len(self._youngest), 16)
            self._came = grown(self._came, rows, 0)
            self._whole, self._lacking = (
                np.concatenate((old, np.full(rows - len(old), None)))
                for old in (self._whole, self._lacking)
            )
            self._youngest = grown(self._youngest, rows, NEVER)


def _learn(first: dict[Place, int], at: Place, now: int) -> int:
    """When a key was first seen; NEVER where there is no more room for it."""
    if len(first) < MOST_KEYS:
        return first.setdefault(at, now)
    return first.get(at, NEVER)


def _likeness(path: str, other: str) -> float:
    return difflib.SequenceMatcher(None, path.lower(), other).ratio()


def _document(payload: bytes) -> object:
    if payload.startswith(PACKED):
        payload = unpacked(payload, LARGEST)
    try:
        return json.loads(payload)
    except ValueError:
        return msgspec.msgpack.decode(payload)
