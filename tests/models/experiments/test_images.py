import gzip
from pathlib import Path

import numpy as np
import pytest

from models.experiments.images import ImagesError, read

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def idx(array: np.ndarray, magic: int) -> bytes:
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return magic.to_bytes(4, "big") + shape + array.astype(np.uint8).tobytes()


def files(train: int = 30, test: int = 10) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    found: dict[str, bytes] = {}
    for part, count in (("train", train), ("t10k", test)):
        pixels = rng.integers(0, 256, (count, 28, 28))
        found[f"{part}-images-idx3-ubyte"] = idx(pixels, 0x803)
        found[f"{part}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, count), 0x801)
    return found


def written(folder: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_the_four_files_are_read_with_gz_and_without(tmp_path: Path, zipped: bool) -> None:
    content = files()
    if zipped:
        content = {f"{name}.gz": gzip.compress(data) for name, data in content.items()}

    train, test = read(written(tmp_path, content))

    assert (train.pixels.shape, test.pixels.shape) == ((30, 28, 28), (10, 28, 28))
    assert (len(train), len(test)) == (30, 10)
    assert train.pixels.tobytes() == files()[NAMES[0]][16:]
    assert train.labels.tobytes() == files()[NAMES[1]][8:]


def test_a_folder_that_lacks_a_file_is_refused_with_the_four_that_are_wanted(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder; wanted .*t10k-labels-idx1-ubyte"):
        read(tmp_path / "none")
    content = files()
    del content[NAMES[1]]
    with pytest.raises(FileNotFoundError, match=f"{NAMES[1]}: no such file, nor with .gz; wanted"):
        read(written(tmp_path, content))


@pytest.mark.parametrize("name", files())
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    written(tmp_path, {**files(), f"{name}.gz": gzip.compress(files()[name])})

    with pytest.raises(ImagesError, match=f"holds both {name} and {name}.gz; wanted one of them"):
        read(tmp_path)


IMAGES, LABELS = files()[NAMES[0]], files()[NAMES[1]]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (NAMES[0], b"", "is cut off within its header, after 0 bytes; wanted 16 and images"),
        (NAMES[0], LABELS, "begins with 00 00 08 01; wanted 00 00 08 03, images"),
        (NAMES[1], IMAGES, "begins with 00 00 08 03; wanted 00 00 08 01, labels"),
        (NAMES[0], IMAGES[:-1], r"holds 23519 bytes of images; wanted 23520.*30 × 28 × 28"),
        (NAMES[0], IMAGES + b"\0", "holds 23521 bytes"),
        (NAMES[0], IMAGES[:6], "is cut off within its header, after 6 bytes; wanted 16"),
        (NAMES[1], LABELS[:7], "is cut off within its header, after 7 bytes; wanted 8 and labels"),
        (NAMES[0], IMAGES[:4] + b"\xff" * 12, "wanted 79228162458924105385300197375"),
        (NAMES[0], idx(np.empty((0, 28, 28)), 0x803), r"holds no images \(0 × 28 × 28\)$"),
        (NAMES[0], idx(np.zeros((30, 32, 32)), 0x803), "32 × 32 pixels; wanted 28 × 28"),
        (NAMES[1], idx(np.zeros(29), 0x801), "29 labels; wanted 30"),
        (NAMES[1], idx(np.full(30, 10), 0x801), "a label 10; wanted 0 to 9"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_in_words(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(ImagesError, match=f"{name}: {message}|{message}"):
        read(written(tmp_path, {**files(), name: data}))


@pytest.mark.parametrize("data", [gzip.compress(IMAGES)[:-20], b"nonsense", b"\x1f\x8b"])
def test_a_broken_gzip_file_is_refused_in_words(tmp_path: Path, data: bytes) -> None:
    content = files()
    del content[NAMES[0]]

    with pytest.raises(ImagesError, match="is no whole gzip file"):
        read(written(tmp_path, {**content, f"{NAMES[0]}.gz": data}))
