import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monitor.window import WindowRing
from tests.monitor.machines import few


@few
@given(
    st.integers(1, 5),
    st.lists(st.lists(st.integers(0, 20), unique=True, max_size=6), max_size=30),
)
def test_a_rings_windows_are_the_newest_frames_of_each_asset(
    window: int, pushes: list[list[int]]
) -> None:
    ring = WindowRing(window, 2)
    flat: dict[int, list[list[float]]] = {}
    for turn, assets in enumerate(pushes):
        frames = np.array([[turn, asset] for asset in assets], np.float32).reshape(-1, 2)
        ring.push(np.array(assets, np.int64), frames)
        for asset, frame in zip(assets, frames.tolist(), strict=True):
            flat.setdefault(asset, []).append(frame)

    full = [asset for asset, frames in flat.items() if len(frames) >= window]
    found = ring.windows(np.array(full, np.int64)) if full else np.empty((0, window, 2))

    assert found.tolist() == [flat[asset][-window:] for asset in full]
    assert not full or found.dtype == np.float32
