"""What makes the figures of some recordings worth less than they look, in sentences."""

from collections.abc import Sequence

from models.detector import Detector
from models.judgement import Judgement
from models.recording import Track
from models.words import count, percent

# Of so many frames without a score a reader has to know.
MUCH_UNSCORED = 0.1


def warnings(found: Judgement, names: Sequence[str]) -> list[str]:
    """What makes the figures worth less than they look, or others than they seem."""
    own = found.own.pooled
    seen, unscored = own["rows_seen_in_training"] or 0, own["unscored_ratio"] or 0
    without = sum(one.label is None for one in found.frames)
    said = {
        f"{count(int(seen), 'row')} of these recordings were trained or calibrated on: judge the "
        "bundle on others.": seen,
        f"{percent(unscored)} of the frames could not be scored and count for nothing.": unscored
        >= MUCH_UNSCORED,
        f"{without} of {count(len(names), 'file')} have no labels: what needs labels is of the "
        "others.": found.labelled and without,
        "This bundle has no pca baseline to compare with; one that is fitted now has.": (
            found.pca is None
        ),
    }
    unlike = unlike_the_monitor(found.detector, [one.track for one in found.tracks])
    return [*(text for text, holds in said.items() if holds), *unlike]


def unlike_the_monitor(detector: Detector, tracks: Sequence[Track]) -> list[str]:
    """What of some recordings the monitor would not have told, or seen otherwise."""
    assets = {track.asset for track in tracks}
    strangers = sorted(name for name in assets if not detector.calibration.covers(name))
    late = sum(track.late for track in tracks)
    said = {
        f"{count(len(strangers), 'asset')} without a calibration of its own "
        f"({', '.join(strangers[:5])}): scored with the default; the monitor does not alert on it "
        "unless told to.": strangers,
        f"{count(late, 'row')} out of the order of time and too late for a frame: not used.": late,
    }
    return [text for text, holds in said.items() if holds]
