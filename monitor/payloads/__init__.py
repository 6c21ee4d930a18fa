"""Payload formats: bytes → samples. One file each, and one line in FORMATS."""

from typing import Final

from monitor.payloads.csv import decoder as csv
from monitor.payloads.influx import decoder as influx
from monitor.payloads.json import decoder as json
from monitor.payloads.msgpack import decoder as msgpack
from monitor.payloads.number import decoder as number
from monitor.payloads.presets import PRESETS
from monitor.payloads.sample import Decoder, Field, Format, Layout
from monitor.payloads.senml import decoder as senml
from monitor.payloads.sparkplug import decoder as sparkplug

FORMATS: Final[dict[str, Format]] = {
    "json": json,
    "number": number,
    "csv": csv,
    "senml": senml,
    "influx": influx,
    "msgpack": msgpack,
    "sparkplug": sparkplug,
}
# Their payloads have keys beside those that are read.
DOCUMENTS: Final = ("json", "msgpack")
# Their payloads say the time themselves; elsewhere it stands at a path, if anywhere.
TIMED: Final = ("senml", "influx", "sparkplug")

__all__ = ["DOCUMENTS", "FORMATS", "PRESETS", "TIMED", "Decoder", "Field", "Format", "Layout"]
