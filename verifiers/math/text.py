"""Answers in words: choice letters, names, "no solution", and phrases that differ only in filler."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMANDS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname|mathcal|rm|bf)\s*\{([^{}]*)\}")
_BARE_COMMANDS = re.compile(r"\\[A-Za-z]+")
_PUNCTUATION = re.compile(r"[\s.,;:!?'\"`*_~$\\{}()\[\]]+")
_FILLER = frozenset(
    {"an", "the", "and", "all", "any", "is", "are", "it", "its", "of", "that", "only", "both"}
)
_SYNONYMS = (
    ("\\emptyset", ("emptyset", "\\emptyset", "empty set", "the empty set", "no solution", "no solutions",
    "no real solution",
                    "no real solutions", "none", "there is no solution", "there are no solutions",
                    "no such numbers",
                    "does not have solution", "{}", "\\{\\}", "\\{ \\}", "there are no real solutions",
                    "no answer exists", "no real roots", "no roots", "there are no real roots",
                    "there is no such number", "no such number", "no such numbers exist",
                    "there are no such numbers", "the equation has no solution", "no solution exists",
                    "the equation has no solutions", "the equation has no real solutions",
                    "the system has no solution", "no real solution exists")),
    ("undefined", ("does not exist", "dne", "undefined", "not defined", "doesn't exist", "limit does not exist",
                  "the limit does not exist", "the limit doesn't exist", "does not exist (dne)",
                  "it does not exist", "it doesn't exist", "nonexistent")),
    ("\\infty", ("infinity", "infinite", "infinitely many", "infinitely many solutions", "inf",
    "positive infinity", "+\\infty",
                 "an infinite number", "unbounded", "\\infty")),
    ("-\\infty", ("negative infinity", "minus infinity", "-\\infty", "-inf", "-infinity")),
    ("\\mathbb{R}", ("all real numbers", "all reals", "real numbers", "all real", "any real number",
    "the set of all real numbers",
                     "the set of real numbers", "reals", "\\mathbb{R}", "\\R", "\\Re",
                     "(-\\infty,\\infty)", "(-\\infty,+\\infty)",
                     "every real number", "x\\in\\mathbb{R}", "all real x", "all real values",
                     "all real values of x", "all values of x", "all x")),
    ("diverges", ("diverges", "divergent", "the series diverges", "the integral diverges", "is divergent",
                  "the sequence diverges", "the series is divergent", "the integral is divergent", "it diverges")),
    ("converges", ("converges", "convergent", "the series converges", "the integral converges", "is convergent",
                   "the sequence converges", "the series is convergent", "the integral is convergent",
                   "it converges")),
    ("yes", ("yes", "true", "correct")),
    ("no", ("no", "false", "incorrect")),
)  # fmt: skip
_CANONICAL = {"".join(phrase.split()).lower(): name for name, phrases in _SYNONYMS for phrase in phrases}


def plain(canonical: str) -> str:
    """The text of a canonical spelling without \\text{...} and the like around it."""
    previous = None
    while previous != canonical:
        previous, canonical = canonical, _COMMANDS.sub(r" \1 ", canonical)
    return " ".join(canonical.split())


def synonym(canonical: str) -> str | None:
    """What a fixed phrase such as "no solution" stands for; None for anything else."""
    return _CANONICAL.get("".join(plain(canonical).split()).lower().rstrip("."))


_YES_NO = re.compile(r"(yes|no)\b(?:[.,;:!]|$)", re.IGNORECASE)
_GIVES_MORE, _REASON = (
    re.compile(r"=|\\begin|(?:\bor|\band|,)\s*[-\d.]+$"),
    re.compile(r"(?i)\W*(?:because|since|as)\b"),
)
_OTHER = re.compile(
    r"\b(?:yes|no|not necessarily|but|unless|except|only if|depends|cannot|for|if|when|where)\b",
    re.IGNORECASE,
)


def yes_or_no(canonical: str) -> str | None:
    """ "yes" for "Yes" and "Yes, it is possible"; None where something else is said, or both."""
    text = plain(canonical).strip()
    found = _YES_NO.match(text)
    rest = text[found.end() :] if found else ""
    if found is None or _OTHER.search(rest) or (rest.strip(" .") and not _WORDY.search(rest)):
        return None
    if _GIVES_MORE.search(rest) and not _REASON.match(rest):
        return None
    return found[1].lower()


_CHOICE = re.compile(r"^\(?\s*([A-Ja-j])\s*\)?\.?$")
_CHOICE_WITH_TEXT = re.compile(
    r"^(?:\(\s*([A-J])\s*\)(?=\s|[\w\\$])|([A-J])\s*[).:](?!\s*[A-Za-z]$)|([A-J])(?=\s+[A-Z][a-z]{2,}))\s*(\S.*)$",
    re.DOTALL,
)
_NEXT_OPTION = re.compile(r"\(\s*[B-J]\s*\)|(?<![A-Za-z])[B-J][.):]\s")
_OPERATOR = re.compile(
    r"[-+*/=<>^_|&,;:)]|(?:and|or)\b|\\(?:cup|cap|times|cdot|div|setminus|subset|subseteq|in|notin|to|Rightarrow|le|ge|ne|equiv|approx|sim"
    r"|cong|parallel|perp|pm|mp|text\s*\{\s*(?:and|or))(?![A-Za-z])"
)
_CHOICES = re.compile(r"^\(?[A-J]\)?(?:(?:\s*(?:,|;|\band\b|&))+\s*\(?[A-J]\)?|\s+\(?[A-J]\)?)+$")
_ROMAN = r"\(?(?:I{1,3}|IV|VI{0,3})\)?"
_ROMANS = re.compile(rf"^{_ROMAN}(?:(?:\s*(?:,|;|\band\b|&))+\s*{_ROMAN})+(?: only)?$")
_PREFIX = re.compile(r"^(?:option|choice|answer|statement)s?\s+", re.IGNORECASE)


def choice(canonical: str) -> tuple[str, str] | None:
    """Letter and text of an option: ("C", "") for "C" and "(C)", ("C", "Cecile") for "C. Cecile"."""
    text = _PREFIX.sub("", plain(canonical).strip())
    found = _CHOICE.match(text)
    if found:
        return found.group(1).upper(), ""
    found = _CHOICE_WITH_TEXT.match(text)
    if found:
        letter = found.group(1) or found.group(2) or found.group(3)
        # "(A) \\cup (B)" and "A: B" are formulas about A, and "(A) 1 (B) 2" lists the options.
        other = _OPERATOR.match(found.group(4)) or _NEXT_OPTION.search(found.group(4))
        return None if other else (letter, found.group(4).strip())
    return None


_CIRCLED = re.compile(r"\\textcircled\s*\{(\d+)\}")
_BETWEEN_CIRCLED = re.compile(r"(?:[\s,;.{}]|\\(?:text|mathrm)\b|\band\b)*")


def circled(canonical: str) -> frozenset[str] | None:
    """The numbers of an answer such as "①③"; None for anything else."""
    numbers = _CIRCLED.findall(canonical)
    return frozenset(numbers) if numbers and _BETWEEN_CIRCLED.fullmatch(_CIRCLED.sub("", canonical)) else None


_DOMAINS = {
    "Z": "integers", "N": "naturals", "R": "reals", "Q": "rationals", "N*": "positive integers",
    "N+": "positive integers", "Z+": "positive integers", "R+": "positive reals",
}  # fmt: skip
_LONGEST_DECLARATION = 200
_QUANTIFIED = r"(?:for|where|with)(?: all| any| every| some)?"
_DECLARATION = re.compile(
    rf"(?:[,;]?\s*\\text\s*\{{\s*,?\s*{_QUANTIFIED}\s*\}}\s*|[,;]?\s*\b{_QUANTIFIED}\s+|[,;]\s*|\(\s*)"
    r"(?P<letters>[A-Za-z](?:\s*,\s*[A-Za-z])*)\s*\\in\s*(?:\\mathbb|\\mathbf)?\s*\{?\s*(?P<domain>[ZNRQ])\s*\}?"
    r"(?:[\^_]\s*\{?\s*(?P<mark>[+*])\s*\}?)?\s*\)?\s*$"
)


_INTEGER_LETTER = re.compile(
    r"(?P<before>[,;(]\s*|\\text\s*\{\s*,?\s*(?:where|for|with)\s*\}\s*|\b(?:where|for|with)\s+)(?P<letter>[a-z])"
    r"\s*(?:\\text\s*\{)?\s*(?:is\s+)?(?:an?y?\s+)?integers?\s*\}?(?P<after>\s*\)?\s*)$"
)
_REAL_FIRST = re.compile(r"^[A-Za-z]\s*\\in\s*\\mathbb\s*\{?R\}?\s*[,;]\s*(?=\S)")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an answer says at its end of the letters in it: "k in Z"."""

    letters: frozenset[str]
    domain: str


