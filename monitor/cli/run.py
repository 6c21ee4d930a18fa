"""sensor-monitor run."""

import gc
import signal
from types import FrameType

import structlog

from monitor import config as configuration
from monitor.cli.common import ConfigPath, stop_event
from monitor.stream import filters_of, open_streams


def run(config: ConfigPath) -> None:
    """Watch the configured streams, in the foreground, until told to stop.

    Example: sensor-monitor run --config plant.toml
    """
    from monitor import subscriptions
    from monitor.daemon import Daemon

    loaded = configuration.load(config)
    streams = open_streams(loaded)
    for stream in streams:
        if not stream.detectors:
            structlog.get_logger("sensor_monitor").warning(
                "STREAM IS NOT SCORED", stream=stream.name
            )
    stale = subscriptions.stale(loaded.state.directory, filters_of(streams))
    daemon = Daemon(loaded, streams, stale=stale)
    stop = stop_event()

    def no_reload(number: int, frame: FrameType | None) -> None:
        del number, frame
        structlog.get_logger("sensor_monitor").warning(
            "SIGHUP: the configuration is read at the start only; restart to read it again"
        )

    signal.signal(signal.SIGHUP, no_reload)
    gc.freeze()  # what there is by now stays; the collector need not look through it again
    daemon.run(stop)
