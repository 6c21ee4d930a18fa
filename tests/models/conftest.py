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
