"""What stands around a box: whether it denies the value, bounds it, makes another one of it, or only uses it."""

from __future__ import annotations

import re

from verifiers.math.clauses import lead_of, retracted

_NEGATED = re.compile(
    r"(?i)(?:\b(?:not|never|cannot be)|n't|\\neq?|≠|\\not\s*=)\s*(?:be\s+|equal\s+(?:to\s+)?)?[$\s]*$"
    r"|\b(?:said|says|say|claim(?:s|ed)?)\s*:?\s*[$\s]*$"
    r"|\S[ \t]+[<>][$ \t]*$|(?<![<\w/])[A-Za-z][<>][$ \t]*$"
    r"|\b(?:do|does|will|would|should|can|must)(?: not|n't)"
    r" (?:think|believe|say|write|answer|put|box)\b[^.\n]{0,20}$"
    r"|\bif\b[^.\n]{0,30}\bwere\s*(?:equal to\s*)?[$\s]*$|\bfalse that\b[^.;\n]{0,40}$"
)
# "The student wrote 8." where "she writes 52 checks" says how many.
_REPORTED = re.compile(r"(?i)\b(?:wrote|writes|thinks?|thought|answered|guess(?:ed|es)?)\s*:?[$\s]*$")
_ENDS = re.compile(r"[ \t$]*(?:[.,;\n]|$)")
_NOT_MEANT = re.compile(
    r"(?i)\b(?:(?:wrong|incorrect|false|tempting|naive) (?:answer|value|result|guess|solution)"
    r"|(?:first|initial) (?:guess|attempt))\b[^.;\n]{0,20}$"
    r"|\b(?:for (?:example|instance)|e\.g\.|examples?\s*:|such as|(?:box|it|this|form) like|instead of|rather than"
    r"|(?:ignore|disregard|forget)\b[^.;\n]{0,20}|format[^.;\n]{0,20}|your answer\b[^.;\n]{0,20})[\s$,:]*$"
)
DENIED_AFTER = re.compile(
    r"(?i)[\s$).\"']*(?:\\text\s*\{\s*)?(?:(?:is|was|would be)\s+(?:wrong|incorrect|false|rejected|extraneous"
    r"|impossible|invalid|too (?:small|large|big)|not\s+(?:the|correct|right|a|an|true|valid|possible)\b)"
    r"|is what\b[^.\n]{0,60}\b(?:would|might|could|thinks?|thought|says?|said|claims?|naive)\b"
    r"|(?:is|was) (?:only |just |merely )?(?:my |an? |the )?(?:first |initial |wild )?"
    r"(?:guess|(?:upper|lower) bound)\b|(?:is|as) the (?:required )?(?:format|form|example)\b"
    r"|(?:does(?:n't| not)) (?:work|satisfy|hold)|fails\b"
    r"|(?:can(?:not|'t| not)|could(?:n't| not)) (?:be|work|satisfy|hold)"
    r"|(?:must|has to|should) be (?:rejected|discarded|excluded)"
    r"|(?:leads? to|gives?|is) a contradiction|contradicts\b"
    r"|\(\s*(?:wrong|incorrect|false|rejected|extraneous|just a guess|invalid)\b"
    r"|, which (?:is|was) (?:wrong|incorrect|false|impossible|not)\b"
    r"|, but (?:i|we) (?:now )?(?:get|got|find|found|need|want|must|have to)\b)"
)
# 2 \\cdot \\boxed{21} and \\boxed{42} + 1 give another value than what is boxed.
_FACTOR_BEFORE = re.compile(
    r"(?:(?:\d|(?<![A-Za-z])[A-Za-z]|[)}\]])(?:-|[ \t]*(?:[+/^]|(?<!\*)\*|\\cdot|\\times|\\div|\\pm)[ \t]*)|\d"
    r"|[\^_][ \t]*\{?[ \t]*|(?<![-–\w])-|\\(?:log|ln|lg|exp|sin|cos|tan|cot)\s*(?:\\left)?[({]?\s*"
    r"|(?<![A-Za-z\\])[A-Za-z](?:\\left)?\("
    r"|\\(?:[dt]?frac|sqrt|binom)\s*(?:\[[^\]]*\])?\s*\{\s*|\\[dt]?frac\s*\{[^{}]*\}\s*\{\s*)$"
)
_FACTOR_AFTER = re.compile(
    r"[ \t]*(?:[-+/]|\*(?!\*)|\\cdot|\\times|\\div|\\pm)[ \t]*"
    r"(?:\d|\(|\\(?:[dt]?frac|sqrt|boxed|pi)|[b-hj-zB-HJ-Z](?![A-Za-z]))"
    r"|\^[ \t]*\{?[ \t]*-?\d|\\(?:pi|sqrt|frac)(?![A-Za-z])|[xyznkitabcde](?![A-Za-z])|!(?=\s*[=$])"
    r"|[ \t]*(?:>|<(?![|/A-Za-z])|\\(?:lt|gt|le|leq|ge|geq|ne|neq|leqslant|geqslant)(?![A-Za-z]))"
    r"|[ \t]+:[ \t]*\d"
)
# (\\boxed{5}, 6) is a point, [0, \\boxed{5}] an interval, and |\\boxed{-5}| is 5.
_OPENED, _GOES_ON = re.compile(r"[(\[|{][ \t]*$"), re.compile(r"[ \t]*(?:,[ \t]*[-\d\\]|\|)")
_ENTERED, _CLOSED = (
    re.compile(r"[(\[{][ \t]*[-+]?(?:[\d.]+|[A-Za-z])[ \t]*,[ \t]*$"),
    re.compile(r"[ \t]*\\?[)\]}]"),
)
# 60 - \\boxed{1} = 59, where a dash with spaces may be one of prose.
_MINUS_BEFORE, _EQUALS_AFTER = re.compile(r"[\w)}\]][ \t]+-[ \t]+$"), re.compile(r"[ \t$]*=")
# Words that make another value of a box: "twice", "the square root of", "squared", "less than 20", "to 9".
_MODIFIED_BEFORE = re.compile(
    r"(?i)\b(?:twice|thrice|double|triple|(?:half|third|quarter|percent|root|square|cube|power|opposite|negative"
    r"|reciprocal|inverse|multiples?|factors?|divisors?) of|divisible by|except(?: for)?|other than"
    r"|(?:all|anything|everything|everyone) but)[\s$]*$"
)
_MODIFIED_AFTER = re.compile(
    r"(?i)[\s$]*\b(?:(?:squared|cubed)\b(?!\s+[a-z])|factorial\b|to\s+[$\\]*\d"
    r"|(?:plus|minus|times|multiplied by|divided by|(?:[a-z]+ )?(?:more|less|fewer|greater|larger|smaller) than)"
    r"\s+[$\\({]*\d)|[\s$]*\\?%[\s$]*(?:\\text\s*\{\s*)?of\b[\s$}]*\d"
)
_ASKED = re.compile(r"[\s$)]*\?")
_BOUND = re.compile(
    r"(?i)(?P<words>\b(?:at (?:least|most)|no (?:more|less|fewer|greater|smaller) than))[\s$:]*$"
    r"|(?:(?<!no )\b(?:more|less|fewer|greater|smaller|larger) than(?: or equal to)?|\bbetween\b[^.\n]{1,30}\band"
    r"|\b(?:over|under|above|below|(?<!add )(?<!adds )(?<!added )(?<!sum )(?<!sums )up to|exceeds?"
    r"|nearly|almost))[\s$:]*$"
    r"|(?P<sign>\\(?:le|ge|leq|geq|leqslant|geqslant)(?![A-Za-z])|[≤≥])[\s${]*$"
)
_BOUND_ENDS = (
    "least", "most", "than", "equal to", "and", "over", "under", "above", "below", "up to", "exceed", "exceeds",
    "nearly", "almost", "\\le", "\\ge", "\\leq", "\\geq", "\\leqslant", "\\geqslant", "≤", "≥",
)  # fmt: skip
"""What any text that `_BOUND` matches ends with."""
_REQUIRED = re.compile(
    r"(?i)\b(?:must|needs?|needed|requires?|required|necessary|ha(?:s|ve|d) to|should|can|could|will)\b"
)
_EXTREME = re.compile(
    r"(?i)\b(?:max\w*|min\w*|largest|greatest|highest|biggest|smallest|least|lowest|most|best|bound\w*|equality"
    r"|attain\w*|achiev\w*|supremum|infimum)\b"
)
_CONTEXT = 400
# Words that no sentence holds which gives its box as the answer. Of tests, friends and conditions a sentence may
# speak ("if she works"), so this is less than what makes a bare number unsound.
_DOUBTED_BEFORE = re.compile(
    r"(?i)\b(?:wrong\w*|incorrect\w*|mistake\w*|trap|fallac\w*|contradict\w*|impossible|invalid|extraneous"
    r"|suppos\w*|assum\w*|imagine|pretend|tempt\w*|naive\w*|maybe|perhaps|unsure|not sure|unclear|distractor"
    r"|reward is|can(?:'t|not) decide|nobody|no one|if (?:\w+ ){1,4}(?:would|had|were)"
    r"|(?:one|you|they|we|i) (?:would|might|could) (?:say|think|answer|write))\b"
)
_DOUBTED_BEHIND = re.compile(
    r"(?i)[\s$).,:;]*\b(?:is|was|would be|looks?|seems?)?\s*\b(?:wrong|incorrect|false|mistaken|invalid"
    r"|only (?:the|a) (?:first|part)|(?:correct|right) (?:only )?if|tempting|ignore)\b"
)
_DOUBTING = (
    "wrong", "incorrect", "mistake", "trap", "fallac", "contradict", "impossible", "invalid", "extraneous",
    "suppos", "assum", "imagine", "pretend", "tempt", "naive", "maybe", "perhaps", "sure", "unclear", "distractor",
    "reward", "decide", "nobody", "no one", "if ", "would", "might", "could",
)  # fmt: skip
"""One of these stands in every text that `_DOUBTED_BEFORE` matches."""
_LONGEST_CLAUSE = 160
_SUSPICIOUS = (
    "not", "n't", "never", "false", "if ", "\\ne", "≠", "<", ">", "say", "said", "claim", "wrote", "writ", "think",
    "thought", "guess", "answered", "wrong", "incorrect", "tempting", "naive", "attempt", "example", "instance",
    "e.g", "such as", " like", "instead", "rather", "ignore", "disregard", "forget", "format", "your answer",
    "twice", "thrice", "double", "triple", " of", "divisible", "except", "other than", " but",
)  # fmt: skip
"""One of these stands in every text that denies a box or makes another value of it; most leads hold none."""


