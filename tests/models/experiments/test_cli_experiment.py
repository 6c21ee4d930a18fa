"""sensor-trainer experiment: what it leaves, what it refuses, and how it goes on."""

import gzip
import hashlib
import io
import itertools
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from models.experiments import download, metrics, sources
from models.experiments.download import SOURCES, DownloadError, File, Source, fetch
from models.experiments.experiment import ExperimentError, Outcome, Task
from models.experiments.images import read
from models.experiments.metrics import Metrics
from models.experiments.practices import PRACTICES, practice_of
from tests.models.command import Run, runner
from tests.models.experiments.digits import MAGIC, write_digits, write_idx
from tests.models.test_page import Reader

ROOT = Path(__file__).parents[3]
command = import_module("models.cli.experiment")  # its package has the command of this name


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs sensor-trainer experiment in this process, to its exit code."""
    return runner(monkeypatch, capsys, ("experiment",))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images that no test may change."""
    return write_digits(tmp_path_factory.mktemp("images") / "digits")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder of few images."""
    return write_digits(tmp_path / "few", train=120, test=60)


# Of practices that do not take the three parts as they are.
IMAGES = {
    "simple": {"train": 720, "test": 120},
    "outlier": {"train": 334, "validation": 28, "test": 120},
}


@pytest.mark.parametrize("name", PRACTICES)
def test_every_experiment_leaves_its_figures_pictures_and_page(
    run: Run, digits: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"

    done = run(name, "--data", digits, "--out", out, "--quick")

    assert (done.code, done.err) == (0, "")
    metrics = Metrics.model_validate_json((out / "metrics.json").read_bytes())
    assert (metrics.experiment, metrics.data, metrics.quick, metrics.seed) == (
        *(name, "other images (digits)", True),
        0,
    )
    assert metrics.images == IMAGES.get(name, {"train": 660, "validation": 60, "test": 120})
    assert all(one.value is not None for one in metrics.figures.values())
    assert {one.met for one in metrics.figures.values()} == {None}
    assert {path.name for path in out.iterdir()} == {
        *("metrics.json", "report.html"),
        *metrics.pictures,
    }
    for picture in metrics.pictures:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert "default-src 'none'" in page
    reader = Reader(re.sub(r"<(br|img|image)\b[^>]*?/?>", "", page))
    for text in (PRACTICES[name], "What to try next", *(f.name for f in metrics.figures.values())):
        assert re.sub(r"\s+", " ", text) in reader.text
    assert page.count("<svg") == len(metrics.pictures)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_same_run_has_the_same_figures_and_another_seed_others(
    run: Run, few: Path, tmp_path: Path
) -> None:
    def figures(out: Path, *options: str) -> dict[str, object]:
        assert run("stacked", "--data", few, "--out", out, "--quick", *options).code == 0
        return json.loads((out / "metrics.json").read_bytes())["figures"]

    first = figures(tmp_path / "first")

    assert figures(tmp_path / "again") == first
    assert figures(tmp_path / "other", "--seed", "1") != first


def test_a_killed_run_goes_on_from_its_last_epoch_to_the_same_figures(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.experiments import training

    train, epochs = training.train, list[int]()

    def watched(*given: Any, last: int, **options: Any) -> Any:
        def note(done: int, most: int) -> None:
            told(done, most)
            epochs.append(done)
            if done == last:
                raise KeyboardInterrupt

        network, images, held, recipe, told = given
        return train(network, images, held, recipe, note, **options)

    clock = itertools.count(step=100)
    monkeypatch.setattr(command.time, "perf_counter", lambda: next(clock))
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert run("stacked", "--data", few, "--out", whole, "--quick").code == 0
    monkeypatch.setattr(training, "train", partial(watched, last=2))
    assert run("stacked", "--data", few, "--out", out, "--quick").code != 0
    assert (tmp_path / ".out.checkpoint" / "stacked").is_file()
    monkeypatch.setattr(training, "train", partial(watched, last=0))
    assert run("stacked", "--data", few, "--out", out, "--quick").code == 0

    assert epochs == [1, 2, 3]
    found, wanted = (json.loads((one / "metrics.json").read_bytes()) for one in (out, whole))
    assert found["figures"] == wanted["figures"]
    # A hundred to each of the clock's calls: after an epoch, and at the end.
    assert (found["seconds"], wanted["seconds"]) == (200 + 200, 400)
    assert not (tmp_path / ".out.checkpoint").exists()


def test_a_state_is_kept_only_where_the_same_run_would_come_further(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(what: BaseException) -> bool:
        def then(task: Task) -> Outcome:
            practice_of("stacked")(task)
            raise what

        monkeypatch.setattr(command, "practice_of", lambda name: then)  # pyright: ignore[reportUnknownLambdaType]
        assert run("stacked", "--data", few, "--out", tmp_path / "out", "--quick").code != 0
        return (tmp_path / ".out.checkpoint" / "stacked").is_file()

    assert left(OSError("no space"))
    assert left(KeyboardInterrupt())
    assert not left(ExperimentError("too few"))
    assert not left(ZeroDivisionError("a bug"))
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_list_names_every_experiment_without_torch() -> None:
    code = """
