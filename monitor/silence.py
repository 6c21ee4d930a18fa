"""No-data: who has been silent for longer than is usual of them; it counts the time of arrival."""

import numpy as np

from models.detector import Detector
from models.frame import FOREVER, NEVER, SECOND, Bools, Ints, grown
from models.recording import iso
from monitor.alert import MOST_SENSORS, Alert, AlertRules, duration
from monitor.cases import Casebook, Finding
from monitor.channels import Channels
from monitor.keys import Keys
from monitor.reading import AssetTable

# Nothing is told of a silence that is shorter.
MINUTE = 60 * SECOND
# Silent for so many of the longest usual pauses. Where readings come at random, the longest of the
# last 16 pauses is about three mean ones, and a pause of 15 mean ones comes once in 3 million.
PATIENCE = 5
# Where the messages that lack a sensor have a key they did not have while it came, this is enough.
SOONEST, LESS_PATIENCE = 10 * SECOND, 2
# After a pause shorter than the usual one, the usual one is less by this part of the difference.
FORGETS = 16
# Who has not looked for so long has not listened.
BLINK = 10 * SECOND


class Silence:
    """Who is silent among all assets of a stream; memory per asset is constant.

    Args:
        stream: its name.
        channels: its sensors.
        assets: its table of assets.
        rules: when an open alert is told again, and when it expires.
        keys: of the assets' payloads; None = they are not known.

    Attributes:
        gone: assets of which nothing has come for longer than their patience, shape (assets,).
        book, together: the alerts of assets, and that of the stream as a whole.
    """

    def __init__(
        self,
        stream: str,
        channels: Channels,
        assets: AssetTable,
        rules: AlertRules,
        keys: Keys | None = None,
    ) -> None:
        sensors = len(channels.names)
        self._channels = channels
        self._assets = assets
        self._keys = keys or Keys((), channels.names)
        self._heard = np.empty((0, sensors), np.int64)  # arrival of the newest reading
        self._pause = np.empty((0, sensors), np.int64)  # the usual one between two; 0 = unknown
        self._least = np.empty(0, np.int64)  # patience at least; 0 = not known what to expect
        self._mute = np.empty((0, sensors), bool)  # whose silence has been told of
        self._named = np.empty((0, sensors), bool)  # whose new key has been told of
        self._together = np.empty(0, bool)  # whose silence the whole stream's alert tells of
        self._listening = NEVER  # since when
        self._looked = NEVER
        self.gone = np.empty(0, bool)
        back = "{names}: readings come again"
        self.book = Casebook("no-data", back, stream, sensors, assets, rules, rules.expire)
        again = "most of the silent assets are heard again"
        self.together = Casebook("no-data", again, stream, 1, None, rules, rules.expire)

    @property
    def told(self) -> Bools:
        """Assets that an open alert says to lack readings, shape (assets,)."""
        out = np.zeros(len(self._least), bool)
        out[list(self.book.lives)] = True
        return out

    def admit(self, asset: Ints, detector: Detector | None, patience: int) -> None:
        """Get to know some assets.

        Args:
            asset: indices that are new.
            detector: that scores them; None = nobody knows what to expect of them.
            patience: nanoseconds after which they count as having no data.
        """
        if len(asset) and asset.max() >= len(self._least):
            rows = max(int(asset.max()) + 1, 2 * len(self._least), 16)
            self._heard, self._pause = grown(self._heard, rows, NEVER), grown(self._pause, rows, 0)
            self._least = grown(self._least, rows, 0)
            self.gone = grown(self.gone, rows, 0)
            self._together = grown(self._together, rows, 0)
            self._mute = grown(self._mute, rows, 0)
            self._named = grown(self._named, rows, 0)
        if detector is not None:
            self._least[asset] = max(MINUTE, patience, PATIENCE * detector.grid.period)

    def hear(self, asset: Ints, there: Bools, arrival: Ints) -> None:
        """Readings have arrived.

        Args:
            asset: shape (rows,).
            there: whether a row has a reading of a sensor, shape (rows, sensors).
            arrival: of each row, ascending, shape (rows,).
        """
        row, sensor = np.nonzero(there)
        row, sensor = row[::-1], sensor[::-1]  # of several rows of a cell the first is written last
        at = asset[row], sensor
        last, came = self._heard[at], arrival[row]
        pause = came - np.maximum(last, self._listening)
        pause, usual = np.where(last == NEVER, 0, pause), self._pause[at]
        # An outage that was told of is hardly a habit: the next one is to be told of as well.
        patience = np.maximum(self._least[at[0]], np.maximum(MINUTE, PATIENCE * usual))
        outage = (usual > 0) & (pause > patience)
        pause = np.where(outage, np.maximum(2 * usual, MINUTE // PATIENCE), pause)
        calmer = usual - (usual - pause) // FORGETS
        self._pause[at] = np.where(pause > usual, pause, np.where(pause > 0, calmer, usual))
        np.maximum.at(self._heard, at, came)
        # Of a sensor that a model wants and that has never come, silence begins with its asset.
        lacks = (self._heard[asset] == NEVER).any(axis=1) & (self._least[asset] > 0)
        fresh, since = asset[lacks], arrival[lacks, None]
        self._heard[fresh] = np.where(self._heard[fresh] == NEVER, since, self._heard[fresh])

    def look(self, now: int, listening_since: int) -> list[Alert]:
        """Notice who is silent, once a second.

        Args:
            now: nanoseconds.
            listening_since: as of the pipeline.
        """
        if now - self._looked < SECOND:
            return []
        self._listening = max(self._listening, listening_since if listening_since < now else NEVER)
        if now - self._looked > BLINK or listening_since > now:
            self._listening = now
        self._looked = now
        n = len(self._assets.names)
        heard, pause, least = self._heard[:n], self._pause[:n], self._least[:n, None]
        patience = np.maximum(np.maximum(MINUTE, least), PATIENCE * pause)
        patience[(pause == 0) & (least == 0)] = FOREVER
        unheard = now - heard
        silence = now - np.maximum(heard, self._listening)
        soonest = patience.min(axis=1)
        gone = silence.min(axis=1) > soonest
        # What we have not listened to begins no silence, and ends none.
        still = unheard.min(axis=1) > soonest
        self.gone[:n] = gone | (self.gone[:n] & still)
        known = heard != NEVER
        self._keys.look(now)
        sooner = np.minimum(patience, np.maximum(SOONEST, LESS_PATIENCE * pause))
        sooner = np.where(known & (pause > 0), sooner, patience)
        renamed = known & (pause > 0) & (self._keys.since(n)[:, None] >= heard)
        affected = (known & (silence > np.where(renamed, sooner, patience))) | gone[:, None]
        affected |= self._mute[:n] & ((known & (unheard > sooner)) | still[:, None])
        quiet = (2 * silence.min(axis=1) > soonest) & (soonest < FOREVER)
        out, together = self._look_at_all(now, gone, quiet | (self._together[:n] & still))
        affected &= ~together[:, None]
        self._mute[:n] = affected
        renamed &= affected
        news = (renamed & ~self._named[:n]).any(axis=1)
        self._named[:n] = affected & (self._named[:n] | renamed)

        def find(i: int) -> Finding:
            return self._silence(i, affected[i], renamed[i])

        return out + self.book.step(np.arange(n), np.full(n, now), affected, find, news)

    def _look_at_all(self, now: int, gone: Bools, quiet: Bools) -> tuple[list[Alert], Bools]:
        """More than half of the stream silent at once is one alert, and none for each asset."""
        alone = self._mute[: len(gone)].all(axis=1)  # told of already, each by itself
        quiet, others, was_open = quiet & ~alone, int((~alone).sum()), bool(self.together.lives)
        many = int(quiet.sum())
        most = many > 1 and 2 * many > others and (was_open or bool((gone & quiet).any()))
        self._together[: len(gone)] = quiet & most
        if was_open and not most:
            self._listening = now  # those still silent are told of, each after its own patience
        which: list[int] = np.flatnonzero(quiet)[:MOST_SENSORS].tolist()
        names = [self._assets.names[i] for i in which]
        more = ", …" if many > len(names) else ""

        def find(_: int) -> Finding:
            onset = int(self._heard[: len(quiet)][quiet].max(axis=1).min())
            return Finding(
                onset,
                (),
                f"{many} of {others} assets have been silent since {iso(onset)} "
                f"({', '.join(names)}{more}): look for what they have in common.",
            )

        here = np.zeros(1, np.int64), np.array([now]), np.array([[most]])
        return self.together.step(*here, find), quiet & (most or was_open)

    def _silence(self, index: int, affected: Bools, renamed: Bools) -> Finding:
        which, everything = np.flatnonzero(affected), bool(self.gone[index])
        heard = self._heard[index]
        onset = int(heard[which].max() if everything else heard[which].min())
        usual = int(self._pause[index, which].min())
        often = f"; a reading usually comes every {duration(usual)}" if usual >= SECOND else ""
        who = "no sensor" if everything else ", ".join(self._channels.names[j] for j in which)
        says = "has sent a usable reading" if everything else "has been silent"
        others = "" if everything or affected.all() else ", while others come"
        if renamed.any():
            moved = np.flatnonzero(renamed)
            new = self._keys.words(index, moved, int(heard[moved].min()))
            often = f"; {new}" if new else often
        return Finding(
            onset,
            self._channels.evidence(which),
            f"{who} {says} since {iso(onset)}{others}{often}.",
        )
