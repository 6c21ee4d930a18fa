"""What was heard on a broker → streams to start from: guesses, each tried on messages."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from models.frame import SECOND
from models.recording import IGNORED_BY_DEFAULT, NOT_SENSORS
from monitor.config import AlertsConfig, StreamConfig
from monitor.errors import SensorMonitorError
from monitor.payloads import PRESETS
from monitor.reading import Message, MessageOutcome
from monitor.shape import LARGEST, MOST_FIELDS, Shape, shape_of
from monitor.stream import Stream
from monitor.topics import is_word

MOST_TOPICS = 2000
ALIKE = 0.5  # share of fields that two topics of a stream have in common at least
# Levels that say what is sent, not by whom.
_GENERIC = re.compile(
    r"(?i)|telemetry|tele|stat|state|status|data|sensors?|values?|measurements?|json|events?|rpc"
    r"|\d{1,3}|.*:\d+"
)


@dataclass(slots=True)
class Heard:
    """One topic.

    Args:
        topic: its name.
        shape: of its payloads, all fields together.
        message: the newest one.
        first: arrival of the first message, nanoseconds.
        count: of its messages.
    """

    topic: str
    shape: Shape
    message: Message
    first: int
    count: int = 1

    @property
    def levels(self) -> list[str]:
        """The topic's levels."""
        return self.topic.split("/")

    @property
    def period(self) -> float | None:
        """Mean seconds between messages."""
        steps = self.count - 1
        return (self.message.arrival - self.first) / SECOND / steps if steps else None


class Survey:
    """What is on a broker; of bounded size.

    Attributes:
        topics: heard, by name.
        left_out: messages on topics beyond the most, or larger than is looked at.
    """

    def __init__(self) -> None:
        self.topics: dict[str, Heard] = {}
        self.left_out = 0

    def take(self, message: Message) -> None:
        """Look at one message; what a daemon tells of its assets is nothing to watch."""
        if message.topic.startswith(f"{AlertsConfig().prefix}/"):
            return
        known = self.topics.get(message.topic)
        full = known is None and len(self.topics) >= MOST_TOPICS
        if full or len(message.payload) > LARGEST:
            self.left_out += 1
            return
        shape = shape_of(message.topic, message.payload)
        if known is None:
            self.topics[message.topic] = Heard(message.topic, shape, message, message.arrival)
            return
        known.count += 1
        if shape.form and known.shape.form in ("", shape.form):
            room = MOST_FIELDS - len(known.shape.fields)
            fresh = [item for item in shape.fields.items() if item[0] not in known.shape.fields]
            shape.fields = known.shape.fields | dict(fresh[:room])
            known.shape = shape
        known.message = message


@dataclass(frozen=True, slots=True)
class Proposal:
    """A stream to start from.

    Args:
        keys: as `[[stream]]` has them, without its sensors.
        sensors: paths by name, and whether the payload has them as text.
        heard: the topics that it was made of.
        nameless: numbers that are left out, for no sensor can be called so.
        read: how many of their newest messages it reads.
        fault: why it cannot be configured so, or None.
    """

    keys: dict[str, Any]
    sensors: dict[str, tuple[str, bool]]
    heard: tuple[Heard, ...]
    nameless: tuple[str, ...] = ()
    read: int = 0
    fault: str | None = None


def proposals(topics: Sequence[Heard]) -> list[Proposal]:
    """Streams for what was heard, tried on the newest message of each topic."""
    groups: dict[tuple[object, ...], list[tuple[Set[str], list[Heard]]]] = {}
    # By topic, which has Sparkplug's births before the data that they name.
    for one in sorted(topics, key=lambda heard: heard.topic):
        if not one.shape.form or not (one.shape.fields or one.shape.form == "sparkplug"):
            continue
        preset = _preset(one)
        levels = one.levels
        by = (
            (preset,)
            if preset
            else (one.shape.form, len(levels), levels[0] if len(levels) > 1 else "")
        )
        clusters = groups.setdefault(by, [])
        mine = frozenset(one.shape.fields)
        for fields, cluster in clusters:
            if _of_one_kind(cluster[0], one) or _alike(fields, mine):
                cluster.append(one)
                break
        else:
            clusters.append((mine, [one]))
    found: list[Proposal] = []
    names: set[str] = set()
    for clusters in groups.values():
        found += [_tried(_proposal(cluster, names)) for _, cluster in clusters]
    return found


def _preset(heard: Heard) -> str | None:
    levels, form = heard.levels, heard.shape.form
    known = {
        "tasmota": form == "json" and len(levels) == 3 and levels[::2] == ["tele", "SENSOR"],
        "zigbee2mqtt": form == "json" and len(levels) == 2 and levels[0] == "zigbee2mqtt",
        "shelly": form == "number" and len(levels) > 2 and levels[0] == "shellies",
        "shelly2": form == "json" and len(levels) == 3 and levels[1:] == ["events", "rpc"],
        "homeassistant": form == "number"
        and len(levels) == 4
        and levels[0] + levels[3] == "homeassistantstate",
        "esphome": form == "number" and len(levels) == 4 and levels[1::2] == ["sensor", "state"],
        "sparkplug": form == "sparkplug",
    }
    return next((name for name, fits in known.items() if fits), None)


