"""Answers in prose: what a sentence gives as its value, the last formula or number of a text.

A number counts only where nothing around it makes another value of it: "twice 12", "12 or more", "not 12".
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from verifiers.math.boxes import Extraction
from verifiers.math.clauses import retracted, stated
from verifiers.math.normalisation import canonical_latex
from verifiers.math.numbers import parse_rational
from verifiers.math.parser import LONGEST, UnparsedError, parse
from verifiers.math.text import choice, choices, plain, synonym, without_qualifier, yes_or_no
from verifiers.math.units import convert, parse_unit


def last_of(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    """The last of the matches, or None."""
    return next(iter(deque(matches, maxlen=1)), None)


_SPECIAL = re.compile(r"<\|[^|>]{1,40}\|>.*|</?s>.*|\bI hope it is correct\b.*", re.DOTALL)
_DENIED = re.compile(
    r"(?i)^\W*(?:definitely |certainly |clearly )?(?:not\b|never\b|isn't\b)"
    r"|^\W*(?:unknown|unclear|wrong|none|neither)\b"
    r"|^\W*(?:no (?:es|son|puede)|n'est|ne |nicht|kein|non (?:è|può)|não|не |нет)\b"
)
_UNSURE = re.compile(
    r"(?i)\b(?:not sure|unsure|depends|maybe|perhaps|possibly|unclear|hmm+|I guess"
    r"|(?:might|could) (?:also )?be(?= [$\d\\])"
    r"|quiz[aá]s?|tal vez|podría|puede (?:ser|que)|peut-être|pourrait|vielleicht|könnte|forse|potrebbe|talvez"
    r"|возможно|наверное)\b|可能|也许|或许|大概|かもしれ|たぶん|아마|शायद|ربما"
)
_ASKS = re.compile(r"^[^.!?]*(?:\.\d[^.!?]*)?[?？][\s\"')$]*$")
_SENTENCE_END = re.compile(r"(?<=[^\s.])\.(?:\s+(?=[A-Z\"\\[(])|\s*$)|[。।]|[!?]\s*$")
_COPULA_BEHIND = re.compile(r"\s*(?:हैं?|です|である|입니다|이다)[\s।。.]*$")
_CONTRAST = re.compile(r",?\s+(?:and not|not|non|nicht|rather than|instead of)\s|不是")
_CLAUSE = re.compile(
    r"[,;]?\s+(?:because|since|as|which|due to|so|(?<!given )by|given that|per|after)\s"
    r"|,\s+(?:it|that|this|not|and not|where)\s"
    r"|，|,?\s+\((?:since|because)"
)


# "1/2, i.e. 50%" and "0.5 (or 50%)": two forms that must both be the gold.
_IN_OTHER_WORDS = re.compile(
    r"(?:,\s*i\.e\.,?\s*|\s+\((?:or|i\.e\.,?|that is,?)\s+)([^(),]{1,60}?)\)?(?=[.\s]*$)"
)
# "7 (3 + 4)": what stands in parentheses explains the value.
_EXPLAINED_BEHIND = re.compile(r"([^\s()]+)\s+\(\s*\d[^()]{0,60}[-+*/×=][^()]{0,60}\)\.?")


def answer_of_sentence(rest: str, rule: str, position: int, *, predicate: bool = False) -> Extraction:
    """The answer in a sentence: as it stands, or without the clause that explains it, or its last formula.

    With `predicate` the text stands behind "the answer is", and nothing but filler may come before the value:
    "said to be 7" and "far from 7" give none.
    """
    rest = _SPECIAL.sub("", rest).replace("**", "").replace("__", "").strip().strip('"').strip()
    if rest.endswith("}") and rest.count("{") < rest.count("}"):
        # The end of a JSON object.
        rest = rest[:-1].strip().strip('"')
    if not rest.isascii():
        rest = _COPULA_BEHIND.sub("", rest)
    if _UNSURE.search(rest):
        return Extraction(None, rule, "the sentence hedges", position)
    if _ASKS.search(rest):
        return Extraction(None, rule, "the sentence asks instead of answering", position)
    if _DENIED.search(rest):
        return Extraction(None, rule, "the sentence denies instead of answering", position)
    if contrast := _CONTRAST.search(rest):
        rest = rest[: contrast.start()].strip(" ,;")
    rest = _IN_OTHER_WORDS.sub(r" or \1", rest)
    if (explained := _EXPLAINED_BEHIND.fullmatch(rest)) is not None:
        rest = explained[1]
    if readable(rest):
        return Extraction(rest.rstrip(".").strip(), rule, position=position)
    sentence = rest[: end.start()] if (end := _SENTENCE_END.search(rest)) else rest
    if end is not None and retracted(rest, end.start()):
        return Extraction(None, rule, "the answer is taken back", position)
    if readable(sentence):
        return Extraction(sentence.strip(), rule, position=position)
    if clause := _CLAUSE.search(sentence):
        before = sentence[: clause.start()].strip(" ,;")
        if before and readable(before):
            return Extraction(before, rule, position=position)
    said = _after_verb(sentence)
    if predicate and said is not None and not _FILLED.fullmatch(sentence[: sentence.rfind(said)]):
        return Extraction(
            None, rule, "what the sentence says of the value does not make it the answer", position
        )
    return Extraction(said if said is not None else rest, rule, position=position)


_FILLED = re.compile(
    r"(?i)(?:\W|\b(?:the|an?|number|value|total|sum|exactly|approximately|about|roughly|around|just|only|simply|clearly"
    r"|indeed|then|therefore|thus|so|equal|to|given|by|now|also|option|choice|letter|case|equals|of|is|are|x|y|n"
    r"|that|there|we|have|get|which|probability|area|length)\b(?!\s*(?:log|half|twice)))*"
    r"|that\b.*|.*=[\s$]*|.*\b(?:is|are|equals)[\s$]*"
)
_VERB = re.compile(
    r"\b(?:is|are|equals?|be|was|of|at|by|in|to|costs?|has|have|takes?|need(?:s|ed)?|about|approximately|exactly|total|only)\b|[=:]"
)
_HEDGE = re.compile(
    r"(?i)\b(?:or|either|maybe|perhaps|possibly|might|could|not|neither|nor|cannot|between|at (?:least|most)"
    r"|(?:more|less|fewer|greater|smaller|larger|bigger|higher|lower|other) than)\b|n't\b"
    r"|\b(?:over|under|above|below)\s+\$?\d"
)


_COEFFICIENT = re.compile(r"\d\s*\*?\s*[A-Za-z]\s*$")


def _after_verb(sentence: str) -> str | None:
    """The value in "the number of points is 19": what stands behind the last verb, if it is all there is."""
    if _HEDGE.search(sentence):
        return None
    spans = math_spans(sentence)
    if spans:
        start, end, content = spans[-1]
        before, after = sentence[:start], sentence[end:]
        if not _NUMBER.search(after) and (len(spans) == 1 or _VERB.search(sentence[spans[-2][1] : start])):
            return (
                content.strip()
                if not after.strip(" .,") or not readable(content + after)
                else content.strip() + after
            )
        if not _NUMBER.search(after):
            return None if _NUMBER.search(before) and len(spans) > 1 else content.strip()
    cut = last_of(_VERB.finditer(sentence))
    if cut is not None and readable(sentence[cut.end() :]):
        if cut.group() == "=" and _COEFFICIENT.search(sentence[: cut.start()]):
            # "the solution of 2x = 10" is no 10.
            return None
        value = len(sentence) - len(sentence[cut.end() :].lstrip(" $"))
        return None if _modified(sentence, value, len(sentence)) else sentence[cut.end() :].strip()
    numbers = list(_NUMBER.finditer(sentence))
    if len(numbers) != 1 or _modified(sentence, numbers[0].start(), numbers[0].end()):
        return None
    return numbers[0].group().strip()


def _modified(text: str, start: int, end: int) -> bool:
    """Whether what stands around a number makes another value of it: "twice 12", "12 squared", "over 12"."""
    return bool(
        _DENIED_BEFORE.search(text[max(0, start - 40) : start]) or _OPEN_AFTER.match(text[end : end + 20])
    )


_DELIMITER = re.compile(r"(?<!\\)\$\$?|\\[\[\]()]")
_CLOSING = {"$$": "$$", "$": "$", "\\[": "\\]", "\\(": "\\)"}


def math_spans(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every formula between math delimiters, in order."""
    spans: list[tuple[int, int, str]] = []
    opened: re.Match[str] | None = None
    for found in _DELIMITER.finditer(text):
        mark = found.group()
        if opened is not None and mark == _CLOSING[opened.group()]:
            content = text[opened.end() : found.start()]
            if content.strip() and "\n\n" not in content:
                spans.append((opened.start(), found.end(), content))
            opened = None
        elif mark in _CLOSING:
            opened = found
    return spans


