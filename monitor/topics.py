"""Topic patterns: which asset, which sensor and which labels a topic names."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(#?)\}")
_PART = re.compile(r"\{([^{}]*)\}")
_SHARED = re.compile(r"\$share/[^/+#]+/")
MAX_NAME_BYTES = 128


@dataclass(frozen=True, slots=True)
class TopicMatch:
    """What a topic says: asset and sensor are None where the pattern does not name them."""

    asset: str | None
    sensor: str | None
    labels: tuple[tuple[str, str], ...]

    @property
    def words(self) -> dict[str, str]:
        """By placeholder."""
        named = {"asset": self.asset, "sensor": self.sensor}
        return {**{k: v for k, v in named.items() if v is not None}, **dict(self.labels)}


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A topic with named levels, such as ``plant/{line}/{asset}/telemetry``.

    A placeholder fills one whole level; ``{sensor#}``, the last, all that remain, even none.
    ``{asset}`` and ``{sensor}`` have a meaning, ``{_}`` is ignored, every other name is a label.

    Args:
        text: as written.
        levels: the topic's, placeholders in them.
        names: of the placeholders, None where the level is a plain one.
        rest: whether the last placeholder takes all remaining levels.
        share: the beginning of a shared subscription, else empty.
    """

    text: str
    levels: tuple[str, ...]
    names: tuple[str | None, ...]
    rest: bool = False
    share: str = ""

    @classmethod
    def parse(cls, text: str, *, allow_shared: bool = False) -> "TopicPattern":
        """Read a pattern.

        Raises:
            ValueError: if the pattern cannot be subscribed to as one filter.
        """
        if not text:
            raise ValueError("is empty; wanted a topic such as plant/{asset}/telemetry")
        if len(text.encode()) > 65535 or "\0" in text:
            raise ValueError("is no MQTT topic: too long, or holds a NUL character")
        share = ""
        if text.startswith("$share/"):
            found = _SHARED.match(text)
            if not allow_shared or found is None or found.end() == len(text):
                raise ValueError(
                    "is a shared subscription, and each window needs every message of its asset; "
                    "wanted a plain topic, or allow_shared = true where the broker gives each "
                    "asset's messages to one of us"
                )
            share = found[0]
        levels = tuple(text[len(share) :].split("/"))
        names: list[str | None] = []
        rest = False
        for number, level in enumerate(levels, 1):
            found = _PLACEHOLDER.fullmatch(level)
            if found is not None:
                rest = bool(found[2])
                if rest and (number < len(levels) or found[1] == "asset"):
                    raise ValueError(
                        f"has the level {level}; wanted it at the end, and not for the asset"
                    )
                names.append(found[1])
                continue
            if "+" in level or "#" in level:
                raise ValueError(
                    f"has the wildcard {level!r}; wanted a named level instead, such as "
                    "{asset}, {sensor}, {line} or {_}"
                )
            if "{" in level or "}" in level:
                raise ValueError(f"has the level {level!r}; wanted a placeholder to fill a level")
            names.append(None)
        given = [name for name in names if name is not None and name != "_"]
        for name in given:
            if given.count(name) > 1:
                raise ValueError(f"names {{{name}}} twice")
        return cls(text, levels, tuple(names), rest, share)

    @property
    def filter(self) -> str:
        """The MQTT topic filter to subscribe to."""
        levels = ["+" if name else level for level, name in self._pairs()]
        if self.rest:
            levels[-1] = "#"
        return self.share + "/".join(levels)

    @property
    def has_asset(self) -> bool:
        """Whether the topic names the asset."""
        return "asset" in self.names

    @property
    def has_sensor(self) -> bool:
        """Whether each sensor has its own topic."""
        return "sensor" in self.names

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(name for name in self.names if name not in (None, "_", "asset", "sensor"))

    def _pairs(self) -> Iterator[tuple[str, str | None]]:
        return zip(self.levels, self.names, strict=True)

    def match(self, topic: str) -> TopicMatch | None:
        """Read a topic; None where the pattern's filter does not match it."""
        parts = topic.split("/")
        if self.rest and len(parts) >= len(self.levels) - 1:
            parts[len(self.levels) - 1 :] = ["/".join(parts[len(self.levels) - 1 :])]
        elif len(parts) != len(self.levels):
            return None
        if self.names[0] is not None and topic.startswith("$"):
            return None  # a filter that starts with a wildcard leaves the broker's own topics out
        asset = sensor = None
        labels: list[tuple[str, str]] = []
        for part, (level, name) in zip(parts, self._pairs(), strict=True):
            if name is None:
                if part != level:
                    return None
            elif name == "asset":
                asset = part
            elif name == "sensor":
                sensor = part
            elif name != "_" and (part or not self.rest or level is not self.levels[-1]):
                labels.append((name, part))
        return TopicMatch(asset, sensor, tuple(labels))

    def build(self, values: dict[str, str]) -> str:
        """Fill the pattern in, the reverse of match.

        Raises:
            ValueError: if a placeholder has no value, or one that cannot stand there.
        """
        parts: list[str] = []
        for level, name in self._pairs():
            if name is None:
                parts.append(level)
                continue
            value = values.get(name)
            if value is None:
                raise ValueError(f"{self.text} needs a value for {{{name}}} (--label {name}=VALUE)")
            whole = self.rest and level is self.levels[-1]
            plain = all(map(is_name, value.split("/"))) if whole else is_name(value)
            if not plain or (not parts and value.startswith("$")):
                raise ValueError(f"{name} = {value!r} cannot stand in a topic level")
            parts.append(value)
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class AssetName:
    """How an asset's name is made, such as ``{line}-{asset}``.

    A name in braces is a placeholder of the topic or else a path in the payload; a text without
    braces is one path in the payload. An empty part is left out, with the text before it.

    Args:
        parts: (text before, name of a placeholder, or None for the next of `paths`).
        end: the text after all of them.
        paths: in the payload.
    """

    parts: tuple[tuple[str, str | None], ...]
    end: str
    paths: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, placeholders: Iterable[str | None]) -> "AssetName":
        """Read a name's form, of a topic with some placeholders.

        Raises:
            ValueError: if it has no part, or a brace too many.
        """
        known = {name for name in placeholders if name is not None and name != "_"}
        if "{" not in text and "}" not in text:
            return cls((("", None),), "", (text,))
        parts: list[tuple[str, str | None]] = []
        paths: list[str] = []
        at = 0
        for found in _PART.finditer(text):
            name = found[1] if found[1] in known else None
            parts.append((text[at : found.start()], name))
            if name is None:
                paths.append(found[1])
            at = found.end()
        between = "".join([*(before for before, _ in parts), text[at:]])
        if not parts or "{" in between or "}" in between:
            raise ValueError('wanted a form such as "{line}-{asset}"')
        return cls(tuple(parts), text[at:], tuple(paths))

    def build(self, topic: Mapping[str, str], payload: Sequence[str]) -> str:
        """The name, of the topic's values by placeholder and of the payload's by path.

        It is empty where the payload lacks a part.
        """
        if not all(payload):
            return ""
        rest = iter(payload)
        name = ""
        for before, placeholder in self.parts:
            value = next(rest) if placeholder is None else topic.get(placeholder, "")
            if value:
                name += before + value
        return name + self.end if name else ""


