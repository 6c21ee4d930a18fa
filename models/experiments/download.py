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
class File:
    """What a file has to be.

    Args:
        size: gzipped, in bytes.
        zipped, plain: SHA-256 with .gz and without.
    """

    size: int
    zipped: str
    plain: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where four files are, and what they have to be.

    Args:
        title: of the data set.
        url: of the folder.
        files: by their names without .gz.
    """

    title: str
    url: str
    files: dict[str, File]

    @property
    def size(self) -> int:
        """Of all four, in bytes."""
        return sum(file.size for file in self.files.values())


SOURCES: Final[dict[str, Source]] = {
    "mnist": Source(
        "MNIST",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        {
            "train-images-idx3-ubyte": File(
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte": File(
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3-ubyte": File(
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1-ubyte": File(
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    "fashion-mnist": Source(
        "Fashion-MNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte": File(
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte": File(
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3-ubyte": File(
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1-ubyte": File(
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
}


def fetch(folder: Path, source: Source, progress: Callable[[int, int], None]) -> None:
    """Download the files that a folder lacks; each appears in it whole and checked, or not at all.

    Args:
        folder: to write to; made where it is missing.
        source: which.
        progress: called with the bytes so far and those of all that it lacks.

    Raises:
        DownloadError: if a file cannot be reached, or is not the one it was.
        OSError: if one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lacking = {name: file for name, file in source.files.items() if not _there(folder, name, file)}
    done, most = 0, sum(file.size for file in lacking.values())
    for name, file in lacking.items():
        url, draft = f"{source.url}{name}.gz", folder / f".{name}.{os.getpid()}.tmp"
        found = hashlib.sha256()
        try:
            with draft.open("wb") as output:
                for chunk in _chunks(url):
                    found.update(chunk)
                    output.write(chunk)
                    done += len(chunk)
                    progress(done, most)
            if found.hexdigest() != file.zipped:
                raise DownloadError(
                    f"{url}: has the SHA-256 {found.hexdigest()}; wanted {file.zipped}"
                )
            draft.replace(folder / f"{name}.gz")
        finally:
            draft.unlink(missing_ok=True)


def _there(folder: Path, name: str, file: File) -> bool:
    """Whether a folder has a file, with .gz or without; another file of its name is refused."""
    for path, wanted in ((folder / f"{name}.gz", file.zipped), (folder / name, file.plain)):
        if path.exists():
            if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
                raise DownloadError(f"{path}: is another file than the one to be downloaded")
            return True
    return False


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