import sys
from models.cli import app
try:
    app(["experiment", *sys.argv[1:]])
finally:
    print(sorted({"torch", "sklearn", "scipy", "matplotlib", "jinja2"} & sys.modules.keys()))
"""
    done, as_json = (
        subprocess.run(
            [sys.executable, "-c", code, "list", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        for options in ((), ("--json",))
    )

    *lines, brought = done.stdout.splitlines()
    assert (done.returncode, brought) == (0, "[]")
    assert [line.split(maxsplit=1) for line in lines] == [[*one] for one in PRACTICES.items()]
    assert json.loads(as_json.stdout.rpartition("\n[")[0]) == PRACTICES


@pytest.fixture
def two() -> Iterator[None]:
    """As if there were two experiments."""
    everything = dict(PRACTICES)
    for name in everything.keys() - {"stacked", "outlier"}:
        del PRACTICES[name]
    yield
    PRACTICES.clear()
    PRACTICES.update(everything)


@pytest.mark.usefixtures("two")
def test_all_runs_each_into_a_folder_and_leaves_finished_ones_as_they_are(
    run: Run, few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all"
    command = ("all", "--data", few, "--out", out, "--quick")

    first = run(*command)
    before = (out / "stacked" / "metrics.json").stat()
    index = (out / "index.html").read_text(encoding="utf-8")
    again = run(*command)
    as_json = run(*command, "--json")
    otherwise = run(*command, "--seed", "1")

    assert (first.code, again.code) == (0, 0)
    assert sorted(json.loads(as_json.out)) == ["outlier", "stacked"]
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "outlier", "stacked"]
    assert (out / "stacked" / "metrics.json").stat() == before
    assert again.out.count("left as it is") == 2
    assert (otherwise.code, otherwise.err.count("exists; --force replaces it")) == (73, 2)
    assert re.findall(r'<a href="([^"]*)">\w', index) == [
        "stacked/report.html",
        "outlier/report.html",
    ]
    assert index.count('src="data:image/png;base64,') == 2
    assert "2 experiments done." in index
    assert "2 failures." in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("two")
def test_all_makes_again_what_other_code_made_and_with_force_everything(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "all"
    command = ("all", "--data", few, "--out", out, "--quick")
    assert run(*command).code == 0

    forced = run(*command, "--force")
    monkeypatch.setattr(metrics, "sources", lambda: "another recipe")
    stale = run(*command)

    assert (forced.code, forced.out.count("left as it is")) == (0, 0)
    assert (out / "stacked.previous" / "metrics.json").is_file()
    assert (stale.code, stale.err.count("exists; --force replaces it")) == (73, 2)


def test_the_code_of_an_experiment_is_all_its_files(tmp_path: Path) -> None:
    def copied(name: str) -> Path:
        ignored = shutil.ignore_patterns("__pycache__")
        return shutil.copytree(sources.ROOT, tmp_path / name, ignore=ignored)

    def found(changed: str) -> str:
        root = copied(changed.replace("/", "-"))
        with (root / changed).open("a") as file:
            file.write("# another recipe\n")
        return sources.sources(root)

    same = sources.sources(copied("same"))

    assert same == sources.sources()
    assert found("cli/fit.py") == same
    changed = {
        found(name)
        for name in (
            *("experiments/practices/stacked.py", "experiments/fitting.py"),
            *("families/dense.py", "descent.py"),
        )
    }
    assert len(changed - {same}) == 4


@pytest.mark.usefixtures("two")
def test_a_result_that_lacks_a_picture_is_not_finished_and_stops_no_other(
    run: Run, few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all"
    command = ("all", "--data", few, "--out", out, "--quick")
    assert run(*command).code == 0
    next((out / "outlier").glob("*.png")).unlink()

    refused, replaced = run(*command), run(*command, "--force")

    assert (refused.code, refused.err.count("exists; --force replaces it")) == (73, 1)
    assert (replaced.code, len(list((out / "outlier").glob("*.png"))) > 0) == (0, True)


@pytest.mark.usefixtures("two")
def test_all_goes_on_after_one_that_fails_and_says_so(run: Run, tmp_path: Path, few: Path) -> None:
    labels = np.full(60, 3, np.uint8)
    write_idx(few / "t10k-labels-idx1-ubyte", labels, MAGIC["labels"])
    out = tmp_path / "all"

    done = run("all", "--data", few, "--out", out, "--quick")

    assert done.code == 65
    assert "sensor-trainer: outlier: wanted images with labels below 5" in done.err
    assert f"failed: outlier; the others are in {out}" in done.err
    assert "Traceback" not in done.err
    index = (out / "index.html").read_text(encoding="utf-8")
    assert "1 experiment done; 1 failure." in index
    assert 'src="data:image/png;base64,' in index
    assert (out / "stacked" / "report.html").is_file()


def test_what_is_there_is_replaced_only_by_force_and_only_if_it_is_an_experiment(
    run: Run, few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("stacked", "--data", few, "--out", out, "--quick")
    strange = tmp_path / "photos"
    strange.mkdir()
    (strange / "me.png").write_bytes(b"")

    assert run(*command).code == 0
    refused = run(*command)
    forced = run(*command, "--force")
    precious = run("stacked", "--data", few, "--out", strange, "--quick", "--force")
    mixed = run("all", "--data", few, "--out", strange, "--quick")

    assert (refused.code, forced.code) == (73, 0)
    assert "exists; --force replaces it and keeps it as out.previous" in refused.err
    assert (tmp_path / "out.previous" / "metrics.json").is_file()
    assert (precious.code, mixed.code) == (73, 73)
    assert "is no experiment's folder" in precious.err
    assert "holds me.png, which is no experiment's" in mixed.err
    assert [path.name for path in strange.iterdir()] == ["me.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("stackd",), 2, "stackd: wanted one of simple, pca, .*did you mean stacked?"),
        (("stacked", "--out", "o"), 2, "--data: is missing; wanted a folder"),
        (("stacked", "--data", "d"), 2, "--out: is missing; wanted a folder"),
        (("stacked", "--data", "/none", "--out", "o"), 66, "/none: no such folder; wanted MNIST's"),
        (
            ("all", "--data", "/none", "--out", "o"),
            66,
            "t10k-labels-idx1-ubyte, with .gz or without",
        ),
        (("stacked", "--data", "/none", "--out", "/dev/null/o"), 73, "cannot be written"),
    ],
)
def test_what_cannot_be_run_is_one_message(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    done = run(*arguments)

    assert (done.code, done.out) == (code, "")
    assert re.match(f"sensor-trainer: .*{message}", done.err)
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda data: data[:-1], "bytes of images; wanted"),  # pyright: ignore[reportUnknownLambdaType]
        ("train-labels-idx1-ubyte", lambda data: b"\1\2\3\4" + data[4:], "begins with 01 02 03 04"),  # pyright: ignore[reportUnknownLambdaType]
        ("t10k-images-idx3-ubyte", lambda data: b"", "is cut off within its header"),  # pyright: ignore[reportUnknownLambdaType]
    ],
)
def test_image_files_that_are_not_whole_are_one_message(
    run: Run, few: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    (few / name).write_bytes(change((few / name).read_bytes()))

    done = run("stacked", "--data", few, "--out", tmp_path / "out", "--quick")

    assert (done.code, done.out) == (65, "")
    assert done.err.startswith(f"sensor-trainer: {few / name}: ")
    assert message in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("count", "black", "message"),
    [
        (20, False, "few: has 20 images to train on and 60 to test on; wanted at least 120 and 12"),
        (360, False, "30 held-out images; wanted more than 30 for a map of t-SNE"),
        (380, True, "the held-out images are all alike; wanted such as differ"),
    ],
)
def test_images_that_no_map_can_be_drawn_of_are_one_message(
    run: Run, tmp_path: Path, count: int, black: bool, message: str
) -> None:
    few = write_digits(tmp_path / "few", count, 60)
    if black:
        write_black(few, count)

    done = run("tsne", "--data", few, "--out", tmp_path / "out", "--quick")

    assert (done.code, done.out) == (65, "")
    assert re.fullmatch(f"sensor-trainer: .*{message}\n", done.err)


@pytest.mark.parametrize("name", ["tsne", "pretrain"])
def test_the_largest_seed_is_one_for_every_library(
    run: Run, digits: Path, tmp_path: Path, name: str
) -> None:
    done = run(
        *(name, "--data", digits, "--out", tmp_path / "out", "--quick"),
        *("--seed", f"{2**63 - 1}"),
    )

    assert (done.code, done.err) == (0, "")


def test_black_images_have_no_ratio_to_what_pca_rebuilds_exactly(
    run: Run, few: Path, tmp_path: Path
) -> None:
    write_black(few, 120)

    done = run("pca", "--data", few, "--out", tmp_path / "out", "--quick")

    assert (done.code, done.err) == (0, "")
    figures = json.loads((tmp_path / "out" / "metrics.json").read_bytes())["figures"]
    assert figures["image_mse_ratio"]["value"] is None
    assert figures["mse_ratio"]["value"] > 0


def write_black(folder: Path, count: int) -> None:
    black = np.zeros((count, 28, 28), np.uint8)
    write_idx(folder / "train-images-idx3-ubyte", black, MAGIC["images"])


@pytest.mark.parametrize("room", [1 << 10, 1 << 14])
def test_no_room_for_the_output_is_one_message_and_leaves_none(
    few: Path, tmp_path: Path, room: int
) -> None:
    """The first does not suffice for the state after an epoch, the second not for the page."""
    out = tmp_path / "out"
    name = "stacked" if room < 1 << 12 else "pca"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "models.cli", "experiment", name),
            *("--data", few, "--out", out, "--quick"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )

    assert (done.returncode, done.stdout) == (73, "")
    assert re.fullmatch(
        rf"sensor-trainer: {out}: cannot be written \(.*File too large.*\)\n", done.stderr
    )
    assert not out.exists()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert (tmp_path / ".out.checkpoint").exists() == (name == "pca")


def test_a_device_that_is_not_there_is_refused(
    run: Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    done = run("stacked", "--data", few, "--out", tmp_path / "out", "--device", "cuda")

    assert (done.code, done.out) == (69, "")
    assert done.err == "sensor-trainer: --device cuda: torch sees no such device here; wanted cpu\n"


@pytest.fixture
def mirror(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server with the few images, gzipped, as the only source; its folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for path in few.iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        files = {path.name: file_of(folder / f"{path.name}.gz", path) for path in few.iterdir()}
        source = Source("Few", f"http://127.0.0.1:{server.server_port}/", files)
        monkeypatch.setitem(SOURCES, "few", source)
        yield folder
        server.shutdown()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_of(zipped: Path, plain: Path) -> File:
    found = zipped.read_bytes(), plain.read_bytes()
    return File(len(found[0]), *map(sha256, found))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Somebody sits before it."""
        return True


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing to say."""


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sits before a terminal and says something."""

    def say(text: str) -> None:
        monkeypatch.setattr("sys.stdin", Terminal(text))

    return say


