"""Topic patterns: which asset, which sensor and which labels a topic names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
MAX_NAME_BYTES = 128


@dataclass(frozen=True, slots=True)
class TopicMatch:
    """What a topic says: asset and sensor are None where the pattern does not name them."""

    asset: str | None
    sensor: str | None
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A topic with named levels, such as ``plant/{line}/{asset}/telemetry``.

    A placeholder fills one whole level. ``{asset}`` and ``{sensor}`` have a meaning, ``{_}`` is
    ignored, every other name is a label.
    """

    text: str
    levels: tuple[str, ...]
    names: tuple[str | None, ...]

    @classmethod
    def parse(cls, text: str) -> "TopicPattern":
        """Read a pattern.

        Raises:
            ValueError: if the pattern cannot be subscribed to as one filter.
        """
        if not text:
            raise ValueError("is empty; wanted a topic such as plant/{asset}/telemetry")
        if len(text.encode()) > 65535 or "\0" in text:
            raise ValueError("is no MQTT topic: too long, or holds a NUL character")
        if text.startswith("$share/"):
            raise ValueError(
                "is a shared subscription; each window needs every message of its asset, "
                "wanted a plain topic"
            )
        levels = tuple(text.split("/"))
        names: list[str | None] = []
        for level in levels:
            if "+" in level or "#" in level:
                raise ValueError(
                    f"has the wildcard {level!r}; wanted a named level instead, such as "
                    "{asset}, {sensor}, {line} or {_}"
                )
            found = _PLACEHOLDER.fullmatch(level)
            if found is None and ("{" in level or "}" in level):
                raise ValueError(f"has the level {level!r}; wanted a placeholder to fill a level")
            names.append(found.group(1) if found else None)
        given = [name for name in names if name is not None and name != "_"]
        for name in given:
            if given.count(name) > 1:
                raise ValueError(f"names {{{name}}} twice")
        return cls(text, levels, tuple(names))

    @property
    def filter(self) -> str:
        """The MQTT topic filter to subscribe to."""
        return "/".join("+" if name else level for level, name in self._pairs())

    @property
    def has_asset(self) -> bool:
        """Whether the topic names the asset."""
        return "asset" in self.names

    @property
    def has_sensor(self) -> bool:
        """Whether each sensor has its own topic."""
        return "sensor" in self.names

    def _pairs(self) -> Iterator[tuple[str, str | None]]:
        return zip(self.levels, self.names, strict=True)

    def match(self, topic: str) -> TopicMatch | None:
        """Read a topic; None where the pattern's filter does not match it."""
        parts = topic.split("/")
        if len(parts) != len(self.levels):
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
            elif name != "_":
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
            if not is_name(value) or (not parts and value.startswith("$")):
                raise ValueError(f"{name} = {value!r} cannot stand in a topic level")
            parts.append(value)
        return "/".join(parts)


def is_name(text: str) -> bool:
    """Whether a text can be an asset's name or a label: one plain, printable topic level."""
    return (
        0 < len(text.encode("utf-8", "replace")) <= MAX_NAME_BYTES
        and text.isprintable()
        and not any(character in "/+#" for character in text)
    )
