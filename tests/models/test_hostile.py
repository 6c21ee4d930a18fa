"""Thousands of spoilt bundles: each is refused with one BundleError, and nothing else happens."""

import hashlib
import json
import math
import pickle
import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors import numpy as tensors

from models.bundle import GOLDEN, MANIFEST, NETWORK, WEIGHTS, BundleError, load
from models.manifest import FileSpec, digest_of
from models.runtime import Kind
from tests.models.plant import fitted, recording, request, values, written

KINDS: tuple[Kind, ...] = get_args(Kind)
Files = dict[str, bytes]
Change = Callable[[random.Random, Files, Files], None]  # of a bundle, with another one at hand


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def own(pristine: Path) -> Files:
    """The files of a bundle that loads."""
    return files_of(pristine)


@pytest.fixture(scope="module")
def sibling(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Those of another bundle of the same shape, from other data."""
    done = fitted([recording(values(400, seed=5))], request("pca", window=8))
    return files_of(written(tmp_path_factory.mktemp("sibling") / "plant", done))


def files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def seen(pristine: Path) -> list[str]:
    """What loading does that it must not: unpickling, running programs, writing, the network."""
    for kind in KINDS:
        load(pristine, kind)  # imports are none of it
    WATCH.seen.clear()
    return WATCH.seen


class Watch:
    """An audit hook can never be taken off, so there is one, which is mostly off."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        wrote = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        banned = (
            "pickle.",
            "marshal.",
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "subprocess.",
            "socket.",
        )
        if self.on and (wrote or event.startswith(banned)):
            self.seen.append(f"{event} {arguments}")


WATCH = Watch()


class Bundle:
    """A bundle in a folder, to be spoilt and mended again."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder, self.files = folder, files
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)

    def refused(self, spoilt: Files, kind: Kind = "onnx") -> str | None:
        """What is said of these files instead of the bundle's; None if they load."""
        for name in self.files.keys() | spoilt.keys():
            if spoilt.get(name) != self.files.get(name):
                (self.folder / name).unlink(missing_ok=True)
                if name in spoilt:
                    (self.folder / name).write_bytes(spoilt[name])
        try:
            WATCH.on = True
            load(self.folder, kind)
        except BundleError as error:
            return str(error)
        else:
            return None
        finally:
            WATCH.on = False
            for name in self.files.keys() | spoilt.keys():
                if spoilt.get(name) != self.files.get(name):
                    (self.folder / name).unlink(missing_ok=True)
                    if name in self.files:
                        (self.folder / name).write_bytes(self.files[name])


@pytest.fixture
def bundle(tmp_path: Path, own: Files) -> Bundle:
    return Bundle(tmp_path / "plant", own)


def any_file(chance: random.Random, files: Files) -> str:
    return chance.choice(sorted(files))


# Damage: the hashes tell.


