"""Keys of payloads that nobody reads: under which name a silent sensor may go on."""

import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import msgspec
import numpy as np

from models.frame import FOREVER, NEVER, Bools, Floats, Ints, grown
from monitor.payloads.packed import PACKED, unpacked
from monitor.payloads.path import Place, compiled, keys_of
from monitor.shape import MOST_FIELDS, numbers_of

# Payloads that are remembered, up to two of a kind, are no larger.
LARGEST = 8192
# An asset that has sent more keys than these makes them up, and its new ones say nothing.
MOST_KEYS = 100
# Payloads that are looked into at once.
MOST_LOOKS = 50
# Kinds of payloads, by the sensors in them, that an asset has at a time; of more, no key is told.
MOST_KINDS = 8
LONGEST_KEY, MOST_NAMED = 100, 3
# The same few paths come again and again.
_at, _getter = lru_cache(4096)(keys_of), lru_cache(4096)(compiled)
_TOO_LARGE = b""  # stands for a payload that cannot be looked into


@dataclass(slots=True)
class _Kind:
    """Payloads of an asset that have the same sensors, and not all of them.

    Args:
        there: which, shape (sensors,).
        waiting: the first and the newest payload that are not looked into yet.
        came: when the first of them came.
        skipped: whether one between them was ever dropped.
        unseen: when the first came that nobody could look into; its keys may be any.
        news: by path, since when a key has been there, and its value; not of those there before.
    """

    there: Bools
    waiting: list[bytes] = field(default_factory=list[bytes])
    came: int = NEVER
    skipped: bool = False
    unseen: int = FOREVER
    news: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])