def split_declaration(canonical: str) -> tuple[str, Declaration | None]:
    """An answer without the declaration at its end, and that declaration."""
    canonical = _REAL_FIRST.sub("", canonical)
    if "integer" in canonical:
        canonical = _INTEGER_LETTER.sub(r"\g<before>\g<letter> \\in \\mathbb{Z}\g<after>", canonical)
    found = _DECLARATION.search(canonical, max(0, len(canonical) - _LONGEST_DECLARATION))
    rest = canonical[: found.start()].strip() if found else ""
    if found is None or not rest:
        return canonical, None
    domain = _DOMAINS.get(found["domain"] + (found["mark"] or ""))
    letters = frozenset(found["letters"].replace(" ", "").split(","))
    return (rest, Declaration(letters, domain)) if domain else (canonical, None)


def choices(canonical: str) -> frozenset[str] | None:
    """The letters of an answer such as "A, C and F"; None for anything else."""
    text = re.sub(r"^[Bb]oth ", "", _PREFIX.sub("", plain(canonical)))
    if _ROMANS.match(text):
        return frozenset(re.findall(r"[IV]+", text))
    if _CHOICES.match(text):
        return frozenset(re.findall(r"(?<![A-Za-z])[A-J](?![A-Za-z])", text))
    return None


def joined_choices(canonical: str) -> frozenset[str] | None:
    """The letters of several options written as one word: "ACD"; None for anything else."""
    text = plain(canonical)
    rising = 1 < len(text) < 7 and text == "".join(sorted(set(text))) and set(text) <= set("ABCDEFG")
    return frozenset(text) if rising else None


