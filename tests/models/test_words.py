import pytest

from models.words import after, count, duration, figure, listed, moment, percent


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (9.7, "9.7 s"),
        (59.6, "1 min"),
        (101, "1 min 41 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7512, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 16 + 3599 * 3, "16 d 2 h"),
    ],
)
def test_a_stretch_of_time_is_told_in_its_two_largest_units(seconds: float, told: str) -> None:
    assert plain(duration(seconds)) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (0, "0"),
        (12_345, "12 345"),
        (0.0, "0.00"),
        (0.0034, "0.0034"),
        (0.816, "0.82"),
        (-0.035, "\N{MINUS SIGN}0.035"),
        (41.46, "41.5"),
        (1521.4, "1 521"),
    ],
)
def test_a_figure_has_as_many_digits_as_people_read(value: float | None, told: str) -> None:
    assert plain(figure(value)) == told


@pytest.mark.parametrize(
    ("share", "told"),
    [(None, "–"), (0, "0 %"), (0.0034, "0.34 %"), (0.097, "9.7 %"), (0.995, "100 %"), (1, "100 %")],
)
def test_a_share_is_told_in_percent(share: float | None, told: str) -> None:
    assert plain(percent(share)) == told


def test_words_follow_their_number() -> None:
    assert [count(n, "event") for n in (0, 1, 2)] == ["no events", "1 event", "2 events"]
    assert (after(0), plain(after(101))) == ("at once", "after 1 min 41 s")
    assert moment(1_790_000_000_900_000_000) == "2026-09-21 14:13:20"


def test_many_names_are_told_by_the_first_and_their_number() -> None:
    names = [f"p{number}" for number in range(20)]

    assert listed(names[:1]) == "p0"
    assert listed(names[:12]).endswith("p10, p11")
    assert listed(names).endswith("p10, p11 and 8 more")