def only_shown(text: str, start: int) -> bool:
    """Whether what stands at `start` is an example, a format or somebody's wrong answer."""
    return _NOT_MEANT.search(text[max(0, start - 60) : start]) is not None


def objection(text: str, start: int, end: int) -> str:
    """Why the box at text[start:end] is no answer; empty where nothing around it speaks against it."""
    before = text[max(0, start - 60) : start]
    suspicious = any(map(before.lower().__contains__, _SUSPICIOUS))
    if (
        (suspicious and (_NEGATED.search(before) or _NOT_MEANT.search(before)))
        or (suspicious and _REPORTED.search(before) and _ENDS.match(text, end))
        or DENIED_AFTER.match(text, end)
        or _doubted(text, start, end)
        or retracted(text, end)
    ):
        return "the box is denied"
    if (suspicious and _MODIFIED_BEFORE.search(before)) or _MODIFIED_AFTER.match(text, end):
        return "what stands around the box makes another value of it"
    if _ASKED.match(text, end):
        return "the box is part of a question"
    if _bounds(text, start, end):
        return "the box is a bound of the answer"
    if _FACTOR_AFTER.match(text, end) or (not _follows_a_word(before) and _is_inside(before, text, end)):
        return "the box is a part of a formula, not its result"
    return ""


