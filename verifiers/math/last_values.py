"""The last formula or number of a text, where its clause states it as the result.

"2 hours and 30 minutes", "x = 5 and y = -3" and "40, 41 and 42" are one value of several parts; what only says how
many of one unit another has is none.
"""

from __future__ import annotations

import re

from verifiers.math.boxes import Extraction
from verifiers.math.clauses import stated
from verifiers.math.numbers import parse_rational
from verifiers.math.prose import HEDGE, NUMBER, SPECIAL, last_of, math_spans, modified, readable
from verifiers.math.units import convert, parse_unit

_ITEM_BEFORE = re.compile(
    r"(?<![\w.,])(?:[-−]?\d[\d./]{0,30}%?|\$[^$\n]{1,80}\$)\s?\$?\s?(?:,\s?(?:and\b|or\b)?|;|and\b|or\b|&)\s?\$?$"
)
_MOST_LISTED = 40
_LONGEST_ITEM = 120


def _list_start(text: str, start: int) -> int:
    """Where the row of values begins whose last one stands at `start`: 40 in "40, 41 and 42"."""
    for _ in range(_MOST_LISTED):
        before = text[max(0, start - _LONGEST_ITEM) : start].rstrip(" ")
        found = _ITEM_BEFORE.search(before)
        if found is None:
            break
        start = max(0, start - _LONGEST_ITEM) + found.start()
    return start


