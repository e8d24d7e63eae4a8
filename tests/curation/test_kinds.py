"""Type rules on texts written for this test, and on the labelled sample of real ones."""

from __future__ import annotations

import pytest

from benchmarks.curation.type_filters import LABELS
from curation.choices import close, parse_options, split_options
from curation.fields import answer_text
from curation.files import read_jsonl
from curation.kinds import kinds_of
from curation.language import language
from curation.row import Row
from curation.text import repair, strip_instructions
from tests.shared_data import shared_rows

CASES = [
    ("What is 3+5-2?", "6", set()),
    ("Is 3+5-2 equal to 6?", "yes", {"yes_no"}),
    ("Is 91 prime?", "", {"yes_no"}),
    ("True or false: every even number above 2 is a sum of two primes.", "true", {"yes_no"}),
    ("Determine whether the series of reciprocals of squares converges.", "Yes", {"yes_no"}),
    ("Determine whether 91 is prime, and find the sum of its divisors.", "112", set()),
    ("3+5-2 = ? (A) 5 (B) 6", "B", {"multiple_choice"}),
    ("Which of the following is prime? A. 21 B. 22 C. 23", "C", {"multiple_choice"}),
    ("In triangle ABC, (AB)(BC) = 12 and AB = 3. Find BC.", "4", set()),
    ("Points A, B, C and D lie on a line. If AB = 2, find CD.", "2", set()),
    ("Prove that the square root of 2 is irrational.", "", {"proof"}),
    ("Show that 7 divides 8^n - 1, and find the quotient for n = 2.", "9", set()),
    ("Find, with proof, the least n such that n! ends in 10 zeros.", "45", set()),
    ("(a) Find the slope of y = 3x. (b) Find its value at x = 2.", "6", {"multi_part"}),
    ("Let f satisfy (i) f(0) = 1 and (ii) f(x+1) = 2f(x). Find f(5).", "32", set()),
    ("How many pairs (A, B) and (B, A) are there if A and B are digits?", "90", set()),
    ("In the figure below, find the area of the shaded region.", "12", {"figure"}),
    ("Find the area. [asy] draw((0,0)--(3,0)--(3,4)--cycle); [/asy]", "6", {"figure"}),
    (
        "A square has side 4. Find its area. [asy] draw((0,0)--(4,0)--(4,4)--(0,4)--cycle); [/asy]",
        "16",
        set(),
    ),
    ("Square $ABCD$ has side 4. Find its area, as shown. [asy] draw(A--B); [/asy]", "16", {"figure"}),
    ("Two sides of a triangle are 3 and 4. What is $x$? [asy] draw(A--B); [/asy]", "5", {"figure"}),
    ("A disc has radius 2. What is the area of $AMB$? [asy] draw(A--M); [/asy]", "5", {"figure"}),
    ("The sums are shown below.\n\\begin{tabular}{c}1\\\\2\\end{tabular}\nAdd them.", "3", set()),
    ("What is the area under the curve in ./plots/parabola.png?", "3", {"figure"}),
    ("What is the area of the rectangle $AQRD$ shown? Both squares have side 15.", "15", {"figure"}),
    ("The graph of f is shown in red below. Find f(1).", "3", {"figure"}),
    ("Fig. Q8 shows the contour of an object. How many corners has it?", "3", {"figure"}),
    ("It can be shown. Find the sum of the numbers from 1 to 9.", "45", set()),
    ("She painted a picture of 3 by 4 feet. How large is the picture?", "12", set()),
    ("Figures 0 and 1 have 1 and 5 squares. How many are in figure $100$?", "401", set()),
    ("How much do they save if they choose the first option of the two car rentals?", "22", set()),
    ("Find the largest n. Also, determine the values of a and b there.", "5", {"multi_part"}),
    ("Does this imply that p = 3? Provide a justification for your answer.", "3", {"yes_no"}),
    ("Find an upper bound for the smallest such K.", "pq", {"open_ended"}),
    ("The point (2,3) is rotated by 90 degrees. What is the image of the point?", "(-3,2)", set()),
    ("Liam figures that his picture costs $5. How much do four pictures cost?", "20", set()),
    ("Find the angle; the diagram is at https://example.org/a.png", "30", {"link", "figure"}),
    ("Give an example of a continuous function that is nowhere differentiable.", "W(x)", {"open_ended"}),
    ("Explain why the sum of two odd numbers is even.", "", {"open_ended"}),
    ("Trouver la somme des nombres premiers dans la liste des entiers pour n = 5.", "28", {"language"}),
    ("求最小的正整数 n 使得 n! 能被 100 整除。", "10", {"language"}),
    (
        "Matt has ten times as many beans as Ann, and as many as Bo. As Ann has 2, how many has Bo?",
        "20",
        set(),
    ),
]


@pytest.mark.parametrize(("text", "answer", "kinds"), CASES)
def test_each_text_has_the_types_a_reader_gives_it(text: str, answer: str, kinds: set[str]) -> None:
    assert set(kinds_of(text, answer)) == kinds