def _of_one_sensor(heard: Heard) -> bool:
    """Whether the topic must say which sensor it is."""
    return heard.shape.form == "number" or "value" in heard.shape.keys


def _of_one_kind(one: Heard, other: Heard) -> bool:
    """Whether topics belong together whatever their fields."""
    return one.shape.form == "sparkplug" or (_of_one_sensor(one) and _of_one_sensor(other))


def _alike(mine: Set[str], theirs: Set[str]) -> bool:
    both = len(mine & theirs)
    return both >= ALIKE * (len(mine) + len(theirs) - both)


def _proposal(cluster: list[Heard], names: set[str]) -> Proposal:
    first = cluster[0]
    preset = _preset(first)
    words: dict[str, tuple[str, bool]]
    if preset:
        keys: dict[str, Any] = {"payload": preset}
        topic = str(PRESETS[preset].get("topic", ""))
    else:
        keys = {"payload": first.shape.form}
        topic, more = _pattern(cluster)
        keys |= {"topic": topic} | more
    parts = topic.split("/")
    at = next((i for i, part in enumerate(parts) if part.startswith("{sensor")), None)
    if at is not None:
        end = None if parts[at] == "{sensor#}" else at + 1
        words = {"/".join(one.levels[at:end]): ("", False) for one in cluster}
        words = {name: (name, False) for name in words}
        keys |= first.shape.keys
    else:
        paths = {p: t for one in cluster for p, t in one.shape.fields.items()}
        paths = dict(islice(paths.items(), MOST_FIELDS))
        count = Counter(map(_last, paths))
        words = {_name(path, count): (path, text) for path, text in paths.items()}
        for one in cluster:
            keys |= one.shape.keys
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"\{[^}]*\}|<[^>]*>", "", preset or topic))
    base = re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", base)[:50] or "stream"
    name, number = base, 2
    while name in names:
        name, number = f"{base}-{number}", number + 1
    names.add(name)
    nameless = tuple(word for word in words if not is_word(word))
    words = {word: found for word, found in words.items() if is_word(word)}
    sensors = dict(islice(words.items(), MOST_FIELDS))
    return Proposal({"name": name} | keys, sensors, tuple(cluster), nameless)


def _pattern(cluster: list[Heard]) -> tuple[str, dict[str, Any]]:
    """The topic of some topics of equal length, and how the asset is called."""
    columns = list(zip(*(one.levels for one in cluster), strict=True))
    varied = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    levels = [column[0] for column in columns]
    sensor: int | None = None
    if _of_one_sensor(cluster[0]):
        sensor = len(levels) - 1 if not varied or len(levels) - 1 in varied else varied[-1]
        if len(varied) == 1 and varied[0] < len(levels) - 1:
            sensor = len(levels) - 1
    free = [i for i in range(len(levels)) if i != sensor]
    if not free:
        return "{sensor}", {}
    among = [i for i in varied if i != sensor] or [
        i for i in free if not _GENERIC.fullmatch(levels[i])
    ]
    asset = max(among or free, key=lambda i: (len(set(columns[i])), i))
    others = [i for i in varied if i not in (asset, sensor)]
    for i in others:
        levels[i] = f"{{level{i + 1}}}"
    levels[asset] = "{asset}"
    if sensor is not None:
        levels[sensor] = "{sensor}"
    more: dict[str, Any] = {}
    owners = {(one.levels[asset], *(one.levels[i] for i in others)) for one in cluster}
    if len(owners) > len(set(columns[asset])):
        more["asset"] = "-".join([*(levels[i] for i in others), "{asset}"])
    return "/".join(levels), more


def _last(path: str) -> str:
    return path.replace('"', "").rsplit(".", 1)[-1]


def _name(path: str, count: Mapping[str, int]) -> str:
    """The last key of a path where that says enough, else all of it."""
    short = _last(path)
    lonely = count[short] == 1
    reserved = short in NOT_SENSORS or short in IGNORED_BY_DEFAULT or "[" in short
    if lonely and not reserved and short.lower() not in ("value", "v"):
        return short
    whole = path.replace('"', "")
    return f"{whole}_" if whole in NOT_SENSORS or whole in IGNORED_BY_DEFAULT else whole


def _tried(proposal: Proposal) -> Proposal:
    """The proposal with what comes of it."""
    keys, sensors, heard = proposal.keys, proposal.sensors, proposal.heard
    tables = {name: {"path": path, "text": text} for name, (path, text) in sensors.items()}
    fault, read = None, 0
    try:
        if not tables and proposal.nameless:
            raise ValueError("no number here has a name that a sensor can have")
        if not tables:
            raise ValueError(
                "no birth was heard, which names the metrics; ask its nodes for a rebirth meanwhile"
            )
        config = StreamConfig.model_validate(keys | {"sensors": tables})
        stream = Stream(config, AlertsConfig(), {})
        for one in heard:
            stream.take([one.message], one.message.arrival)
        read = int(stream.books.outcomes[MessageOutcome.ACCEPTED])
        if not read:
            fault = "none of the messages heard can be read so"
    except ValidationError as error:
        fault = str(error.errors()[0]["msg"])
    except (ValueError, SensorMonitorError) as error:
        fault = str(error)
    return replace(proposal, read=read, fault=fault)
