"""Laws of the math verifier on generated answers: reflexive, symmetric, blind to spelling, sharp."""

from __future__ import annotations

from fractions import Fraction

import sympy
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from verifiers import MathVerifier, Problem

WHOLE = MathVerifier("whole")
LENIENT = MathVerifier()
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

x, y = sympy.symbols("x y", positive=True)
leaves = st.one_of(
    st.integers(-9, 9).map(sympy.Integer),
    st.sampled_from([x, y, sympy.pi, sympy.sqrt(2), sympy.Rational(2, 3), sympy.E]),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
        st.tuples(inner, st.integers(2, 3)).map(lambda pair: pair[0] ** pair[1]),
        inner.map(lambda e: sympy.sin(e)),
        inner.map(lambda e: 1 / (1 + e**2)),
    ),
    max_leaves=5,
)
fractions = st.fractions(min_value=-1000, max_value=1000, max_denominator=999)


def latex(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    if value.denominator == 1:
        return f"{value.numerator}"
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


@SOME
@given(expressions)
def test_every_expression_equals_itself_in_another_form(expression: sympy.Expr) -> None:
    assume(not expression.has(sympy.zoo, sympy.nan, sympy.oo))
    one, other = sympy.latex(expression), sympy.latex(sympy.expand(expression))
    forward = WHOLE.verify(one, other)
    assert forward.correct or forward.method == "unevaluated", (one, other, forward)
    assert WHOLE.verify(one, one).correct
    plain = str(expression).replace("E", "e")
    assert WHOLE.verify(plain, one).correct or forward.method == "unevaluated", plain


@SOME
@given(expressions, expressions)
def test_equality_is_symmetric_and_agrees_with_sympy(left: sympy.Expr, right: sympy.Expr) -> None:
    assume(not (left - right).has(sympy.zoo, sympy.nan, sympy.oo))
    one, other = sympy.latex(left), sympy.latex(right)
    forward, backward = WHOLE.verify(one, other), WHOLE.verify(other, one)
    if "unevaluated" not in (forward.method, backward.method):
        assert forward.correct == backward.correct
        point = {x: sympy.Rational(13, 7), y: sympy.Rational(5, 11)}
        apart = abs(sympy.N((left - right).subs(point), 40)) > sympy.Float("1e-20")
        assert forward.correct != bool(apart)


@SOME
@given(fractions, fractions)
def test_rationals_are_equal_exactly_when_they_are(one: Fraction, other: Fraction) -> None:
    assert WHOLE.verify(latex(one), f"{one.numerator}/{one.denominator}").correct
    assert WHOLE.verify(latex(one), latex(other)).correct == (one == other)


@SOME
@given(st.integers(-(10**12), 10**12))
def test_thousands_separators_of_every_style_are_read(number: int) -> None:
    for separator in (",", "{,}", "\\,", " ", ",\\!"):
        assert WHOLE.verify(f"{number:,}".replace(",", separator), str(number)).correct


@SOME
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6), st.randoms())
def test_lists_match_in_any_order_and_only_whole(numbers: list[int], random: object) -> None:
    shuffled = sorted(numbers, key=lambda n: (n * 7919) % 101)
    gold = ", ".join(map(str, numbers))
    assert WHOLE.verify(" and ".join(map(str, shuffled)), gold).correct
    assert not WHOLE.verify(", ".join(map(str, numbers[:-1])), gold).correct
    changed = [*numbers[:-1], numbers[-1] + 1]
    assert not WHOLE.verify(", ".join(map(str, changed)), gold).correct


@SOME
@given(fractions, fractions, st.booleans(), st.booleans())
def test_an_interval_is_its_inequality(a: Fraction, b: Fraction, closed_low: bool, closed_high: bool) -> None:
    assume(a < b)
    low, high = latex(a), latex(b)
    interval = f"{'[' if closed_low else '('}{low}, {high}{']' if closed_high else ')'}"
    signs = {True: "\\le", False: "<"}
    inequality = f"{low} {signs[closed_low]} x {signs[closed_high]} {high}"
    flipped = f"{'(' if closed_low else '['}{low}, {high}{']' if closed_high else ')'}"
    assert WHOLE.verify(interval, inequality).correct
    assert WHOLE.verify(inequality, interval).correct
    assert not WHOLE.verify(flipped, inequality).correct


