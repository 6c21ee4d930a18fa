"""What is known of devices that many have: defaults of a source, under the name of a preset.

`payload = "tasmota"` stands for these keys; what a stream says itself comes first.
"""

from typing import Final, TypedDict


class Preset(TypedDict, total=False):
    """Keys of a source as the configuration has them."""

    payload: str
    topic: str
    asset: str
    time: str
    value: str


PRESETS: Final[dict[str, Preset]] = {
    # zigbee2mqtt.io; with last_seen = "ISO_8601" in its advanced settings, time = "last_seen".
    "zigbee2mqtt": {"payload": "json", "topic": "zigbee2mqtt/{asset}"},
    # tasmota.github.io; its Time is local, so who wants it says timezone too. Sent at QoS 0, a
    # message never comes late or twice, and its arrival is as good.
    "tasmota": {"payload": "json", "topic": "tele/{asset}/SENSOR"},
    # shelly-api-docs.shelly.cloud/gen1: a topic for each value; sensors are called emeter/0/power.
    "shelly": {"payload": "number", "topic": "shellies/{asset}/{sensor#}"},
    # shelly-api-docs.shelly.cloud/gen2: sensors at params.switch:0.apower, as far as they change.
    "shelly2": {"payload": "json", "topic": "{asset}/events/rpc", "time": "params.ts"},
    # esphome.io/components/mqtt
    "esphome": {"payload": "number", "topic": "{asset}/sensor/{sensor}/state"},
    # home-assistant.io/integrations/mqtt_statestream: one house, its entities being the sensors.
    "homeassistant": {"payload": "number", "topic": "homeassistant/{asset}/{sensor}/state"},
    # All of a node's messages are wanted, for their births and their sequence.
    "sparkplug": {
        "topic": "spBv1.0/{group}/{_}/{node}/{device#}",
        "asset": "{node}-{device}",
    },
}