def words(canonical: str) -> tuple[str, ...]:
    """Lower-case words without filler and punctuation, in order."""
    text = _ARTICLE.sub(" ", plain(canonical)).lower()
    text = _BARE_COMMANDS.sub(lambda m: " " + m.group()[1:] + " ", text)
    return tuple(word for word in _PUNCTUATION.split(text) if word and word not in _FILLER)


_ARTICLE = re.compile(r"^\W*A(?= [a-z])|(?<![A-Za-z])a(?= )")


_DENYING = re.compile(
    r"(?i)\b(?:not|wrong|incorrect|false|except|unless|only|never|no|but|or)\b|\\(?:notin|ne|neq)(?![A-Za-z])"
    # A bound says something, unless it only keeps out what is no natural or positive number.
    r"|(?:<|>|\\[lg]e(?![A-Za-z]))(?!\s*[01]\s*\}?\s*$)"
)
_QUALIFIERS = re.compile(
    r"[,;]?\s*(?:\\text\s*\{\s*)?\b(?:for|where|with)\b[^,;=]{0,12}"
    r"\b(?:all|any|every|each|some|an?|is|are|\w \\in)\b[^,;=]*(?=[,;]|$)"
    r"|\\text\s*\{\s*,?\s*(?:where|for)\s*\}[^,;=]*(?=[,;]|$)"
    r"|[,;]?\s*\\forall\s*[a-z](?:\s*\\in\s*\\mathbb\s*\{?[RCQ]\}?)?\s*$",
    re.DOTALL,
)


def without_qualifier(canonical: str) -> str:
    """Without "for all real x" or "where k is an integer"; what says more than that (an equation) stays."""
    return _QUALIFIERS.sub(lambda m: m[0] if _DENYING.search(m[0]) else "", canonical).strip()


_WORDY = re.compile(r"[^\W\d_]{3,}")
_SIGNS = re.compile(r"[=<>^+*/|]|\\(?:frac|sqrt|le|ge|ne|in|cup|sum|int|pi)(?![A-Za-z])")


