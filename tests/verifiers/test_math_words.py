"""Numbers, times and dates in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.math.counting import number_word
from verifiers.math.dates import same_date, same_time, time_of


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("seventeen", "17"),
        ("Forty-Two", "42"),
        ("one hundred and five", "105"),
        ("twelve hundred", "1200"),
        ("two million three hundred thousand and one", "2300001"),
        ("minus three", "-3"),
        ("one half", "\\frac{1}{2}"),
        ("two thirds", "\\frac{2}{3}"),
        ("three and a half", "\\frac{7}{2}"),
        ("\\text{nine}", "9"),
    ],
)
def test_numbers_in_words_are_read(words: str, number: str) -> None:
    assert number_word(words) == number


@pytest.mark.parametrize(
    "words",
    [
        "four two",
        "twenty fifth",
        "one two thirds",
        "five twenty",
        "two half",
        "hundred",
        "third",
        "one or two",
        "x",
        "",
    ],
)
def test_what_is_no_number_in_words_is_none(words: str) -> None:
    assert number_word(words) is None


_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@given(st.integers(2, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["thousand", "million"]))
def test_spelled_numbers_have_their_value(tens: int, ones: int, hundreds: int, scale: str) -> None:
    text = f"{_TENS[tens - 2]}-{_ONES[ones - 1]} {scale} {_ONES[hundreds - 1]} hundred"
    assert number_word(text) == str(
        (10 * tens + ones) * {"thousand": 1000, "million": 10**6}[scale] + 100 * hundreds
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("15:45", "3:45 PM", True),
        ("3:45 pm", "3:45 \\text{ p.m.}", True),
        ("noon", "12:00 PM", True),
        ("20:34", "20:34:00", True),
        ("3:45 AM", "3:45 PM", False),
        ("3:45", "3:45 PM", False),
        ("12:00 AM", "12:00 PM", False),
    ],
)
def test_times_are_the_same_on_both_clocks(ours: str, theirs: str, same: bool) -> None:
    left, right = time_of(ours), time_of(theirs)
    assert left is not None
    assert right is not None
    assert same_time(left, right) is same


@pytest.mark.parametrize("text", ["3", "3:4", "45", "3:45:6:7", "3 apples"])
def test_a_number_alone_is_no_time(text: str) -> None:
    assert time_of(text) is None


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("3 March", "March 3", True),
        ("the 3rd of March, 2024", "March 3", True),
        ("July 4 1776", "July 4, 1776", True),
        ("Friday, 13 March", "Friday, March 13", True),
        ("March 3", "March 3, 2024", False),
        ("March 13", "March 3", False),
        ("Monday, March 3", "Friday, March 3", False),
        ("March", "March 3", None),
        ("May", "may 4", None),
    ],
)
def test_dates_in_any_order(answer: str, gold: str, same: bool | None) -> None:
    assert same_date(answer, gold) is same
