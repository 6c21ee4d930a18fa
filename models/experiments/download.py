"""MNIST and Fashion-MNIST from where they are kept, checked against their known SHA-256."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 16


class DownloadError(ValueError):
    """A file that could not be fetched, or is not the one it was: one message."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where four files are, and what they have to be.

    Args:
        title: of the data set.
        url: of the folder.
        files: SHA-256 by name.
        size: of all four, in bytes.
    """

    title: str
    url: str
    files: dict[str, str]
    size: int


SOURCES: Final[dict[str, Source]] = {
    "mnist": Source(
        "MNIST",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        {
            "train-images-idx3-ubyte.gz": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            "train-labels-idx1-ubyte.gz": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
        11_594_722,
    ),
    "fashion-mnist": Source(
        "Fashion-MNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        },
        30_878_645,
    ),
}


def fetch(folder: Path, source: Source, progress: Callable[[int, int], None]) -> None:
    """Download the files that a folder lacks; each appears in it whole and checked, or not at all.

    Args:
        folder: to write to; made where it is missing.
        source: which.
        progress: called with the bytes so far and those of all four files.

    Raises:
        DownloadError: if a file cannot be reached, or is not the one it was.
        OSError: if one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for name, wanted in source.files.items():
        place = folder / name
        if place.exists():
            if hashlib.sha256(place.read_bytes()).hexdigest() != wanted:
                raise DownloadError(f"{place}: is another file than {source.url}{name}")
            continue
        draft, found = folder / f".{name}.{os.getpid()}.tmp", hashlib.sha256()
        try:
            with draft.open("wb") as file:
                for chunk in _chunks(source.url + name):
                    found.update(chunk)
                    file.write(chunk)
                    done += len(chunk)
                    progress(done, source.size)
            if found.hexdigest() != wanted:
                raise DownloadError(
                    f"{source.url}{name}: has the SHA-256 {found.hexdigest()}; wanted {wanted}"
                )
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)


def _chunks(url: str) -> Iterator[bytes]:
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            while chunk := answer.read(CHUNK):
                yield chunk
    except TimeoutError:
        raise DownloadError(f"{url}: sends nothing for {TIMEOUT} s") from None
    except HTTPError as error:
        error.close()  # it is the server's answer, with its socket
        raise DownloadError(f"{url}: cannot be fetched ({error.reason})") from None
    except (OSError, HTTPException) as error:
        why = error.reason if isinstance(error, URLError) else error
        raise DownloadError(f"{url}: cannot be fetched ({why})") from None
