"""Settings and fixtures for the tests of models."""

from pathlib import Path

import pytest
from hypothesis import settings

# A rule is not broken by a slow machine; pytest-timeout ends what hangs.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pca bundle that no test may change."""
    from tests.models.plant import fitted, recording, request, values, written

    done = fitted([recording(values(400))], request("pca", window=8))
    return written(tmp_path_factory.mktemp("bundles") / "plant", done)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A recording of normal operation."""
    from tests.models.plant import values, write_csv

    return write_csv(tmp_path / "plant.csv", values(400))


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A labelled recording with a fault in the flow, in the second file of a folder's order."""
    from tests.models.plant import values, write_csv

    numbers = values(300, seed=1)
    numbers[200:240, 1] -= 8
    label = [int(200 <= row < 240) for row in range(300)]
    return write_csv(tmp_path / "today.csv", numbers, label=label, start=1_790_100_000)