def test_missing_files_are_fetched_if_one_says_so(
    run: Run, mirror: Path, tmp_path: Path, answer: Callable[[str], None]
) -> None:
    images = tmp_path / "images"
    command = ("stacked", "--data", images, "--out", tmp_path / "out", "--quick")

    answer("no\n")
    refused = run(*command)
    answer("few\n")
    done = run(*command)

    assert refused.code == 66
    assert done.code == 0
    assert {path.name for path in images.iterdir()} == {path.name for path in mirror.iterdir()}


@pytest.mark.parametrize("files", ["zipped", "plain"])
def test_only_what_a_folder_lacks_is_fetched_and_counted(
    few: Path, mirror: Path, tmp_path: Path, files: str
) -> None:
    images, source, seen = tmp_path / "images", SOURCES["few"], list[tuple[int, int]]()
    images.mkdir()
    for path in (mirror if files == "zipped" else few).glob("train-*"):
        shutil.copy(path, images)

    fetch(images, source, lambda done, most: seen.append((done, most)))

    lacking = sum(file.size for name, file in source.files.items() if name.startswith("t10k"))
    assert seen[-1] == (lacking, lacking)
    assert len([*images.iterdir()]) == 4
    assert len(read(images)[0]) == 120


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_another_file_than_the_one_to_be_fetched_is_refused_before_any_is(
    mirror: Path, tmp_path: Path, ending: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / f"t10k-labels-idx1-ubyte{ending}").write_bytes(b"of another data set")

    with pytest.raises(DownloadError, match=f"t10k-labels-idx1-ubyte{ending}: is another file"):
        fetch(images, SOURCES["few"], lambda done, most: None)

    assert len([*images.iterdir()]) == 1


