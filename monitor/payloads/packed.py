"""Payloads that come compressed: gzip and zstd, known by their first bytes."""

import importlib
import zlib
from typing import Any, Final

from monitor.payloads.sample import MalformedError, TooLargeError

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
PACKED: Final = (GZIP, ZSTD)  # no other format's payloads begin so
_LARGEST_WINDOW: Final = 23  # a frame may ask for 2 to this power of bytes


def unpacked(payload: bytes, largest: int) -> bytes:
    """What is in a compressed payload, if that is at most `largest` bytes.

    Raises:
        TooLargeError: if it is more; no more than that is ever made.
        MalformedError: if it is damaged, or zstd and there is no library for it.
    """
    return _gzip(payload, largest) if payload.startswith(GZIP) else _zstd(payload, largest)


def _gzip(payload: bytes, largest: int) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        found = unzip.decompress(payload, largest + 1)
    except zlib.error:
        raise MalformedError("is no gzip") from None
    return _whole(found, unzip, largest, "gzip")


def _zstd(payload: bytes, largest: int) -> bytes:
    zstd = _library()
    limits = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}
    unzip = zstd.ZstdDecompressor(options=limits)
    try:
        found: bytes = unzip.decompress(payload, largest + 1)
    except zstd.ZstdError:
        raise MalformedError("is no zstd") from None
    return _whole(found, unzip, largest, "zstd")


def _whole(found: bytes, unzip: Any, largest: int, name: str) -> bytes:
    if len(found) > largest:
        raise TooLargeError(f"becomes more than {largest} bytes")
    if not unzip.eof or unzip.unused_data:
        raise MalformedError(f"is no {name} (wanted one whole, and nothing after it)")
    return found


def _library() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # the same code; the first from Python 3.14
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise MalformedError('is zstd; wanted Python 3.14, or pip install "sensor-monitor[zstd]"')
