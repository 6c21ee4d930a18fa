"""Running sensor-trainer in the test's own process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from models.cli import main


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


def runner(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    columns: int = 200,
) -> Run:
    """Calls sensor-trainer with some words before and after what it is given, to its exit code."""

    def call(*arguments: str | Path) -> Done:
        words = ["sensor-trainer", *before, *map(str, arguments), *after]
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        code = left.value.code
        return Done(code if isinstance(code, int) else 0, out, err)

    return call
