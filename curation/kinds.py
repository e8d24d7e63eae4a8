"""Problem types that a verifiable-reward set leaves out: choice, yes/no, proof, multi-part, figure, link, open.

Each rule returns the words that decided, so that every drop can be read and judged. A rule looks for its cue words
first (a plain substring search) and runs its patterns only where one is there; most texts have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from curation.language import language

Kind = Literal["multiple_choice", "yes_no", "proof", "multi_part", "figure", "link", "open_ended", "language"]


def _any(*phrases: str) -> re.Pattern[str]:
    """One pattern of alternatives, for lower-case text."""
    return re.compile("|".join(phrases), re.DOTALL)


def _has(text: str, cues: Sequence[str]) -> bool:
    return any(cue in text for cue in cues)


_OPTION_MARK = re.compile(
    r"(?<![A-Za-z0-9_^\\])(?:\\text(?:bf|rm|it)?\s*\{|\\mathrm\s*\{|\*\*)?\s*\(?([A-Ja-j])\s*[).:]\s*\}?"
    r"(?=[\s~\\$\d*}\-(]|[A-Za-z])"
)
_OPTION_CUES = ("(b", "b)", "b.", "b:", "b }", "b ")
_WHICH_OF = _any(
    r"\bwhich (?:one )?of (?:the )?(?:following|these)\b",
    r"\bfrom (?:the )?(?:following )?(?:options|choices)\b",
    r"\b(?:options|answer choices|choices)\s*:",
    r"\bselect (?:the|all|one)\b[^.?]*\b(?:option|answer|letter)",
    r"\b(?:enter|choose|give|write) the letter\b",
    r"\bcorrect (?:option|choice|letter)\b",
    r"\bchoose (?:the|one)\b[^.?]{0,40}\b(?:answer|option|statement|following|condition)",
)
_WHICH_CUES = ("which", "choices", "options", "option", "letter", "choose", "select")

_YES_NO_ASKED = _any(
    r"\btrue or false\b",
    r"\byes or no\b",
    r"\byes[\"'”]?\s*(?:or|/)\s*[\"'“]?no\b",
    r"\btrue\s*/\s*false\b",
    r"\bis it (?:true|possible|always|necessarily|the case) ",
    r"\bis (?:this|the) (?:following )?(?:statement |claim )?(?:true|correct|possible|false)\b",
    r"\b(?:determine|decide|verify|check|state) (?:whether|if)\b",
    r"\bwhether or not\b",
)
_YES_NO_CUES = (
    "true",
    "yes",
    "whether",
    "determine if",
    "decide if",
    "check if",
    "is it ",
    "state if",
    "verify if",
)
_YES_NO_LAST = re.compile(
    r"(?:^|[.?!\n:,]\s*|\bthen,?\s+)(?:is|are|was|were|does|do|did|can|could|must|has|have|will|would|should|"
    r"isn't|aren't)\s+(?!not\b)[^.?!\n]{2,300}\?\s*\Z"
)
_YES_NO_GOLDS = frozenset({"yes", "no", "true", "false"})
_ASKS_VALUE = _any(
    r"\b(?:find|compute|calculate|evaluate|express|solve|simplify|estimate)\b",
    r"\bdetermine (?!whether|if)",
    r"\bhow (?:many|much|long|far|old|often|large|fast|tall|big|wide|high|deep|heavy)\b",
    r"\bwhat (?:is|are|was|were|will|would|number|value|percent|fraction|percentage|time|integers?|real|"
    r"size|should|"
    r"must|can|could|does|do|did)\b",
    r"\b(?:which|in what|for (?:how many|what|which)) (?:number|value|integer|year|day|digit|values|"
    r"integers)\b",
    r"\b(?:give|provide) (?:the|your)\b",
    r"\b(?:minimi[sz]e|maximi[sz]e)\b",
    r"\bplease (?:give|provide|find)\b",
    r"\bin (?:how many|what ratio|what proportion)\b",
)

_PROVE = re.compile(
    r"(?:^|[.?!;:,\n)]\s*|\b(?:and|then|or|also|please|we)\s+)(?:\([a-z0-9]{1,3}\)\s*)?"
    r"(?:prove|show|demonstrate|verify|deduce|disprove|establish)\s+(?:\w+ly\s+)?"
    r"(?:that|the|each|for|if|there|every|directly|by|,|\$|\\\(|this|these|it|or disprove)|\bor disprove\s*:"
)
_PROVE_CUES = ("prove", "show", "demonstrate", "verify", "deduce", "establish")
_EXISTENCE = re.compile(r"\b(?:or|and) (?:prove|show) (?:that )?(?:it|this|the|no|there|they|one|such)\b")

_PART = re.compile(
    r"(?:(?:^|[\n.?!;:,]\s*|\s)\**\(\s*([a-e]|i{1,3}|iv|[1-5])\s*\)|(?:^|[\n.?!;:]\s*)([a-e]|[1-5])\))\**\s*(?=\S)"
)
_PART_CUES = ("b)", "ii)", "2)")
_ASKS_PART = re.compile(
    r"\b(?:find|compute|calculate|determine|prove|show that|what|how many|how much|how long|evaluate|"
    r"sketch|explain|"
    r"deduce|simplify|solve|write (?:the|down|an?)|estimate|prove|in what|at what|construct|describe)\b|\?"
)

_ASY = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)|\\begin\{asy\}.*?(?:\\end\{asy\}|\Z)", re.DOTALL)
_FIGURE_CODE = (
    "[asy]",
    "\\begin{asy}",
    "\\begin{tikz",
    "\\begin{pspicture}",
    "\\includegraphics",
    "<img",
    "[img]",
    "![",
)
_THING = (
    r"(?:figure|diagram|picture|image|drawing|grid|graph|table|chart|map|pattern|shape|dial|spinner|net|"
    r"array|dots|"
    r"triangle|square|rectangle|circle|polygon|octagon|hexagon|pentagon|region|cube|solid|number line|"
    r"letters|paths?|"
    r"route|roads?|structure|design|tiles?|cards?|tower|pyramid|board|target|wheel|curve|"
    r"parabola|lines?|"
    r"segments?|below|above|addition|multiplication|subtraction|staircase|logo|scale|clock|box|boxes|"
    r"prism|cylinder)"
)
_PLACE = (
    r"(?:here|below|above|at (?:the )?(?:right|left)|on the (?:right|left)|to the (?:right|left)|in (?:the|this) "
    r"(?:figure|diagram|picture|image|graph|drawing|sketch))"
)
_SHOWN = r"(?:shown|pictured|depicted|illustrated|indicated|drawn|sketched)"
_SEEN = r"(?:shown|pictured|depicted|illustrated|indicated)"
_IMAGE = r"(?:figure|diagram|picture|image|drawing|sketch|illustration)"
_FIGURE = _any(
    rf"\b(?:in|on|from|using|see|refer to|consider|by|like|of) (?:the|this|each)?\s?(?:following |"
    rf"adjoining |attached "
    rf"|accompanying |above |given |left |right |adjacent )?{_IMAGE}s?\b(?! of (?:the )?(?:function|eight|"
    rf"speech)|\s*eight"
    r"| skat)",
    rf"\b{_THING}s? (?:is |are |as |that is |that are )?{_SHOWN} {_PLACE}\b",
    rf"\b(?:as|is|are|was|were) {_SEEN}(?: {_PLACE})?\s*(?:[.,;:?)]|$|\n)",
    rf"\b{_SHOWN} {_PLACE}\b",
    r"\b(?:figure|diagram|picture|graph|image|table|chart|grid|plot)s? (?:below|above|at (?:the )?right|"
    r"on the right|to "
    r"the right)\b",
    r"\b(?:figure|diagram|picture|graph|image|chart|map|plot)s? (?:below )?(?:shows?|illustrates?|"
    r"depicts?|indicates?)\b",
    r"\b(?:below|above|accompanying|adjoining) (?:figure|diagram|picture|graph|image|chart)\b",
    rf"\b(?:the|this|following) {_IMAGE}\b(?! (?:formed|bounded|obtained|eight|enclosed|is (?:formed|"
    rf"bounded)|whose|"
    r"consisting|with|determined|defined|on the|made|given by|that|of|can|has|must|below can|"
    r"has been))",
    r"\bconsider the following (?:graph|network|circuit|tree|chart|diagram)\b",
    r"\(see (?:the )?(?:figure|diagram|picture)",
    r"\bfig(?:ure)?\. ?\d",
    r"\bfigure \d+\b(?! dots| square)",
    r"\bthe (?:grid|table|graph|chart|spinner|dial|map|number line|array|pattern|net|clock) (?:shown|"
    r"pictured)\b",
    r"\b(?:first|last) (?:two|three|four|five|few|several)(?: \w+)? (?:are|is) (?:shown|pictured)\b",
    r"\bis (?:graphed|plotted|drawn) (?:below|above|here)\b",
    r"\b(?:triangles?|squares?|rectangles?|circles?|region|polygon|shape|pattern|grid|boxes|circuit) below\b",
    r"\bpartially shown\b|\bshown,|\bshown has\b|\bshown is\b",
)
_FIGURE_CUES = (
    "figure", "diagram", "shown", "picture", "image", "drawing", "sketch", "illustrat", "depicted", "graphed",
    "fig.", "indicated", "drawn", " below", "graph above", "plotted",
    "following graph", "following network", "following circuit", "following tree", "following chart",
)  # fmt: skip

_LINK = _any(
    r"https?://",
    r"www\.\w",
    r"\]\(\s*/",
    r"\bclick (?:here|on)\b",
    r"\b(?:following|attached) (?:link|website|file)\b",
)
_LINK_CUES = ("http", "www.", "](", "click", "link", "website", "attached")
_MARKDOWN_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(https?://[^)]*\)")

_OPEN = _any(
    r"(?:^|[.?!;\n]\s*)(?:please )?(?:explain|discuss|comment on|construct|sketch|draw|"
    r"design|propose|"
    r"interpret|outline|summari[sz]e|formulate|invent|make up|compare and contrast|give reasons?)\b",
    r"(?:^|[.?!;\n]\s*)(?:please )?(?:give|provide|find|construct) (?:an? |some |"
    r"several )(?:\w+ )?(?:counter)?examples?\b",
    r"(?:^|[.?!;\n]\s*)(?:please )?provide (?:some |several )?such\b",
    r"\bwrite (?:an?) (?:essay|story|poem|program|paragraph|letter|short|(?:word )?problem|question)\b",
    r"\bexplain (?:your|why|how|the (?:reason|answer|steps))\b",
    r"\bwhat (?:can you (?:say|conclude)|do you (?:think|notice|observe))\b",
    r"\bwhy (?:is|are|does|do|did|not|would|can)\b[^.?]*\?\s*$",
    r"\bdescribe (?:your|how|why|the (?:method|process|steps|relationship|difference))\b",
    r"\bin your own words\b",
    r"\bis there a (?:way|method|closed)\b",
)
_OPEN_CUES = (
    "explain", "describe", "discuss", "justify", "comment", "construct", "sketch", "draw", "design",
    "propose", "interpret", "outline", "summar", "formulate", "invent", "make up", "compare", "example", "provide",
    "write a", "what can you", "do you", "why ", "own words", "reason", "is there a",
)  # fmt: skip
_CLOSED_GOLD = re.compile(r"[-+\d.,:=/\\{}a-z^ ()\[\]$%*]{1,40}", re.IGNORECASE)


def options_in_text(text: str) -> tuple[int, list[str]] | None:
    """Where the answer options of a problem text begin, and their letters; None where it has no options.

    Options are marks A, B, C (and on) in order, the last ones in the text.
    """
    if not _has(text.lower(), _OPTION_CUES):
        return None
    marks = list(_OPTION_MARK.finditer(text))
    for start in range(len(marks) - 1, -1, -1):
        first = marks[start].group(1)
        if first not in "Aa":
            continue
        wanted = "ABCDEFGHIJ" if first == "A" else "abcdefghij"
        letters: list[str] = []
        for mark in marks[start:]:
            if len(letters) < 10 and mark.group(1) == wanted[len(letters)]:
                letters.append(mark.group(1))
        enough = 2 if first == "A" and "(" in marks[start].group() else 3
        if len(letters) >= enough:
            return marks[start].start(), letters
    return None


def _bare(answer: str | None) -> str:
    """A gold in lower case without wrapping, to be compared with words and letters."""
    return re.sub(r"\\text\{([^{}]*)\}", r"\1", answer or "").strip(" .$()").lower()


def _multiple_choice(text: str, low: str, answer: str, options: Sequence[str]) -> str | None:
    if options:
        return f"{len(options)} answer options"
    found = options_in_text(text)
    if found is not None and (found[1][0] == "A" or (len(answer) == 1 and answer in "abcdefghij")):
        return f"options {', '.join(found[1])} in the text"
    asked = _WHICH_OF.search(low) if _has(low, _WHICH_CUES) else None
    return f'asks "{asked.group().strip()}"' if asked else None


def _yes_no(low: str, answer: str) -> str | None:
    if answer in _YES_NO_GOLDS:
        return f"the gold is {answer!r}"
    if _ASKS_VALUE.search(low):
        return None
    asked = _YES_NO_ASKED.search(low) if _has(low, _YES_NO_CUES) else None
    if asked is None and low.rstrip().endswith("?"):
        asked = _YES_NO_LAST.search(low[-330:])
    return f'asks "{asked.group().strip(" .,?")[:60]}"' if asked else None


def _proof(low: str) -> str | None:
    if not _has(low, _PROVE_CUES):
        return None
    found = _PROVE.search(low)
    if found is None or _EXISTENCE.search(low) or _ASKS_VALUE.search(low):
        return None
    return f'asks to "{found.group().strip(" .,:;)")}"'


def _multi_part(low: str, answer: str) -> str | None:
    if re.search(r"\(a\).*\(b\)|\(i\).*\(ii\)", answer):
        return "the gold has parts"
    if not _has(low, _PART_CUES):
        return None
    wanted = {"a": "abcde", "i": ("i", "ii", "iii", "iv"), "1": "12345"}
    marks = [(match, match.group(1) or match.group(2)) for match in _PART.finditer(low)]
    for index, (_, label) in enumerate(marks):
        if label not in wanted:
            continue
        sequence: list[re.Match[str]] = []
        for match, name in marks[index:]:
            if len(sequence) < len(wanted[label]) and name == wanted[label][len(sequence)]:
                sequence.append(match)
        asked = 0
        for number, match in enumerate(sequence):
            end = sequence[number + 1].start() if number + 1 < len(sequence) else len(low)
            part = low[match.end() : end]
            if number + 1 == len(sequence):
                # What follows the last part belongs to the whole problem.
                part = re.split(r"\n\s*\n|\n(?=find|what|determine|compute|how)", part)[0]
            asked += bool(_ASKS_PART.search(part))
        if len(sequence) >= 2 and asked >= 2:
            return f"{len(sequence)} parts from ({label})"
    return None


def _figure(low: str, plain: str) -> str | None:
    code = next((mark for mark in _FIGURE_CODE if mark in low), None)
    if code is not None:
        return f'"{code}"'
    found = _FIGURE.search(plain) if _has(plain, _FIGURE_CUES) else None
    return f'"{found.group().strip()[:60]}"' if found else None


def _open_ended(low: str, answer: str) -> str | None:
    found = _OPEN.search(low) if _has(low, _OPEN_CUES) else None
    if (
        found is None
        or answer in _YES_NO_GOLDS
        or (answer and _CLOSED_GOLD.fullmatch(answer) and _ASKS_VALUE.search(low))
    ):
        return None
    return f'asks to "{found.group().strip(" .,:;?")[:60]}"'


def kinds_of(
    text: str,
    answer: str | None = None,
    options: Sequence[str] = (),
    languages: Sequence[str] = ("en",),
) -> dict[Kind, str]:
    """Every type a problem belongs to, with what decided. Empty for a plain question with a closed answer.

    Args:
        text: the problem, repaired.
        answer: its gold answer, which tells yes/no questions and parts where the text alone does not.
        options: answer options that the source gave apart from the text.
        languages: ISO codes that are wanted; another language is reported as `language`.
    """
    low = text.lower()
    # Code of figures is no prose: "draw" in it asks for nothing, and its labels are no options.
    prose = _ASY.sub(" ", text) if "asy" in low else text
    plain = prose.lower()
    gold = _bare(answer)
    found: dict[Kind, str | None] = {
        "multiple_choice": _multiple_choice(prose, plain, gold, options),
        "yes_no": _yes_no(plain, gold),
        "proof": _proof(plain),
        "multi_part": _multi_part(plain, gold),
        "figure": _figure(low, plain),
        "link": None,
        "open_ended": _open_ended(plain, gold),
        "language": None,
    }
    if _has(low, _LINK_CUES):
        link = _LINK.search(_MARKDOWN_LINK.sub(r"\1", low))
        found["link"] = f'"{link.group().strip()}"' if link else None
    spoken = language(text)
    if spoken not in languages:
        found["language"] = f"written in {spoken}"
    return {kind: evidence for kind, evidence in found.items() if evidence}