def flip(chance: random.Random, files: Files, other: Files) -> None:
    name = any_file(chance, files)
    data = bytearray(files[name])
    for _ in range(chance.choice([1, 1, 1, 2, 8, 64])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    files[name] = bytes(data)


def cut(chance: random.Random, files: Files, other: Files) -> None:
    name = any_file(chance, files)
    files[name] = files[name][: chance.randrange(len(files[name]))]


def lengthen(chance: random.Random, files: Files, other: Files) -> None:
    name = any_file(chance, files)
    at = chance.randrange(len(files[name]) + 1)
    files[name] = files[name][:at] + chance.randbytes(chance.randrange(1, 9)) + files[name][at:]


def blank(chance: random.Random, files: Files, other: Files) -> None:
    name = any_file(chance, files)
    at, size = chance.randrange(len(files[name])), chance.randrange(1, 65)
    fill = chance.choice([b"\0", b"\xff", b" "])
    files[name] = files[name][:at] + fill * size + files[name][at + size :]


def turn(chance: random.Random, files: Files, other: Files) -> None:
    name = any_file(chance, files)
    at = chance.randrange(1, len(files[name]))
    files[name] = files[name][at:] + files[name][:at]


def swap(chance: random.Random, files: Files, other: Files) -> None:
    for name in chance.sample(sorted(files), chance.randrange(1, len(files))):
        files[name] = other[name]


def shuffle(chance: random.Random, files: Files, other: Files) -> None:
    one, two = chance.sample(sorted(files), 2)
    files[one], files[two] = files[two], files[one]


def lose(chance: random.Random, files: Files, other: Files) -> None:
    del files[any_file(chance, files)]


def add(chance: random.Random, files: Files, other: Files) -> None:
    names = [
        "weights.pt",
        "bundle.json.previous",
        ".hidden",
        "__init__.py",
        "a\nb",
        "model.onnx.data",
    ]
    files[chance.choice(names)] = chance.choice([b"", pickle.dumps(chance), b"{}"])


DAMAGES: list[Change] = [flip, flip, cut, lengthen, blank, turn, swap, shuffle, lose, add]


def only_the_time_differs(files: Files, own: Files) -> bool:
    """Whether all that was changed is when the bundle was made, which the digest leaves out."""
    if {name for name in own if files.get(name) != own[name]} - {MANIFEST}:
        return False
    try:
        found, wanted = json.loads(files[MANIFEST]), json.loads(own[MANIFEST])
    except (KeyError, ValueError):
        return False
    return {**found, "created": ""} == {**wanted, "created": ""}


def test_whatever_is_damaged_is_refused(
    bundle: Bundle,
    own: Files,
    sibling: Files,
    seen: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(1)
    for turn_ in range(1200):
        spoilt = dict(own)
        DAMAGES[turn_ % len(DAMAGES)](chance, spoilt, sibling)
        if spoilt == own or only_the_time_differs(spoilt, own):
            continue
        kind = KINDS[turn_ % 2]

        said = bundle.refused(spoilt, kind)

        assert said is not None, f"turn {turn_} loads"
        assert str(bundle.folder) in said
        assert len(said) < 1000
    assert bundle.refused(own) is None
    assert not seen
    assert capfd.readouterr() == ("", "")


# Hostility: every hash is right.


def seal(files: Files) -> None:
    """Mend every hash, as someone would who means harm."""
    try:
        content = json.loads(files[MANIFEST])
        for name in (WEIGHTS, NETWORK, GOLDEN):
            content["files"][name] = json.loads(described(files[name]))
        content["digest"] = digest_of(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return  # what is no manifest is refused before its digest is looked at
    files[MANIFEST] = json.dumps(content).encode()


def described(data: bytes) -> str:
    return FileSpec(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)).model_dump_json()


RUNS: dict[str, Kind] = {WEIGHTS: "torch", NETWORK: "onnx"}

# Numbers and texts that someone may try for a value.
WORST: list[Any] = [
    None, True, "", "x", 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.0, -0.0, 1e-320, 1e308, -1e308,
    math.nan, math.inf, -math.inf, [], {}, [[]], [None], {"": None}, [1e308] * 3, "\u0000", "../x",
    "/etc/passwd", "a" * 10_000, [0] * 10_000, "9" * 5000, "2026-01-01T00:00:00Z",
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in some JSON."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def say_another(chance: random.Random, files: Files, other: Files) -> None:
    content = json.loads(files[MANIFEST])
    *way, last = chance.choice(list(places(content)))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = chance.choice(WORST)
    files[MANIFEST] = json.dumps(content).encode()


def leave_out(chance: random.Random, files: Files, other: Files) -> None:
    content = json.loads(files[MANIFEST])
    *way, last = chance.choice(list(places(content)))
    inner = content
    for key in way:
        inner = inner[key]
    del inner[last]
    files[MANIFEST] = json.dumps(content).encode()


def say_twice(chance: random.Random, files: Files, other: Files) -> None:
    """A key twice: readers do not agree which of its values counts."""
    seal(files)
    text = files[MANIFEST].decode()
    content = json.loads(text)
    key = chance.choice(sorted(content))
    first = json.dumps({key: chance.choice([content[key], *WORST])})
    files[MANIFEST] = (first[:-1] + "," + text[1:]).encode()


def point_elsewhere(chance: random.Random, files: Files, other: Files) -> None:
    content = json.loads(files[MANIFEST])
    name = chance.choice(
        ["../plant/" + NETWORK, "/etc/passwd", "..", ".", "", "a/b", "C:\\x", MANIFEST]
    )
    content["files"][name] = json.loads(described(files[NETWORK]))
    if chance.random() < 0.5:
        del content["files"][NETWORK]
    files[MANIFEST] = json.dumps(content).encode()


def nest(chance: random.Random, files: Files, other: Files) -> None:
    depth = chance.choice([150, 300, 10_000, 200_000])
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
    deep = opening * depth + ("0" + closing * depth if chance.random() < 0.5 else "")
    content = json.loads(files[MANIFEST])
    content["parameters"] = "HERE"
    files[MANIFEST] = json.dumps(content).replace('"HERE"', deep).encode()


def unpickle_me(chance: random.Random, files: Files, other: Files) -> None:
    name = chance.choice([WEIGHTS, NETWORK, GOLDEN, MANIFEST])
    files[name] = pickle.dumps(Path("x"), protocol=chance.randrange(6))


def array_of(chance: random.Random, old: np.ndarray) -> np.ndarray:
    """Another array that someone may try in the place of one."""
    bad = np.array(old)
    flat = bad.reshape(-1)
    if flat.size and chance.random() < 0.5:
        wrong = [math.nan, math.inf, -math.inf] if bad.dtype.kind == "f" else [-1, 1 << 40]
        flat[chance.randrange(flat.size)] = chance.choice(wrong)
        return bad
    shapes: list[tuple[int, ...]] = [(), (0,), (1,), (old.size,), (*old.shape, 1), old.shape[::-1]]
    wanted = chance.choice([*shapes, (3, 5), (1,) * 20])
    kinds = [np.float16, np.float64, np.int8, np.int64, np.bool_, np.uint8, np.float32]
    return np.resize(bad, wanted).astype(chance.choice(kinds))


def other_arrays(chance: random.Random, files: Files, other: Files) -> None:
    name = chance.choice([WEIGHTS, GOLDEN])
    arrays = tensors.load(files[name])
    key = chance.choice(sorted(arrays))
    if chance.random() < 0.2:
        arrays[chance.choice(["x", "", "../x", "members.0.mean"])] = arrays.pop(key)
    else:
        arrays[key] = array_of(chance, arrays[key])
    files[name] = tensors.save({one: np.ascontiguousarray(array) for one, array in arrays.items()})


def other_header(chance: random.Random, files: Files, other: Files) -> None:
    name = chance.choice([WEIGHTS, GOLDEN])
    data = files[name]
    (length,) = struct.unpack("<Q", data[:8])
    header, body = data[8 : 8 + length], data[8 + length :]
    if chance.random() < 0.4:
        wrong = chance.choice([0, 1, length - 1, length + 1, len(data), 2**31, 2**63, 2**64 - 1])
        files[name] = struct.pack("<Q", wrong) + header + body
        return
    at = chance.choice([index for index, byte in enumerate(header) if byte in b"0123456789"])
    changed = (
        header[:at] + chance.choice([b"9", b"0", b"-", b"99999999999999999999"]) + header[at + 1 :]
    )
    files[name] = struct.pack("<Q", len(changed)) + changed + body


def flip_inside(chance: random.Random, files: Files, other: Files) -> None:
    flip(chance, rest := {name: files[name] for name in (WEIGHTS, NETWORK, GOLDEN)}, other)
    files.update(rest)


def swap_one(chance: random.Random, files: Files, other: Files) -> None:
    name = chance.choice([WEIGHTS, NETWORK, GOLDEN])
    files[name] = other[name]


REFUSED: list[Change] = [say_twice, point_elsewhere, nest, unpickle_me, swap_one]
# Of these some are no harm: another unit, a bit of a weight that no score shows.
DOUBTED: list[Change] = [say_another, leave_out, other_arrays, other_header, flip_inside]


def test_whatever_is_hostile_is_refused_though_every_hash_is_right(
    bundle: Bundle, own: Files, sibling: Files, seen: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(2)
    for turn_ in range(1500):
        change = (REFUSED + DOUBTED)[turn_ % len(REFUSED + DOUBTED)]
        spoilt = dict(own)
        change(chance, spoilt, sibling)
        if change is not say_twice:
            seal(spoilt)
        # Each runtime proves what it runs, and needs no proof of the other's file.
        changed = {name for name in (WEIGHTS, NETWORK) if spoilt.get(name) != own[name]}
        kind = RUNS.get("".join(changed)) or KINDS[turn_ % 3 % 2]

        said = bundle.refused(spoilt, kind)

        assert said is not None or change in DOUBTED, f"turn {turn_}, {change.__name__}: loads"
        assert said is None or str(bundle.folder) in said
    assert not seen
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("model", "parameters", "says"),
    [
        ("guess", {}, "are of a model 'guess'; wanted one of pca"),
        ("stacked", {}, "are not those of stacked"),
        ("pca", {"code": 3}, "are not those of pca with {'code': 3}"),
        ("pca", {"window": 3}, "multiple values for argument 'window'"),
        ("lstm", {"hidden": 10**9}, "are not those of lstm"),
        ("lstm", {"hidden": -1}, "are not those of lstm"),
        ("lstm", {"hidden": "64"}, "are not those of lstm"),
        ("stacked", {"hidden": [10**9] * 64}, "are not those of stacked"),
        ("stacked", {"activation": "tanh"}, "are not those of stacked"),
        ("ensemble", {"members": ["lstm"] * 64}, "are not those of ensemble"),
        ("ensemble", {"members": ["ensemble"]}, "a list of 1 to 64 of"),
        ("ensemble", {"members": 3}, "are not those of ensemble"),
    ],
)
def test_in_torch_a_network_that_is_not_its_weights_is_refused_before_it_costs_memory(
    bundle: Bundle, own: Files, model: str, parameters: dict[str, Any], says: str
) -> None:
    content = json.loads(own[MANIFEST]) | {"model": model, "parameters": parameters}
    spoilt = {**own, MANIFEST: json.dumps(content).encode()}
    seal(spoilt)

    said = bundle.refused(spoilt, "torch")

    assert said is not None
    assert said.startswith(f"{bundle.folder / WEIGHTS}: ")
    assert says in said


def test_more_layers_than_any_network_has_are_refused(bundle: Bundle, own: Files) -> None:
    content = json.loads(own[MANIFEST]) | {"parameters": {"hidden": [1] * 65}}
    spoilt = {**own, MANIFEST: json.dumps(content).encode()}
    seal(spoilt)

    assert "parameters.hidden" in (bundle.refused(spoilt) or "")
