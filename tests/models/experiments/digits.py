"""scikit-learn's digits, 8 × 8 pixels, as IDX files of 28 × 28: real images without a download."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

TRAIN = 720  # a twelfth of them is held out
TEST = 120
MAGIC = {"images": 0x803, "labels": 0x801}


def write_digits(folder: Path, train: int = TRAIN, test: int = TEST) -> Path:
    """Write the four files."""
    found: Any = load_digits()
    pixels = (found.images * 255 / 16).round().astype(np.uint8).repeat(3, 1).repeat(3, 2)
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    labels = found.target.astype(np.uint8)
    folder.mkdir(exist_ok=True)
    for part, rows in (("train", slice(train)), ("t10k", slice(train, train + test))):
        write_idx(folder / f"{part}-images-idx3-ubyte", pixels[rows], MAGIC["images"])
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels[rows], MAGIC["labels"])
    return folder


def write_idx(path: Path, array: np.ndarray, magic: int) -> None:
    """Write one IDX file."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(magic.to_bytes(4, "big") + sizes + array.tobytes())
