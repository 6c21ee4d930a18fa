"""MNIST and Fashion-MNIST: four IDX files (Yann LeCun's format), gzipped or not."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

SIDE = 28
# The type code of unsigned bytes, then the number of dimensions.
MAGIC = {"images": 0x00000803, "labels": 0x00000801}
LARGEST = 1 << 28
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


class ImagesError(ValueError):
    """Image files that cannot be used: one message naming the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Images:
    """A set of labelled grey images.

    Args:
        pixels: 0 to 255, shape (images, 28, 28).
        labels: 0 to 9, shape (images,).
    """

    pixels: Bytes
    labels: Bytes

    def __len__(self) -> int:
        return len(self.labels)


def read(folder: Path) -> tuple[Images, Images]:
    """The images to train on and those to test on.

    Raises:
        FileNotFoundError: if the folder or one of its four files is missing.
        ImagesError: if a file is not what its name says, is there twice, or does not fit another.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {wanted(folder)}")
    return _read_part(folder, "train"), _read_part(folder, "t10k")


def wanted(folder: Path) -> str:
    """Which four files to put where."""
    names = ", ".join(f"{part}-{kind}" for part in ("train", "t10k") for kind in _ENDINGS.values())
    return f"wanted MNIST's or Fashion-MNIST's four files in {folder}: {names}, with .gz or without"


_ENDINGS = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}


def _read_part(folder: Path, part: str) -> Images:
    paths = {kind: _find(folder, f"{part}-{ending}") for kind, ending in _ENDINGS.items()}
    pixels, labels = (_read_idx(path, kind) for kind, path in paths.items())
    if len(pixels) != len(labels):
        raise ImagesError(
            f"{paths['labels']}: has {len(labels)} labels; wanted {len(pixels)}, one for each "
            f"image of {paths['images'].name}"
        )
    if pixels.shape[1:] != (SIDE, SIDE):
        rows, columns = pixels.shape[1:]
        raise ImagesError(
            f"{paths['images']}: has images of {rows} × {columns} pixels; wanted {SIDE} × {SIDE}"
        )
    if labels.max() > 9:
        raise ImagesError(f"{paths['labels']}: has a label {labels.max()}; wanted 0 to 9")
    return Images(pixels, labels)


def _find(folder: Path, name: str) -> Path:
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise FileNotFoundError(f"{folder / name}: no such file, nor with .gz; {wanted(folder)}")
    if len(found) > 1:
        raise ImagesError(f"{folder}: holds both {name} and {name}.gz; wanted one of them")
    return found[0]


def _read_idx(path: Path, kind: str) -> Bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                data = file.read(LARGEST)
        else:
            with path.open("rb") as file:
                data = file.read(LARGEST)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ImagesError(f"{path}: is no whole gzip file ({error})") from None
    begin, dimensions = MAGIC[kind].to_bytes(4, "big"), MAGIC[kind] & 0xFF
    if len(data) >= 4 and data[:4] != begin:
        raise ImagesError(
            f"{path}: begins with {data[:4].hex(' ')}; wanted {begin.hex(' ')}, {kind} in the IDX "
            "format"
        )
    head = 4 + 4 * dimensions
    if len(data) < head:
        raise ImagesError(
            f"{path}: is cut off within its header, after {len(data)} bytes; wanted {head} and "
            f"{kind}"
        )
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, head, 4)]
    body, size = len(data) - head, int(np.prod(shape, dtype=object))
    told = " × ".join(map(str, shape))
    if body != size:
        raise ImagesError(
            f"{path}: holds {body} bytes of {kind}; wanted {size}, as its header says ({told})"
        )
    if not size:
        raise ImagesError(f"{path}: holds no {kind} ({told})")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