_NUMBER = re.compile(
    r"[-−+]?(?:\d{1,3}(?:(?:,|\{,\}|,\\!)\d{3})+(?!\d)|\d+)(?:\.\d+|,\d{1,2}(?!\d))?(?:\s*/\s*\d+(?:\.\d+)?)?\s?\\?%?|[-−+]?\.\d+%?"
)
_DENIED_BEFORE = re.compile(
    r"(?i)(?:(?:\b(?:not|never|cannot)|n't)(?: be| equal| equal to)?|\b(?:or|either|at least|at most"
    r"|(?:more|less|fewer|greater|smaller|larger|other) than(?: or equal to)?|over|under|above|below"
    r"|within|beyond|except|up to"
    r"|nearly|almost|barely|exceeds?|but|negative|minus|twice|thrice|double|triple|divisible by"
    r"|(?:half|third|quarter|fraction|percent|%|root|square|cube|power|reciprocal|multiples?|factors?|divisors?)"
    r" of)"
    r"|\\(?:neq?|geq?|leq?|approx|not)|[<>≠≥≤≈?])\s*\$?$"
    # What a number names, counts or divides is not the answer.
    r"|\b(?:step|figure|fig\.|theorem|lemma|corollary|equation|eq\.|table|problem|question|example|page|section"
    r"|chapter|case|line|digit|radius|depends on|divided by|such as|for example,?|modulo|possibly"
    r"|reject(?:s|ed)?)\s*[$(]*$"
)
_OPEN_AFTER = re.compile(
    r"(?i)^(?:\W*(?:or|and) (?:more|less|so|fewer|above|below|greater|higher|larger|smaller|lower|\d"
    r"|a (?:half|third|quarter))|\s*[-+*/^]\s*[A-Za-z(\\]"
    r"|\s*(?:[>≤≥≠]|<(?![A-Z/|])|\\(?:leq?|geq?|neq?|lt|gt)\b)"
    r"|\s*(?:times|plus|minus|divided|multiplied|mod(?:ulo)?|raised|unless|if|when|whenever"
    r"|for (?:even|odd|all|any|each|every|some))\b"
    r"|[)$\s]*(?:squared|cubed|factorial)\b|(?:st|nd|rd|th)\b|\s*\?|[-\s]?digits?\b)"
)
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
_COLONS = re.compile(r"\b\d+(?::\d+)+(?:\s?[ap]\.?m\b\.?)?", re.IGNORECASE)
_COPULA = re.compile(r"\b(?:is|are|equals|lies)\s+(?:at\s+(?=\())?")
_FORMULA = re.compile(r"[=+*/^<>(\[]|\d[A-Za-z]")
_TAIL = 20_000


