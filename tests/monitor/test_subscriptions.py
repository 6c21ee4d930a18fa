from pathlib import Path

import pytest

from monitor.subscriptions import FILE, MOST, stale


def test_filters_that_are_no_longer_configured_are_known_from_the_runs_before(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    assert stale(folder, ["a/+", "b/+"]) == ()
    assert stale(folder, ["b/+", "c/+"]) == ("a/+",)
    assert stale(folder, ["b/+", "c/+"]) == ("a/+",)
    assert stale(folder, ["a/+"]) == ("b/+", "c/+")
    assert [path.name for path in folder.iterdir()] == [FILE]


@pytest.mark.parametrize("text", ["", "{", "{}", "7", '["a/+", 7', "\ud7ff"])
def test_a_broken_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert stale(tmp_path, ["b/+"]) == ()
    assert stale(tmp_path, []) == ("b/+",)


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    for start in range(0, 3 * MOST, MOST // 2):
        stale(tmp_path, [f"{start + n}/+" for n in range(MOST // 2)])
    assert len(stale(tmp_path, [])) == MOST


def test_without_a_folder_to_write_to_none_are_known(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert stale(tmp_path / "file", ["a/+"]) == ()
    assert stale(tmp_path / "file" / "folder", ["a/+"]) == ()