_OF_SEVERAL = re.compile(
    r"(?i)(?:\b(?:solutions|answers|roots|values|zeros|zeroes|numbers|integers|primes|factors|divisors|lengths"
    r"|sides) (?:are|were)|\bis|=)[\s$:]*$"
)
_LISTED = re.compile(r"\s*(?:,|;|,?\s*(?:and|or))\s*")
_CHUNK = re.compile(
    r"\s?(?:hundred|thousand|million|billion|trillion)\b|[π√^²³][^\s,;:!?]*(?<![.)])|\*[^\s*,;:!?]+(?<![.)])"
)
_COLONS = re.compile(r"\b\d+(?:(?::|\s:\s)\d+)+(?:\s?[ap]\.?m\b\.?)?", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|equals|lies)\s+(?:at\s+(?=\())?")
_FORMULA = re.compile(r"[=+*/^<>(\[]|\d[A-Za-z]")
_TAIL = 20_000


# "The maximum is 5, attained at x = 2." and the marks of a calculator, <<6*8=48>>48.
_ATTAINED = re.compile(
    r"(?<![\s,]),?\s+(?:attained|achieved|reached|occurring|which (?:occurs|is (?:attained|achieved|reached)))"
    r"\s+(?:at|when|for|if|by)\b[^.\n]*(\.?\s*)$"
)
_CALCULATED = re.compile(r"<<[^<>\n]{0,100}>>")


def last_value(text: str) -> Extraction | None:
    """The last formula or number, whichever comes later; one that is denied or an alternative is no answer."""
    tail = _CALCULATED.sub("", _ATTAINED.sub(r"\1", SPECIAL.sub("", text[-_TAIL:])))
    spans = math_spans(tail)
    number = last_of(NUMBER.finditer(tail))
    if not spans and number is None:
        return None
    if spans and (number is None or (number.start() < spans[-1][1] and readable(spans[-1][2]))):
        start, _, content = spans[-1]
        value, rule = content.strip(), "last_math"
        for earlier_start, earlier_end, earlier in reversed(spans[:-1]):
            # "$x = 1$ or $x = 2$" is one answer of two parts.
            if not _LISTED.fullmatch(tail[earlier_end:start]):
                break
            start, value = earlier_start, f"{earlier.strip()}, {value}"
    else:
        assert number is not None
        start, value, rule = number.start(), number.group().strip(), "last_number"
        clock = last_of(_COLONS.finditer(tail))
        if clock is not None and clock.start() <= start < clock.end():
            start, value = clock.start(), clock.group()
        said = _formula_said(tail, number)
        if said is not None:
            return Extraction(said, "last_math")
        if (equation := _equation_said(tail, start, value)) is not None:
            return (
                Extraction(equation, "last_math")
                if stated(tail, start, number.end())
                else Extraction(None, "last_math", "nothing states the last equation as the answer")
            )
        if (quantity := _compound(tail, number)) is not None:
            start, value = quantity
        chunk = _CHUNK.match(tail, start + len(value))
        if chunk is not None and readable(value + chunk.group()):
            # 25π and 3√2 are no 25 and 3.
            value += chunk.group()
    end = spans[-1][1] if rule == "last_math" else start + len(value)
    listed = _list_start(tail, start)
    if listed < start:
        # One of several numbers is no answer; all of them together may be.
        start, value = listed, tail[listed:end].strip()
        if not _OF_SEVERAL.search(tail, max(0, start - 60), start):
            return Extraction(None, rule, "the last value is one of several numbers in a row")
    if modified(tail, start, end) or _is_conversion(tail, start, end) or not stated(tail, start, end):
        return Extraction(None, rule, "nothing states the last value as the answer")
    return Extraction(value, rule)


_MEASURED = re.compile(r"(?<![\w.,])\$?\d[\d,.]*\s+([A-Za-z]+),?\s+(?:and\s+)?$")
_UNIT = re.compile(r"\s*([A-Za-z]+)")


def _compound(text: str, number: re.Match[str]) -> tuple[int, str] | None:
    """Start and text of "2 hours and 30 minutes", whose last number is only a part of it."""
    start = max(0, number.start() - 60)
    first, second = _MEASURED.search(text[start : number.start()]), _UNIT.match(text, number.end())
    if first is None or second is None:
        return None
    units = [parse_unit(name[1]) for name in (first, second)]
    if not units[0] or not units[1] or units[0] == units[1] or convert(units[0])[0] != convert(units[1])[0]:
        return None
    start += first.start()
    return start, text[start : second.end()]


_ONE_OF = re.compile(r"(?i)\b(?:an?|one|1|each|every|per)\s+([a-z]+)")
_CALENDAR = {("day", "year"): (365, 366), ("week", "year"): (52,), ("day", "month"): (28, 29, 30, 31)}


def _is_conversion(text: str, start: int, end: int) -> bool:
    """Whether a value only says how many of one unit another has: "there are 60 minutes in an hour"."""
    value, counted = parse_rational(text[start:end].strip()), _UNIT.match(text, end)
    if value is None or counted is None or not (small := parse_unit(counted[1])):
        return False
    sentence = text[max(0, text.rfind(".", 0, start) + 1) : start] + text[counted.end() :].partition(".")[0]
    for found in _ONE_OF.finditer(sentence):
        large = parse_unit(found[1])
        if large is None or len(large) != 1 or large == small:
            continue
        (dimension, factor), (wanted, whole) = convert(small), convert(large)
        if dimension == wanted and value * factor == whole:
            return True
        if len(small) == 1 and value in _CALENDAR.get((small[0][0], large[0][0]), ()):
            return True
    return False


_EQUALS = re.compile(r"[=][\s$]*$")
# A word of an equation: signs and numbers, and letters that stand alone.
_TERM = re.compile(r"(?:[^A-Za-z]|(?<![A-Za-z])[A-Za-z](?![A-Za-z]))+")

_EARLIER = re.compile(
    r"(?<![\w=])(?P<equation>(?P<name>[A-Za-z])\s*=\s*[^\s=,;:A-Za-z]+)\s*(?P<link>,\s*and|,\s*or|\band|\bor|,)\s*$"
)


def _equation_said(text: str, start: int, value: str) -> str | None:
    """The equation "2x = 5" whose right side is the last number: its left side says of what."""
    lead = text[max(0, start - 100) : start].rpartition("\n")[2]
    if not _EQUALS.search(lead):
        return None
    terms: list[str] = []
    for word in reversed(lead.replace("$", " ").replace("=", " = ").split()):
        if not _TERM.fullmatch(word) or word[-1] in ".,;:":
            break
        terms.insert(0, word)
    if terms[:1] == ["x"] and len(terms) > 2 and terms[1].isdigit():
        # "6 rows x 8 = 48"
        return None
    equation = " ".join([*terms, value])
    if len(terms) < 2 or not readable(equation):
        return None
    named = {terms[0]}
    rest = lead.replace("$", " ").rstrip()
    rest = rest[: rest.rindex(terms[0], 0, rest.rindex("="))] if len(terms) == 2 else ""
    while (earlier := _EARLIER.search(rest)) is not None and (
        (earlier["name"] in named) == earlier["link"].endswith("or")
    ):
        # "x = 5 and y = -3" is one answer of two parts.
        named.add(earlier["name"])
        equation, rest = f"{earlier['equation']}, {equation}", rest[: earlier.start()]
    return equation


def _formula_said(text: str, number: re.Match[str]) -> str | None:
    """The formula of "the line is y = 2x + 3.", whose last number is only a part of it."""
    begin = max(text.rfind("\n", 0, number.start()), number.start() - 200) + 1
    verb = last_of(_COPULA.finditer(text, begin, number.start()))
    rest = text[verb.end() :].partition("\n")[0].strip().rstrip(".").strip() if verb else ""
    if (
        not _FORMULA.search(rest)
        or HEDGE.search(rest)
        or "$" in rest
        or len(rest) > 100
        or not readable(rest)
    ):
        return None
    return rest
