"""Where the final answer of a response is found, and where there is none."""

from __future__ import annotations

import time

import pytest

from verifiers.math.extraction import extract, find_boxes, parse_rules


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{41} wait, actually \\boxed{42}", "42"),
        ("\\boxed{10} and then \\boxed{42}", "42"),
        ("$\\boxed{2}$ and $\\boxed{3}$", "2, 3"),
        ("\\boxed{(1, 2)}, \\boxed{(2, 1)}", "(1, 2), (2, 1)"),
        ("\\boxed{9} \\boxed{42}", "42"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\fbox{7}", "7"),
        ("\\boxed 5", "5"),
        ("<think>\\boxed{1}</think>The answer is \\boxed{2}", "2"),
        ("thinking ... </think> \\boxed{2}", "2"),
        ("<answer>84</answer>", "84"),
        ("<answer>\\boxed{84}</answer>", "84"),
        ("#### 72", "72"),
        ("#### 13\nThe answer is: 14", "14"),
        ("x = 3\nFinal answer: 42", "42"),
        ("Answer: 41 was a wrong guess.\nAnswer: 42", "42"),
        ("**Answer:** $\\frac{3}{4}$", "$\\frac{3}{4}$"),
        ("The answer is 42 because geometry proves it", "42"),
        ("Final Answer: The final answer is $7$. I hope it is correct.", "$7$"),
        ("Final Answer: The number of points is 19. <|im_start|>user", "19"),
        ("The answer is 12.\nThe answer is", "12"),
        ("The answer is 12.\nThis answer is correct.", "12"),
        ("答案是：5", "5"),
        ("The total is **12 apples**.", "12 apples"),
        ("So there are 5 of them. Hence $x = 9$.", "x = 9"),
        ("We have $x = 9$. So there are 5 of them.", "5"),
        ("Thus it costs 1,250 dollars.", "1,250"),
        ("\\frac{10}{9}", "\\frac{10}{9}"),
        ("odd", "odd"),
        ("\\[\n x = 5 \n\\]", "\\[\n x = 5 \n\\]"),
        ("Answer:\n$$\n\\frac{1}{2}\n$$", "$$\n\\frac{1}{2}\n$$"),
    ],
)
def test_the_final_answer_is_found(response: str, answer: str) -> None:
    assert extract(response, ("lenient",)).answer == answer


@pytest.mark.parametrize(
    "response",
    [
        "",
        "   ",
        "I give up.",
        "<think>\\boxed{42}</think> I give up.",
        "<think>so far \\boxed{42}",
        "\\boxed{}",
        "\\boxed{ }",
        "\\boxed{42",
        "\\boxed{1} and more \\boxed{42",
        "The answer is not 42",
        "It is not 42",
        "It could be 41 or 42",
        "There are at least 42",
        "The answer is",
        "The answer is unknown",
    ],
)
def test_no_answer_is_found_where_none_is_given(response: str) -> None:
    found = extract(response, ("lenient",))
    assert found.answer is None, found
    assert found.reason


@pytest.mark.parametrize(
    "statement",
    [
        "So the total is 42.",
        "There are 42 of them.",
        "Thus, 42 students passed.",
        "40 + 2 = 42",
        "Total: 42",
        "She pays $42.",
        "42 people were late.",
        "El resultado final es 42.",
        "所以一共有42个。",
        "At first sight 41, but after checking, the answer is 42.",
    ],
)
def test_a_value_in_prose_counts_where_its_clause_states_it(statement: str) -> None:
    found = extract(f"Some work, 6 times 7 and so on.\n{statement}", ("lenient",)).answer
    assert found is not None
    assert found.replace("$", "").endswith("42")


@pytest.mark.parametrize(
    "statement",
    [
        "The book says 42.",
        "Some would answer 42.",
        "My friend claims the answer is 42.",
        "The teacher's answer was 42.",
        "Suppose x = 42.",
        "The options are 40, 41 and 42.",
        "Does Tom have 42 apples?",
        "He had 42 at first.",
        "x = 42 fails.",
        "The answer is far from 42.",
        "The answer is 42. No, wait, that is wrong.",
        "We get 42. This is impossible.",
    ],
)
def test_what_is_reported_supposed_or_taken_back_is_no_answer(statement: str) -> None:
    assert extract(statement, ("lenient",)).answer is None


@pytest.mark.parametrize(
    "response",
    [
        "2 \\cdot \\boxed{21} = 42",
        "\\boxed{42} + 1",
        "\\frac{\\boxed{42}}{2}",
        "\\frac{1}{\\boxed{42}}",
        "-\\boxed{42}",
        "\\boxed{42}\\pi",
        "x > \\boxed{42}",
        "(\\boxed{42}, 43)",
        "\\boxed{42}. Hmm, no, that's not right.",
        "\\boxed{42}. Then the answer is 43.",
        "\\boxed{42} <think>but maybe",
    ],
)
def test_a_box_inside_a_formula_or_taken_back_is_no_answer(response: str) -> None:
    assert extract(response, ("lenient",)).answer is None


@pytest.mark.parametrize(
    ("rules", "response", "answer"),
    [
        ("boxed", "Answer: 5", None),
        ("boxed", "Answer: \\boxed{5}", "5"),
        ("answer_colon", "\\boxed{5}", None),
        ("answer_colon", "The answer is 5", None),
        ("answer_colon", "Answer: 5", "5"),
        ("boxed,answer_colon", "Answer: 5", "5"),
        ("hash", "Answer: 5", None),
        ("answer_tag", "<answer> 5 </answer>", "5"),
        ("whole", "  5 ", "5"),
    ],
)
def test_a_strict_protocol_reads_nothing_else(rules: str, response: str, answer: str | None) -> None:
    assert extract(response, parse_rules(rules)).answer == answer


def test_boxes_are_balanced_and_outermost() -> None:
    boxes = find_boxes("a \\boxed{x_{1} \\text{ with } \\boxed{2}} b \\boxed{\\}} c \\boxed{open")
    assert [box.content for box in boxes] == ["x_{1} \\text{ with } \\boxed{2}", "\\}"]


@pytest.mark.parametrize(
    "response",
    [
        "the answer is " * 50_000,
        "answer:\n" * 50_000,
        "$" * 500_000,
        "\\boxed{" * 20_000 + "}" * 20_000,
        "\\boxed{1} or " * 30_000,
        "#### " * 100_000,
        "**a" * 100_000,
        "<answer>" * 50_000,
        "\\[" * 100_000,
        "1/" * 100_000,
        "the answer is" + " " * 500_000 + "4",
        "\\" * 500_000,
        "4, 5, " * 100_000,
        "4 and $5$ or " * 50_000,
        "<!--" * 200_000,
        "<thinking>" * 100_000,
        "x = 7 is so = " * 50_000,
        "hmm, well, " * 50_000 + "\\boxed{7}" + "... hmm, well, " * 50_000,
    ],
)
def test_extraction_is_linear_in_what_it_is_given(response: str) -> None:
    started = time.process_time()
    extract(response, ("lenient",))
    assert time.process_time() - started < 1.0
