"""Answers in sentences: what a sentence gives as its value, and which texts are answers as a whole.

A number counts only where nothing around it makes another value of it: "twice 12", "12 or more", "not 12".
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from verifiers.math.boxes import Extraction
from verifiers.math.clauses import retracted
from verifiers.math.normalisation import canonical_latex
from verifiers.math.numbers import parse_rational
from verifiers.math.parser import LONGEST, UnparsedError, parse
from verifiers.math.text import choice, choices, plain, synonym, without_qualifier


def last_of(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    """The last of the matches, or None."""
    return next(iter(deque(matches, maxlen=1)), None)


SPECIAL = re.compile(r"<\|[^|>]{1,40}\|>.*|</?s>.*|\bI hope it is correct\b.*", re.DOTALL)
_DENIED = re.compile(
    r"(?i)^\W*(?:definitely |certainly |clearly )?(?:not\b|never\b|isn't\b)"
    r"|^\W*(?:unknown|unclear|wrong|none|neither|null|n/a)\b"
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
    r"[,;]?\s+(?:because|since|as|which|due to|so|given that|per|after"
    r"|(?<!given )(?<!divided )(?<!multiplied )(?<!increased )(?<!reduced )by)\s"
    r"|,\s+(?:it|that|this|not|and not|where)\s"
    r"|，|,?\s+\((?:since|because)"
)


# "1/2, i.e. 50%" and "0.5 (or 50%)": two forms that must both be the gold.
_IN_OTHER_WORDS = re.compile(
    r"(?:,\s*i\.e\.,?\s*|\s+\((?:or|i\.e\.,?|that is,?)\s+)([^(),]{1,60}?)\)?(?=[.\s]*$)"
)
_THE_SET = re.compile(r"^the (?:set|interval|point|pair|ordered pair|vector|matrix|triple)\s+(?=[\[({$\\])")
_FINISHED = re.compile(
    r",?\s+(?:as (?:required|desired|claimed|needed|expected|stated)|in (?:total|all)|altogether|overall)[.!\s]*$"
)
# "7 (3 + 4)": what stands in parentheses explains the value.
_EXPLAINED_BEHIND = re.compile(r"([^\s()]+)\s+\(\s*\d[^()]{0,60}[-+*/×=][^()]{0,60}\)\.?")


def answer_of_sentence(rest: str, rule: str, position: int, *, predicate: bool = False) -> Extraction:
    """The answer in a sentence: as it stands, or without the clause that explains it, or its last formula.

    With `predicate` the text stands behind "the answer is", and nothing but filler may come before the value:
    "said to be 7" and "far from 7" give none.
    """
    rest = SPECIAL.sub("", rest).replace("**", "").replace("__", "").strip().strip('"').strip()
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
    rest = _THE_SET.sub("", _FINISHED.sub("", rest))
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
HEDGE = re.compile(
    r"(?i)\b(?:or|either|maybe|perhaps|possibly|might|could|not|neither|nor|cannot|between|at (?:least|most)"
    r"|(?:more|less|fewer|greater|smaller|larger|bigger|higher|lower|other) than)\b|n't\b"
    r"|\b(?:over|under|above|below)\s+\$?\d"
)


_COEFFICIENT = re.compile(r"\d\s*\*?\s*[A-Za-z]\s*$")


def _after_verb(sentence: str) -> str | None:
    """The value in "the number of points is 19": what stands behind the last verb, if it is all there is."""
    if HEDGE.search(sentence):
        return None
    spans = math_spans(sentence)
    if spans:
        start, end, content = spans[-1]
        before, after = sentence[:start], sentence[end:]
        if not NUMBER.search(after) and (len(spans) == 1 or _VERB.search(sentence[spans[-2][1] : start])):
            return (
                content.strip()
                if not after.strip(" .,") or not readable(content + after)
                else content.strip() + after
            )
        if not NUMBER.search(after):
            return None if NUMBER.search(before) and len(spans) > 1 else content.strip()
    cut = last_of(_VERB.finditer(sentence))
    if cut is not None and readable(sentence[cut.end() :]):
        if cut.group() == "=" and _COEFFICIENT.search(sentence[: cut.start()]):
            # "the solution of 2x = 10" is no 10.
            return None
        value = len(sentence) - len(sentence[cut.end() :].lstrip(" $"))
        return None if modified(sentence, value, len(sentence)) else sentence[cut.end() :].strip()
    numbers = list(NUMBER.finditer(sentence))
    if len(numbers) != 1 or modified(sentence, numbers[0].start(), numbers[0].end()):
        return None
    return numbers[0].group().strip()


def modified(text: str, start: int, end: int) -> bool:
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


NUMBER = re.compile(
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