def overlap(one: str, other: str) -> bool:
    """Whether a topic can match two filters both."""
    left, right = one.split("/"), other.split("/")
    first = {one[:1], other[:1]}
    if "$" in first and first & {"+", "#"}:
        return False
    for a, b in zip(left, right, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = left if len(left) > len(right) else right
    return len(left) == len(right) or longer[min(len(left), len(right))] == "#"


def covers(one: str, other: str) -> bool:
    """Whether a filter matches every topic that another does."""
    if one[:1] in ("+", "#") and other.startswith("$"):
        return False
    for a, b in zip_longest(one.split("/"), other.split("/")):
        if a == "#":
            return True
        if a is None or b in (None, "#") or a not in ("+", b):
            return False
    return True


def distinct(filters: Iterable[str]) -> list[str]:
    """Those of some filters that no other covers: for a topic of two, a broker may send twice."""
    known = dict.fromkeys(filters)
    return [one for one in known if not any(covers(other, one) for other in known if other != one)]


def is_name(text: str) -> bool:
    """Whether a text can be an asset's name or a label: one plain, printable topic level."""
    return is_word(text) and not any(character in "/+#" for character in text)


def is_word(text: str) -> bool:
    """Whether a text can be a sensor's name: printable, and of bounded length."""
    return 0 < len(text.encode("utf-8", "replace")) <= MAX_NAME_BYTES and text.isprintable()
