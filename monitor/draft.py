"""Streams to start from → a commented configuration."""

import json
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any, cast

from monitor.discovery import MOST_TOPICS, Proposal, Survey, proposals
from monitor.payloads import PRESETS
from monitor.shape import LARGEST
from monitor.topics import MAX_NAME_BYTES


def render(survey: Survey, broker: Mapping[str, Any]) -> str:
    """The configuration, with comments; what could not be guessed stands in it as comments too.

    Args:
        survey: what was heard.
        broker: keys of `[mqtt]`; tables of it last.
    """
    found = proposals(list(survey.topics.values()))
    lines = [
        f"# Made by sensor-monitor discover of what {broker['host']} sent: guesses to go on from.",
        "# Look through the sensors, rename the streams, then: sensor-monitor check --config FILE",
        "",
        "[mqtt]",
    ]
    for key, value in broker.items():
        if isinstance(value, dict):
            lines += ["", f"[mqtt.{key}]"]
            lines += [f"{k} = {_text(v)}" for k, v in cast("dict[str, object]", value).items()]
        else:
            lines.append(f"{key} = {_text(value)}")
    used_twice = _shared(found)
    for one in found:
        block = _block(one)
        if _topic(one) in used_twice:
            block.insert(1, "# Other streams here read the same topics, for their other sensors.")
        lines += ["", *(block if one.fault is None else map(_commented, block))]
    used = {heard.topic for one in found for heard in one.heard}
    rest = [topic for topic in survey.topics if topic not in used]
    if rest:
        lines += ["", f"# On {len(rest)} topics no number was found, such as:"]
        lines += [f"#   {_text(topic)}" for topic in sorted(rest)[:10]]
    if survey.left_out:
        lines += [
            "",
            f"# Not looked at: {survey.left_out} messages, of more than {LARGEST} bytes or on more",
            f"# than {MOST_TOPICS} topics.",
        ]
    return "\n".join(lines) + "\n"


def _commented(line: str) -> str:
    return line if line.startswith("#") else f"# {line}"


def _topic(one: Proposal) -> str:
    preset = PRESETS.get(one.keys["payload"], {})
    return str(one.keys.get("topic") or preset.get("topic"))


def _shared(found: list[Proposal]) -> set[str]:
    counts = Counter(map(_topic, found))
    return {topic for topic, count in counts.items() if count > 1}


def _block(one: Proposal) -> list[str]:
    periods = [heard.period for heard in one.heard if heard.period is not None]
    every = f", each about every {median(periods):.3g} s" if periods else ""
    lines = [f"# {len(one.heard)} topics{every}, such as {_text(one.heard[0].topic)}."]
    if one.fault is not None:
        lines.append(f"NOT USED: {_text(one.fault)}")
    elif one.read < len(one.heard):
        lines.append(f"# It reads {one.read} of the newest messages of these {len(one.heard)}.")
    hints = dict.fromkeys(hint for heard in one.heard for hint in heard.shape.hints)
    lines += [f"# {_printable(hint)}" for hint in hints]
    if one.nameless:
        lines.append(
            f"# Left out: {len(one.nameless)} numbers whose names are not printable or longer than "
            f"{MAX_NAME_BYTES} bytes, such as {_text(one.nameless[0][:MAX_NAME_BYTES])}."
        )
    if one.fault is None and "time" not in one.keys and one.keys["payload"] in ("json", "csv"):
        lines.append("# No time key: readings count as of their arrival.")
    lines.append("[[stream]]")
    lines += [f"{key} = {_text(value)}" for key, value in one.keys.items()]
    lines.append("[stream.sensors]")
    for name, (path, text) in one.sensors.items():
        more = ", text = true" if text else ""
        lines.append(f"{_text(name)} = {{ path = {_text(path)}{more} }}")
    return lines


def _text(value: object) -> str:
    """A value of TOML; what was heard cannot end its line."""
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """A text on one line, its control characters as TOML escapes them."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in text)
