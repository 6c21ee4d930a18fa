"""Folders written whole: a draft takes the place of what was there, which is kept."""

import ctypes
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(out: Path) -> Generator[Path]:
    """A new folder to fill; it takes the place of `out` if the block ends without an error.

    What was there is kept as `NAME.previous`.

    Raises:
        OSError: if it cannot be written.
    """
    out = out.absolute()
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    remove(draft)  # of a process that was killed and had our number
    try:
        draft.mkdir()
        yield draft
        if out.exists():
            _swap_in(draft, out)
        else:
            draft.rename(out)
    finally:
        remove(draft)


def _swap_in(draft: Path, out: Path) -> None:
    """Put a draft in the place of a folder; on failure that is there again."""
    previous = out.with_name(f"{out.name}.previous")
    remove(previous)
    if _exchange(draft, out):
        try:
            draft.rename(previous)
        except BaseException:
            _exchange(draft, out)
            raise
        return
    out.rename(previous)
    try:
        draft.rename(out)
    except BaseException:
        previous.rename(out)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    exchange, here = 2, -100  # RENAME_EXCHANGE, AT_FDCWD
    return rename is not None and not rename(
        here, os.fsencode(one), here, os.fsencode(other), exchange
    )


def remove(path: Path) -> None:
    """Remove a folder with all in it, a link or a file; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
