"""The format verifier: tags in order and once each, nothing outside, one language."""

from __future__ import annotations

import pytest

from verifiers import FormatVerifier, InputError

R1 = FormatVerifier()
GOOD = "<think>\nLet me see.\n</think>\n<answer>\n42\n</answer>\n"


def test_the_r1_format_is_accepted_and_its_answer_read() -> None:
    verdict = R1.verify(GOOD, "gold plays no part")
    assert (verdict.reward, verdict.status, verdict.extracted) == (1.0, "correct", "42")


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        ("42", "tags"),
        ("<think>a</think>42", "tags"),
        ("<think>a</think><answer>1</answer><answer>2</answer>", "tags"),
        ("<think>a<think>b</think></think><answer>1</answer>", "tags"),
        ("<answer>1</answer><think>a</think>", "order"),
        ("</think>a<think><answer>1</answer>", "order"),
        ("Sure! <think>a</think><answer>1</answer>", "outside"),
        ("<think>a</think> so <answer>1</answer>", "outside"),
        ("<think>a</think><answer>1</answer> Done.", "outside"),
        ("<think>a</think><answer> </answer>", "empty"),
        ("<Think>a</Think><answer>1</answer>", "tags"),
    ],
)
def test_every_breach_is_named(response: str, fault: str) -> None:
    verdict = R1.verify(response, "")
    assert (verdict.reward, verdict.status, verdict.method) == (-1.0, "incorrect", f"format:{fault}")
    assert verdict.detail


def test_qwen3_wants_text_after_thinking_and_no_answer_tags() -> None:
    qwen3 = FormatVerifier(style="qwen3")
    assert qwen3.verify("<think>\n\n</think>\n\nThe answer is 42.", "").correct
    assert not qwen3.verify("<think>a</think>\n", "").correct
    assert not qwen3.verify("The answer is 42.", "").correct
    assert not qwen3.verify("a</think> 42", "").correct
    assert FormatVerifier(style="think").verify("a</think> 42", "").correct
    assert FormatVerifier(style="think").verify("<think>a</think> 42", "").correct
    strict = FormatVerifier(style="qwen3", allow_empty_thinking=False)
    assert strict.verify("<think>\n\n</think> 42", "").method == "format:empty"


def test_tags_can_be_named_and_a_box_required() -> None:
    named = FormatVerifier(think_tag="reasoning", answer_tag="final", require_boxed=True)
    assert named.verify("<reasoning>a</reasoning><final>\\boxed{4}</final>", "").correct
    assert named.verify("<reasoning>a</reasoning><final>4</final>", "").method == "format:boxed"
    assert named.verify("<reasoning>a</reasoning><final>\\boxed{4</final>", "").method == "format:boxed"
    assert not named.verify("<think>a</think><answer>\\boxed{4}</answer>", "").correct


def test_language_consistency_looks_past_formulas_and_code() -> None:
    english = FormatVerifier(language="latin")
    assert english.verify(
        "<think>Only $\\alpha\\beta = \\text{привет}$ here</think><answer>42</answer>", ""
    ).correct
    mixed = english.verify("<think>我们首先考虑这个问题的条件</think><answer>42 apples</answer>", "")
    assert mixed.method == "format:language"
    chinese = FormatVerifier(language="chinese")
    assert chinese.verify("<think>我们首先考虑这个问题</think><answer>42</answer>", "").correct
    assert not chinese.verify("<think>Let us think about it</think><answer>42</answer>", "").correct
    assert (
        FormatVerifier(language="latin", language_share=0.3)
        .verify("<think>ab 我</think><answer>c</answer>", "")
        .correct
    )


@pytest.mark.parametrize(
    "options",
    [{"style": "r2"}, {"language": "klingon"}, {"language_share": 1.5}, {"think_tag": "<think>"}],
)
def test_wrong_options_are_input_errors(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        FormatVerifier(**options)  # type: ignore[arg-type]
