"""The topic filters that our session at the broker may have, kept from run to run.

A broker that keeps a session keeps its subscriptions too: a filter that is no longer configured
would go on sending messages, unless it is unsubscribed.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

FILE = "subscriptions.json"
MOST = 1000  # filters kept, the newest

log = structlog.get_logger(__name__)


def stale(folder: Path, filters: Sequence[str]) -> tuple[str, ...]:
    """Filters of earlier runs that are not among those of this one, which are kept for the next.

    Without a folder to write to there is a warning, and none are known.
    """
    path = folder / FILE
    try:
        known = _known(path)
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        kept = [name for name in known if name not in filters] + [*filters]
        draft.write_bytes(msgspec.json.encode(kept[-MOST:]))
        draft.replace(path)
    except OSError as error:
        log.warning("topics of earlier runs stay subscribed", file=str(path), why=error.strerror)
        return ()
    return tuple(name for name in known if name not in filters)


def _known(path: Path) -> list[str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except (FileNotFoundError, ValueError):
        return []
