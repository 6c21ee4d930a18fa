"""The images of an experiment: what is trained on, watched while training, and tested on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from models.experiments.images import FASHION, Images, read

MNIST, FASHION_MNIST = "MNIST", "Fashion-MNIST"
# Of the training images' pixels.
_KNOWN: Final = {
    "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757": MNIST,
    "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012": FASHION_MNIST,
}
# The last images of the training set, as in the notebook behind the lecture: 5,000 of 60,000.
HELD_OUT = 1 / 12
# Of a quick run: to train on; to watch and to test on each.
QUICK = 2000, 500


@dataclass(frozen=True, slots=True)
class Data:
    """A data set in three parts.

    Args:
        name: `MNIST`, `Fashion-MNIST`, or its folder's.
        train: to learn from.
        validation: to measure losses on.
        test: seen only at the end.
    """

    name: str
    train: Images
    validation: Images
    test: Images

    @property
    def all_to_train(self) -> Images:
        """Those to learn from and those held out, as the files have them."""
        parts = self.train, self.validation
        return Images(
            np.concatenate([one.pixels for one in parts]),
            np.concatenate([one.labels for one in parts]),
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each label stands for."""
        return FASHION if self.name == FASHION_MNIST else tuple("0123456789")


def read_data(folder: Path, *, quick: bool = False) -> Data:
    """The images of a folder with the four IDX files.

    Args:
        folder: where they are.
        quick: take only a slice of each part.

    Raises:
        FileNotFoundError, ImagesError: as `read` does.
    """
    train, test = read(folder)
    name = _KNOWN.get(hashlib.sha256(train.pixels.tobytes()).hexdigest(), folder.resolve().name)
    first = len(train) - max(1, round(len(train) * HELD_OUT))
    most, few = QUICK if quick else (len(train), len(train))
    return Data(
        name,
        _part(train, 0, min(first, most)),
        _part(train, first, first + few),
        _part(test, 0, few),
    )


def _part(images: Images, start: int, end: int) -> Images:
    return Images(images.pixels[start:end], images.labels[start:end])