def _doubted(text: str, start: int, end: int) -> bool:
    """Whether the clause that gives the box doubts it, or what stands directly behind does."""
    if _DOUBTED_BEHIND.match(text, end):
        return True
    before = text[max(0, start - _LONGEST_CLAUSE) : start].lower()
    return any(map(before.__contains__, _DOUBTING)) and bool(_DOUBTED_BEFORE.search(lead_of(text, start)))


def _follows_a_word(before: str) -> bool:
    """Whether a word or a dollar sign stands before the box, so that nothing there makes a formula of it."""
    last = before.rstrip(" \t")
    return last.endswith("$") or (last[-2:].isalpha() and "\\" not in last[-8:])


def _is_inside(before: str, text: str, end: int) -> bool:
    """Whether the box is a factor, an argument, a coordinate or another part of a formula."""
    return bool(
        _FACTOR_BEFORE.search(before)
        or (_OPENED.search(before) and _GOES_ON.match(text, end))
        or (_ENTERED.search(before) and _CLOSED.match(text, end))
        or (_MINUS_BEFORE.search(before) and _EQUALS_AFTER.match(text, end))
    )


def _bounds(text: str, start: int, end: int) -> bool:
    """Whether what stands before a box makes its value a bound: "at most", "more than", x <= .

    "She must score at least 9" says what is needed, and an inequality says its end where the text speaks of a
    greatest or least value.
    """
    before = text[max(0, start - 60) : start].rstrip(" \t\n$:{")
    found = _BOUND.search(before) if before.endswith(_BOUND_ENDS) else None
    if found is None:
        return False
    context = text[max(0, start - _CONTEXT) : start]
    if found["sign"]:
        return not _EXTREME.search(context + text[end : end + _CONTEXT])
    sentence = re.split(r"[.!?\n]\s", context)[-1] + re.split(r"[.!?\n]", text[end : end + _CONTEXT])[0]
    return not (found["words"] and _REQUIRED.search(sentence))