class Keys:
    """Numbers in the payloads of a stream's assets that no sensor is read from.

    Only payloads that lack a sensor are looked into, those of each kind by themselves: where all
    are whole, a payload costs the place to remember it in. A key is new if it came first with a
    payload that lacks sensors, and payloads that had them could be looked into.

    Args:
        read: places that are read.
        paths: where each sensor is read, to find the new key that is most like it.
    """

    def __init__(self, read: Iterable[Place], paths: Sequence[str]) -> None:
        self._read = frozenset(read)
        self._paths = tuple(path.replace('"', "").lower() for path in paths)
        self._came = np.empty((0, len(paths)), bool)  # sensors that an asset has ever sent
        self._whole = np.empty(0, object)  # the newest payload with all of them, until looked into
        self._known = np.empty((0, len(paths)), bool)  # sensors beside which all keys are known
        self._varied = np.empty(0, bool)  # assets with too many kinds
        self._kinds: dict[int, dict[bytes, _Kind]] = {}  # by asset and sensors, as bits
        self._fresh: list[_Kind] = []  # those that wait since the last look
        # Assets to look into, the longest waiting first: of a kind not seen before, and others.
        self._soon: dict[int, None] = {}
        self._due: dict[int, None] = {}
        self._first: dict[int, dict[Place, int]] = {}  # by asset: when each key was first seen
        self._youngest = np.empty(0, np.int64)  # of the keys in the payloads looked into last

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
        if len(row):
            for index in np.unique(asset[row]).tolist():
                self._outgrow(index)
            self._came[asset[row], sensor] = True
        lacks = (self._came[asset] & ~there).any(axis=1)
        sent = [one if len(one) <= LARGEST else _TOO_LARGE for one in payloads]
        self._whole[asset[~lacks]] = np.array(sent, object)[~lacks]
        if lacks.any():
            bits = np.packbits(there, axis=1)
            for i in np.flatnonzero(lacks).tolist():
                self._await(int(asset[i]), bits[i].tobytes(), there[i], sent[i])

    def _outgrow(self, index: int) -> None:
        """An asset sends one more sensor: its payloads so far were not whole."""
        payload, there = self._whole[index], self._came[index].copy()
        if payload is not None:
            self._whole[index] = None
            self._await(index, np.packbits(there).tobytes(), there, payload)

    def _await(self, index: int, bits: bytes, there: Bools, payload: bytes) -> None:
        """Remember a payload that lacks a sensor until it is looked into."""
        if self._varied[index]:
            return
        kinds = self._kinds.setdefault(index, {})
        kind = kinds.get(bits)
        if kind is None:
            if len(kinds) >= MOST_KINDS and not self._forget(index, kinds):
                return
            kind = kinds[bits] = _Kind(there.copy())
            self._soon[index] = None
        if not kind.waiting:
            self._fresh.append(kind)
            self._due[index] = None
        kind.skipped |= len(kind.waiting) > 1
        kind.waiting[1:] = ()
        kind.waiting.append(payload)

    def _forget(self, index: int, kinds: dict[bytes, _Kind]) -> bool:
        """Make room for a kind; False if none can go: the asset's keys are given up."""
        seen = [bits for bits, one in kinds.items() if not one.waiting and one.unseen == FOREVER]
        if seen:
            del kinds[min(seen, key=lambda bits: kinds[bits].came)]  # its keys stay known
            return True
        for of in (self._kinds, self._first, self._soon, self._due):
            of.pop(index, None)
        self._varied[index], self._youngest[index] = True, NEVER
        return False

    def look(self, now: int) -> None:
        """Look into payloads that lack a sensor; those beyond the most wait."""
        for kind in self._fresh:
            kind.came = now
        self._fresh.clear()
        left = MOST_LOOKS
        due = [*islice(self._soon, MOST_LOOKS), *islice(self._due, MOST_LOOKS)]
        for index in dict.fromkeys(due):
            kinds = [one for one in self._kinds[index].values() if one.waiting]
            left -= sum(len(one.waiting) for one in kinds) + (self._whole[index] is not None)
            if left < 0:
                break
            self._soon.pop(index, None)
            self._due.pop(index, None)
            self._look_into(index, sorted(kinds, key=lambda one: one.came))

    def _look_into(self, index: int, kinds: Sequence[_Kind]) -> None:
        first, known = self._first.setdefault(index, {}), self._known[index]
        if self._whole[index] is not None:
            found = self._unread(self._whole[index])
            known[self._came[index]] = found is not None
            for at, _, _ in found or ():
                _learn(first, at, NEVER)
            self._whole[index] = None
        for kind in kinds:
            # What came with a sensor, nobody knows if that payload could not be looked into.
            sure = bool(known[self._came[index] & ~kind.there].all())
            found = [self._unread(payload) for payload in kind.waiting]
            known[kind.there] = found[-1] is not None
            if kind.skipped or None in found:
                kind.unseen = min(kind.unseen, kind.came)
            when = min(kind.unseen, kind.came) if sure else NEVER
            seen = {
                path: (_learn(first, at, when), value)
                for payload in found
                for at, path, value in payload or ()
            }
            kind.news = {path: new for path, new in seen.items() if new[0] != NEVER}
            kind.waiting.clear()
        news = (one.news.values() for one in self._kinds[index].values())
        self._youngest[index] = max((since for of in news for since, _ in of), default=NEVER)

    def since(self, assets: int) -> Ints:
        """When the youngest key of each asset's newest payloads was first seen, or NEVER.

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
        found = {
            path: value
            for kind in self._kinds.get(index, {}).values()
            for path, (first, value) in kind.news.items()
            if first >= since
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

    def _unread(self, payload: bytes) -> list[tuple[Place, str, float]] | None:
        """Place, path and value of the numbers in a payload that nobody reads.

        None if it cannot be looked into, or not into all of it.
        """
        try:
            document = _document(payload)
            numbers = numbers_of(document)
            if len(numbers) >= MOST_FIELDS:
                return None
            paths = [path for path in numbers if len(path) <= LONGEST_KEY]
            unread = [path for path in paths if path.isprintable() and _at(path) not in self._read]
            found = [(_at(path), path, _getter(path)(document)) for path in unread]
            return [
                (at, path, float(value))
                for at, path, value in found
                # An integer may be too large to ask math.isfinite.
                if isinstance(value, int | float) and abs(value) <= sys.float_info.max
            ]
        except Exception:
            # Whatever a payload does to its reader, it then has no key to tell of.
            return None

    def _ensure(self, assets: int) -> None:
        if assets > len(self._youngest):
            rows = max(assets, 2 * len(self._youngest), 16)
            self._came, self._known = grown(self._came, rows, 0), grown(self._known, rows, 0)
            self._varied = grown(self._varied, rows, 0)
            self._whole = np.concatenate((self._whole, np.full(rows - len(self._whole), None)))
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