def test_an_answer_that_is_none_is_asked_for_again(
    run: Run, mirror: Path, tmp_path: Path, answer: Callable[[str], None]
) -> None:
    images = tmp_path / "images"
    answer("yes\n Few \n")

    done = run("stacked", "--data", images, "--out", tmp_path / "out", "--quick")

    assert done.code == 0
    assert "yes: wanted mnist, fashion-mnist, few or no" in done.err
    assert done.err.count("lacks image files") == 2


def test_no_answer_is_no(
    run: Run, mirror: Path, tmp_path: Path, answer: Callable[[str], None]
) -> None:
    answer("")

    done = run("stacked", "--data", tmp_path / "images", "--out", tmp_path / "out", "--quick")

    assert done.code == 66
    assert "no such folder; wanted MNIST's or Fashion-MNIST's four files" in done.err


def test_a_fetched_file_that_is_another_one_is_not_kept(
    run: Run, mirror: Path, tmp_path: Path, answer: Callable[[str], None]
) -> None:
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(b"something else")
    images = tmp_path / "images"
    answer("few\n")

    done = run("stacked", "--data", images, "--out", tmp_path / "out", "--quick")

    assert done.code == 66
    assert "t10k-labels-idx1-ubyte.gz: has the SHA-256" in done.err
    assert "wanted MNIST's or Fashion-MNIST's four files in" in done.err
    assert "t10k-labels-idx1-ubyte.gz" not in {path.name for path in images.iterdir()}
    assert not [*images.glob(".*")]


