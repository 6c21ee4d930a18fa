"""The code that an experiment's figures, pictures and words come from, as one hash."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PATTERNS: Final = ("experiments/**/*.py", "families/*.py", "descent.py")


@cache
def sources(root: Path = ROOT) -> str:
    """A hash of the experiments, the networks and the training loop, as the files have them.

    Args:
        root: the folder of the package.
    """
    found = hashlib.sha256()
    for path in sorted(path for pattern in PATTERNS for path in root.glob(pattern)):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root)} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()