def test_precision_and_recall_on_the_labelled_sample_are_at_least_nine_tenths() -> None:
    labels = list(read_jsonl(LABELS))
    names = {label["id"].split("/")[0] for label in labels}
    rows = {row["id"]: row for name in sorted(names) for row in shared_rows(f"raw/{name}.jsonl.gz")}
    right: dict[str, list[int]] = {}
    for label in labels:
        row = rows[label["id"]]
        text = strip_instructions(repair(row["problem"]).text).text
        options = parse_options((row["meta"] or {}).get("options"))
        found = label["kind"] in kinds_of(text, answer_text(row["answer"]), options)
        counts = right.setdefault(label["kind"], [0, 0, 0])
        counts[0] += found and label["label"]
        counts[1] += found
        counts[2] += label["label"]
    for kind, (both, flagged, labelled) in right.items():
        assert both >= 0.9 * flagged, f"precision of {kind}"
        assert both >= 0.9 * labelled, f"recall of {kind}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Найдите сумму всех простых чисел", "ru"),
        ("Finde die Summe der Zahlen, die durch 3 teilbar sind und mit 1 enden", "de"),
        (r"Let $\alpha$ and β be angles of the triangle.", "en"),
        (r"$x^2 = 4$", "en"),
    ],
)
def test_language(text: str, code: str) -> None:
    assert language(text) == code


OPTIONS = [
    ["A)36", "B)15"],
    "a ) 36 , b ) 15",
    ["A)A)36", "B)B)15"],
    "a ) a ) 36 , b ) b ) 15",
    [[{"aoVal": "A", "content": "36 "}], [{"aoVal": "B", "content": "15"}]],
    {"A": "36", "B": "15"},
    {"label": ["A", "B"], "text": ["36", "15"]},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_every_source_are_read(options: object) -> None:
    assert parse_options(options) == ["36", "15"]


def test_a_question_with_options_becomes_a_closed_one() -> None:
    text = r"What is $6^2$? $\textbf{(A)}\ 12\qquad\textbf{(B)}\ 36\qquad\textbf{(C)}\ 38$"
    assert split_options(text) == ("What is $6^2$?", ["12", "36", "38"])
    row = Row(0, "s:1", "s", text, "B")
    assert close(row) is None
    assert (row.problem, row.answer) == ("What is $6^2$?", "36")
    assert row.original == {"problem": text, "answer": "B"}
    with_value = Row(0, "s:1", "s", text, "36")
    assert close(with_value) is None
    assert (with_value.problem, with_value.answer) == ("What is $6^2$?", "36")


@pytest.mark.parametrize(
    ("text", "question"),
    [
        (
            "The ones digit of $$2\\times3$$ is． ",
            "The ones digit of $$2\\times3$$ is ____. Fill in the blank.",
        ),
        ("$$2\\times3=$$． ", "$$2\\times3=$$ ____. Fill in the blank."),
        ("the probability is - .", "the probability is ____. Fill in the blank."),
        ("the dividend is", "the dividend is ____. Fill in the blank."),
        ("the value of two times three is :", "the value of two times three is ____. Fill in the blank."),
        (r"$2\times3=\left( \ \ \right).$", r"$2\times3=$ ____. Fill in the blank."),
        (r"A die has ~\uline{~~~~~~~~~~}~ faces.", r"A die has ____ faces. Fill in the blank."),
    ],
)
def test_a_statement_that_ends_in_a_blank_is_a_question(text: str, question: str) -> None:
    row = Row(0, "s:1", "s", text, "B", options=["5", "6"])
    assert close(row) is None
    assert (row.problem, row.answer, row.original["problem"]) == (question, "6", text)


def test_marks_of_conditions_are_no_options() -> None:
    text = (
        "P has integer coefficients. (A) P(1) = a. (B) P(2) = 3a + 1. (C) P(0) = 2. Determine the value of a."
    )
    assert "multiple_choice" not in kinds_of(text, "12")
    row = Row(0, "s:1", "s", "Which n has (A) n > 1 (B) n > 2 (C) n > 3? Give it.", "7")
    assert close(row) is not None


def test_a_question_of_what_can_be_made_is_closed() -> None:
    row = Row(0, "s:1", "s", "How many numbers can be formed from 2, 3 and 4？", "A", options=["6", "9"])
    assert close(row) is None
    row = Row(
        0, "s:1", "s", "What is the least number of cards that could be in it?", "A", options=["6", "9"]
    )
    assert close(row) is None
    row = Row(0, "s:1", "s", "What could be the number of cards?", "A", options=["6", "9"])
    assert close(row) is not None
    row = Row(0, "s:1", "s", r"The lowest score could be~\uline{~~~}~.", "A", options=["6", "9"])
    assert close(row) is not None
    row = Row(0, "s:1", "s", "If n divides 12, then n could be", "A", options=["6", "9"])
    assert close(row) is not None


@pytest.mark.parametrize(
    ("text", "options", "answer"),
    [
        ("Which of these is prime?", ["21", "23"], "B"),
        ("What is 2+2?", ["3", "None of the above"], "B"),
        ("What colour is made?", ["red", "blue"], "A"),
        ("What is 2+2?", ["3", "4"], "F"),
        ("A property of multiples of $$4$$ is ．", ["They end in 8", "they are even"], "A"),
        ("It is true that multiples of $$4$$ end in $$4$$．", ["4", "5"], "A"),
    ],
)
def test_what_needs_its_options_is_not_converted(text: str, options: list[str], answer: str) -> None:
    row = Row(0, "s:1", "s", text, answer, options=options)
    assert close(row) is not None
    assert row.problem == text
