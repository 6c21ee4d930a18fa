"""What our modules load in a fresh interpreter: the effect, where import-linter reads names."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# In this order, each in the same interpreter: the first that brings a library is named.
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys

import monitor

names = [
    "models.frame", "models.decision", "models.detector", "models.bundle", "models.recording",
    "models.runtime", "models.cli",
    *(module.name for module in pkgutil.walk_packages(monitor.__path__, "monitor.")),
]
for name in names:
    importlib.import_module(name)
    brought = {"torch", "onnx", "scipy", "sklearn", "amqtt", "pyarrow"} & sys.modules.keys()
    if brought:
        sys.exit(f"importing {name} brought {', '.join(sorted(brought))}")
"""


def test_no_module_of_the_daemon_loads_the_libraries_of_an_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