def is_wordy(canonical: str) -> bool:
    """Whether this is a phrase rather than a formula."""
    text = plain(canonical)
    if not text.isascii() and re.search(r"[\u3040-\u9fff\uac00-\ud7af\u0900-\u097f\u0400-\u04ff]", text):
        return True
    return bool(_WORDY.search(_BARE_COMMANDS.sub(" ", text))) and not _SIGNS.search(text)


_BRACKETS = re.compile(r"[()\[\]]")


def same_words(left: str, right: str) -> bool:
    """Whether two phrases are the same words up to filler, case and punctuation."""
    ours, theirs = words(left), words(right)
    if _BRACKETS.findall(plain(left)) != _BRACKETS.findall(plain(right)):
        return False
    if not ours and not theirs:
        return plain(left).lower() == plain(right).lower() != ""
    if (
        len(ours) == 2
        and sorted(map(len, ours))[0] == 1 < len(max(ours, key=len))
        and set(ours) == set(theirs)
    ):
        # "odd n" and "n is odd".
        return True
    return bool(ours) and (ours == theirs or _names_joined(left) == _names_joined(right) is not None)


def _names_joined(canonical: str) -> list[str] | None:
    """The names in "Jane and Mary", sorted; None for anything else."""
    names = re.split(r"\s*(?:,|\band\b)\s*", plain(canonical))
    return (
        sorted(names) if len(names) > 1 and all(re.fullmatch("[A-Z][a-z]+", name) for name in names) else None
    )


_SEVERAL = re.compile(r"(?i)\b(?:not|no|never|neither|nor|and|or|but|unless|except|if|only)\b|n't\b|[,;]")
_NO_NAMES = frozenset(
    {
        "the",
        "this",
        "that",
        "these",
        "those",
        "there",
        "more",
        "most",
        "less",
        "all",
        "each",
        "every",
        "some",
        "any",
        "it",
        "its",
    }
    | {
        "when",
        "if",
        "as",
        "for",
        "in",
        "on",
        "at",
        "by",
        "we",
        "one",
        "two",
        "such",
        "both",
        "since",
        "because",
        "let",
        "so",
    }
)
_WINS = re.compile(r" (?:wins|won|will win)\.?")
_NAME = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+)?")
_PREDICATE = re.compile(r"\b(?:is|are)\s+(?:an?\s+|the\s+)?(?P<said>[^.]{2,40})\.?$")


def sentence_says(gold: str, answer: str) -> bool:
    """Whether a gold sentence says nothing but what the answer names: who does it, or what it is.

    "Petya" for "Petya will receive the last token.", "odd" for "The function is odd." A sentence with a negation,
    a condition or several parts is not reduced to one of them.
    """
    sentence, named = plain(gold).strip(), plain(answer).strip().rstrip(".")
    if _SEVERAL.search(sentence) or not named:
        return False
    if len(sentence.split()) < 4:
        return (
            _NAME.fullmatch(named) is not None and _WINS.fullmatch(sentence.removeprefix(named)) is not None
        )
    if sentence.startswith(named) and _NAME.fullmatch(named) and named.lower() not in _NO_NAMES:
        rest = sentence.removeprefix(named)
        return rest != sentence and bool(re.match(r" [a-z]", rest)) and not re.search(r" [A-Z]", rest)
    found = list(_PREDICATE.finditer(sentence))
    return (
        len(found) == 1
        and words(found[0]["said"]) == words(named)
        and len(re.findall(r"\b(?:is|are)\b", sentence)) == 1
    )


_STATEMENT = re.compile(
    r"^(?P<value>[^\\]*?|.*?[^\\])\s*\\text\s*\{\s*(?:is|are|which|because|since)\s[^{}]*\}.*$", re.DOTALL
)


def without_statement(gold: str) -> str:
    """A gold answer without the sentence that it begins: "R = 1" of "R = 1 is necessary and sufficient"."""
    found = _STATEMENT.match(gold)
    if found is None or re.search(r"(?i)\b(?:not|no|never|except|unless|only)\b", gold):
        return gold
    return found["value"].strip()