# "The maximum is 5, attained at x = 2." and the marks of a calculator, <<6*8=48>>48.
_ATTAINED = re.compile(
    r",?\s+(?:attained|achieved|reached|occurring|which (?:occurs|is (?:attained|achieved|reached)))"
    r"\s+(?:at|when|for|if|by)\b[^.\n]*(\.?\s*)$"
)
_CALCULATED = re.compile(r"<<[^<>\n]{0,100}>>")


def last_value(text: str) -> Extraction | None:
    """The last formula or number, whichever comes later; one that is denied or an alternative is no answer."""
    tail = _CALCULATED.sub("", _ATTAINED.sub(r"\1", _SPECIAL.sub("", text[-_TAIL:])))
    spans = math_spans(tail)
    number = last_of(_NUMBER.finditer(tail))
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
    if _modified(tail, start, end) or _is_conversion(tail, start, end) or not stated(tail, start, end):
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
        or _HEDGE.search(rest)
        or "$" in rest
        or len(rest) > 100
        or not readable(rest)
    ):
        return None
    return rest


def bare(text: str) -> Extraction | None:
    """A response that is nothing but its answer."""
    text = _SPECIAL.sub("", text).strip().lstrip("#").strip()
    if text.startswith("> **"):
        text = text[2:]
    if len(text) > 4 and text.startswith("**") and text.endswith("**"):
        text = text[2:-2].strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`*_" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    if not text or len(text) > 400 or "\n\n" in text or "\\boxed" in text:
        return None
    lines = text.split("\n")
    if len(lines) > 1 and all(map(_NAMED_LINE.fullmatch, lines)):
        # Equations on lines of their own are one answer of several parts.
        return Extraction(", ".join(lines), "whole")
    sentence = text.endswith(".") and len(text.split()) > 2
    if not sentence and not _SAID.search(text) and readable(text):
        return Extraction(text, "whole")
    if (clause := _EXPLAINED.search(text)) and clause.start() < 40:
        before = text[: clause.start()].strip(" ,;")
        if _HAS_VALUE.search(before) and readable(before):
            return Extraction(before, "whole")
    said = _CONCLUDED.sub("", text)
    said = said[:1].upper() + said[1:]
    if (
        len(text) <= 200
        and _PLAIN_SENTENCE.fullmatch(said)
        and (yes_or_no(said) or _SAYS.search(said) or synonym(said))
    ):
        # "Yes, it is possible." and "So the function is odd."
        return Extraction(said, "whole")
    if len(text) <= 200 and not _RAW_WORD.search(_COMMAND.sub(" ", text)):
        # A formula that can't be read is no prose to search for a number.
        return Extraction(text, "whole")
    return None


_PLAIN_SENTENCE = re.compile(r"[A-Z][A-Za-z ,'-]*\.?")
_SAYS = re.compile(
    r"\b(?:is|are) (?:an? |the )?(?:[a-z-]+|[A-Z][a-z]+)\.?$|^[A-Z][a-z]+ (?:wins|won|will win)\.?$"
)
_CONCLUDED = re.compile(r"^(?:So|Thus|Hence|Therefore|Then|Consequently|Finally|In conclusion),?\s+")
_NAMED_LINE = re.compile(r"[ \t$]*[A-Za-z](?:_\{?\w\}?)?[ \t]*=[^=\n]+")
_LAST_SENTENCE = re.compile(r"(?:[.!?:]\s+|\n\s*)([^.!?:\n]{3,120})[.!]?\s*$")


def phrase_said(text: str) -> Extraction | None:
    """A fixed phrase that the last sentence says: "Therefore there is no solution." """
    found = _LAST_SENTENCE.search(text[-400:])
    said = _CONCLUDED.sub("", found[1].strip()) if found else ""
    return Extraction(said, "phrase") if said and synonym(said) and not yes_or_no(said) else None


_COMMAND = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{[^{}]*\}|\\[A-Za-z]+")
_RAW_WORD = re.compile(r"[^\W\d_]{2,}")
_HAS_VALUE = re.compile(r"\d|\\|^[A-J]$")
_EXPLAINED = re.compile(r",?\s+(?:because|since)\s|\s*不是(?=\s*[A-Z\d])|。")
_SAID = re.compile(r"[^\W\d_]{4,}\s*:|不是")
_FEW_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+){0,2}\.?")


def readable(text: str) -> bool:
    """Whether the text as a whole is an answer: a formula, an option, a fixed phrase, at most three words."""
    if parse_rational(text.strip()) is not None:
        return True
    canonical = canonical_latex(text)
    if not canonical or len(canonical) > LONGEST:
        return False
    if (
        choice(canonical)
        or choices(canonical)
        or synonym(canonical)
        or _FEW_WORDS.fullmatch(plain(canonical))
    ):
        return True
    for text in dict.fromkeys((canonical, without_qualifier(canonical))):
        try:
            parse(text)
        except (UnparsedError, RecursionError):
            continue
        return True
    return False