@pytest.mark.parametrize("why", ["no such file", "no server"])
def test_without_the_network_the_error_says_which_files_to_put_where(
    run: Run,
    mirror: Path,
    tmp_path: Path,
    answer: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    if why == "no server":
        source = SOURCES["few"]
        monkeypatch.setitem(SOURCES, "few", Source("Few", "http://127.0.0.1:9/", source.files))
    else:
        for path in mirror.iterdir():
            path.unlink()
    images = tmp_path / "images"
    answer("few\n")

    done = run("stacked", "--data", images, "--out", tmp_path / "out", "--quick")

    assert done.code == 66
    assert "cannot be fetched (" in done.err
    assert f"four files in {images}: train-images-idx3-ubyte" in done.err
    assert [*images.iterdir()] == []


def test_the_known_files_are_those_of_mnist_and_fashion_mnist() -> None:
    shared = ROOT.parent / "shared" / "data"
    folders = {"mnist": shared / "mnist", "fashion-mnist": shared / "fashion_mnist"}
    if not all(folder.is_dir() for folder in folders.values()):
        pytest.skip(f"no image files in {shared}")
    for name, folder in folders.items():
        source = download.SOURCES[name]
        found = {
            name: (len(data), sha256(data), sha256(gzip.decompress(data)))
            for name, data in ((n, (folder / f"{n}.gz").read_bytes()) for n in source.files)
        }
        assert found == {name: astuple(file) for name, file in source.files.items()}