@SOME
@given(st.integers(-20, 20), st.integers(0, 12), st.booleans(), st.booleans())
def test_a_set_of_whole_numbers_is_its_numbers_and_no_interval(
    low: int, length: int, closed_low: bool, closed_high: bool
) -> None:
    high = low + length + 2
    signs = {True: "\\le", False: "<"}
    bounds = f"{low} {signs[closed_low]} n {signs[closed_high]} {high}"
    inside = range(low + (not closed_low), high + closed_high)
    listed = ", ".join(map(str, inside))
    interval = f"{'[' if closed_low else '('}{low}, {high}{']' if closed_high else ')'}"
    for builder in (
        f"\\{{n \\in \\mathbb{{Z}} \\mid {bounds}\\}}",
        f"\\{{n : {bounds}, n\\in\\mathbb{{Z}}\\}}",
    ):
        assert WHOLE.verify(builder, f"\\{{{listed}\\}}").correct
        assert WHOLE.verify(listed, builder).correct
        assert not WHOLE.verify(f"{listed}, {high + 1}", builder).correct
        assert not WHOLE.verify(builder, interval).correct
        assert not WHOLE.verify(interval, builder).correct


@SOME
@given(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from("xyta"))
def test_a_factored_gold_without_its_question_wants_factors(p: int, q: int, letter: str) -> None:
    assume(0 != p != q != 0)
    gold, turned = f"({letter}{p:+})({letter}{q:+})", f"({letter}{q:+})({letter}{p:+})"
    multiplied = f"{letter}^2{p + q:+}{letter}{p * q:+}"
    assert WHOLE.verify(turned, gold).correct
    assert WHOLE.verify(multiplied, gold).method == "form"
    assert WHOLE.verify(gold, multiplied).correct
    asked = Problem(id="p", prompt="Which polynomial has these roots?", answer=gold)
    assert WHOLE.verify(multiplied, asked).correct


@SOME
@given(st.integers(1, 999))
def test_a_place_is_said_with_or_without_its_ending(number: int) -> None:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    for place in (f"{number}{ending}", f"{number}^{{\\text{{{ending}}}}}"):
        assert WHOLE.verify(place, str(number)).correct
        assert not WHOLE.verify(place, str(number + 1)).correct


@SOME
@given(st.integers(1, 9), st.integers(1, 59))
def test_hours_and_minutes_are_one_value_in_a_sentence(hours: int, minutes: int) -> None:
    total = 60 * hours + minutes
    for said in (f"{hours} hours and {minutes} minutes", f"{hours} hours {minutes} minutes"):
        assert LENIENT.verify(f"The trip takes {said}.", f"{total} minutes").correct
        assert not LENIENT.verify(f"The trip takes {said}.", f"{total + 1} minutes").correct
        assert not LENIENT.verify(f"The trip takes {said}.", f"{minutes} minutes").correct


@SOME
@given(
    st.sampled_from(
        [
            ("minutes", "hour", 60),
            ("inches", "foot", 12),
            ("grams", "kilogram", 1000),
            ("cents", "dollar", 100),
        ]
    ),
    st.integers(2, 5000),
)
def test_what_only_says_how_many_of_one_unit_another_has_is_no_answer(
    units: tuple[str, str, int], number: int
) -> None:
    small, large, factor = units
    article = "an" if large[0] in "aeiouh" else "a"
    assert not LENIENT.verify(f"There are {factor} {small} in {article} {large}.", str(factor)).correct
    assume(number != factor)
    assert LENIENT.verify(f"There are {number} {small} in the box.", str(number)).correct


@SOME
@given(st.integers(2, 99))
def test_percent_degrees_and_other_units_of_one_number_are_not_the_same(number: int) -> None:
    written = [f"{number}\\%", f"{number}^\\circ", f"{number}\\text{{ cm}}", f"{number}\\text{{ mm}}"]
    for one in written:
        for other in written:
            assert WHOLE.verify(one, other).correct == (one == other), (one, other)


LATEX = st.text(alphabet="0123456789xyabn+-*/^_{}()[]\\|,.;:=<>$% '&~!\n", max_size=60)
PIECES = [
    *("\\frac", "\\sqrt", "\\boxed", "\\text", "\\left(", "\\right)", "\\begin{pmatrix}", "\\end{pmatrix}"),
    *("\\cup", "\\infty", "\\pm", "\\sin", "\\log", "\\sum", "\\int", "\\le", "\\ne", "\\in", "\\overline"),
    *("\\{", "\\}", "\\lfloor", "\\rfloor", "\\\\", "\\%", "\\circ", "or", "and", *"|^_{}2x,=<()[]&"),
]
COMMANDS = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(LATEX, COMMANDS, st.text(max_size=40)), st.one_of(LATEX, COMMANDS, st.just("42")))
def test_no_text_raises_or_is_accepted_for_an_unlike_gold(response: str, gold: str) -> None:
    for verifier in (WHOLE, LENIENT):
        verdict = verifier.verify(response, gold)
        assert verdict.status in ("correct", "incorrect", "no_answer")
        assert verdict.reward == (1.0 if verdict.correct else -1.0)
