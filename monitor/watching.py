"""A broker, listened to for a while: nothing is sent, and nothing of ours stays there."""

import os
import threading
import time

from monitor.config import MqttConfig
from monitor.daemon import BATCH, WAIT, link_settings
from monitor.discovery import Survey
from monitor.link import Link
from monitor.recorder import CONNECT_SECONDS


def watch(mqtt: MqttConfig, seconds: float, stop: threading.Event) -> Survey:
    """Look at every message but the broker's own and the retained ones.

    Raises:
        BrokerUnavailable: if there is no broker, or it does not let us listen to all.
    """
    settings = link_settings(mqtt, f"sensor-monitor-{os.getpid()}")
    link, survey = Link(settings, filters=["#"]), Survey()
    link.start()
    try:
        link.require_ready(CONNECT_SECONDS, " that lets us listen to all topics")
        end = time.monotonic() + seconds
        while not stop.is_set() and (left := end - time.monotonic()) > 0:
            messages = link.receive(min(WAIT, left), BATCH)
            for message in messages:
                if not message.retained:
                    survey.take(message)
            link.acknowledge(len(messages))
        return survey
    finally:
        link.stop(timeout=1.0)
