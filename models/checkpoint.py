"""Where a training stands, in a file beside the bundle being written: what survives a kill.

Its lines are a SHA-256 of the rest, a fingerprint of all that led to the state, the state's numbers
as JSON, and then its tensors in the safetensors format. A state of another fingerprint is none.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import torch as tensors
from torch import Tensor

VERSIONS = ("sensor-monitor", "numpy", "torch")
log = logging.getLogger(__name__)


def folder_of(out: Path) -> Path:
    """Where the checkpoints lie until the bundle `out` is in its place."""
    return out.with_name(f".{out.name}.checkpoint")


def fingerprint(request: object, arrays: Iterable[NDArray[np.generic]]) -> str:
    """A hash of what is asked for, the data, and the versions of what computes."""
    found = hashlib.sha256(repr((request, [version(name) for name in VERSIONS])).encode())
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file for the newest state of one training.

    Args:
        path: of the file.
        fingerprint: of all that leads to the state.
    """

    path: Path
    fingerprint: str

    def write(self, state: dict[str, Any]) -> None:
        """Keep a state, made of dicts, lists, tensors and what JSON knows, instead of the last."""
        apart: dict[str, Tensor] = {}
        numbers = json.dumps(_taken_apart(state, apart))
        content = b"\n".join((self.fingerprint.encode(), numbers.encode(), tensors.save(apart)))
        self.path.parent.mkdir(exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            # Not synced: what a power failure leaves of it does not have its hash.
            draft.write_bytes(_hash(content) + b"\n" + content)
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def read(self) -> dict[str, Any] | None:
        """The state kept for this fingerprint, if any; a damaged one is none, with a warning."""
        try:
            digest, _, content = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: %s; training starts anew", self.path, error.strerror)
            return None
        if _hash(content) != digest:
            log.warning("%s: is damaged; training starts anew", self.path)
            return None
        fingerprint, numbers, data = content.split(b"\n", 2)
        if fingerprint.decode() != self.fingerprint:
            return None
        return cast(dict[str, Any], _put_together(json.loads(numbers), tensors.load(data)))


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _taken_apart(value: Any, apart: dict[str, Tensor]) -> Any:
    """The value for JSON, each tensor in it replaced by its name."""
    if isinstance(value, Tensor):
        name = str(len(apart))
        apart[name] = value.contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        # In pairs, for as a key of JSON a number would become a text.
        pairs = cast(dict[Any, Any], value).items()
        return {"pairs": [[key, _taken_apart(one, apart)] for key, one in pairs]}
    if isinstance(value, list | tuple):
        return [_taken_apart(one, apart) for one in cast(list[Any], value)]
    return value


def _put_together(value: Any, apart: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_together(one, apart) for one in cast(list[Any], value)]
    if isinstance(value, dict):
        found = cast(dict[str, Any], value)
        if "tensor" in found:
            return apart[found["tensor"]]
        return {key: _put_together(one, apart) for key, one in found["pairs"]}
    return value
