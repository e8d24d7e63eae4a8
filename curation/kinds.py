"""Problem types that a verifiable-reward set leaves out: choice, yes/no, proof, multi-part, figure, link, open.

Each rule returns the words that decided, so that every drop can be read and judged. A rule looks for its cue words
first (a plain substring search) and runs its patterns only where one is there; most texts have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from curation.figures import figure, without_drawings
from curation.language import language
from curation.patterns import any_of, holds

Kind = Literal["multiple_choice", "yes_no", "proof", "multi_part", "figure", "link", "open_ended", "language"]

_OPTION_MARK = re.compile(
    r"(?<![A-Za-z0-9_^\\])(?:\\text(?:bf|rm|it)?\s*\{|\\mathrm\s*\{|\*\*)?\s*\(?([A-Ja-j])\s*[).:]\s*\}?"
    r"(?=[\s~\\$\d*}\-(]|[A-Za-z])"
)
_OPTION_CUES = ("(b", "b)", "b.", "b:", "b }", "b ")
_WHICH_OF = any_of(
    r"\bwhich (?:one )?of (?:the )?(?:following|these)\b",
    r"\bfrom (?:the )?(?:following )?(?:options|choices)\b",
    r"\b(?:options|answer choices|choices)\s*:",
    r"\bselect (?:the|all|one)\b[^.?]*\b(?:option|answer|letter)",
    r"\b(?:enter|choose|give|write) the letter\b",
    r"\bcorrect (?:option|choice|letter)\b",
    r"\benter [\"“'`]*\$?[a-z]\$?[\"”']* (?:for|if)\b",
    r"\bchoose (?:the|one)\b[^.?]{0,40}\b(?:answer|statement|following|condition)",
    r"\bchoose the (?:\w+ )?(?:correct|best|right|appropriate|true) (?:option|choice)",
)
# "(A) ... (B) ... Determine the value of a.": what is behind the last mark asks, so the marks are conditions.
_CONDITIONS = re.compile(r"[.;]\s+(?:find|determine|compute|calculate|what is|how many)\b[^?.]*[?.]\s*\Z")
_WHICH_CUES = ("which", "choices", "options", "option", "letter", "choose", "select", "enter ")

_YES_NO_ASKED = any_of(
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
# "Provide a justification." behind a question changes nothing about its answer.
_REASON_ASKED = re.compile(
    r"(?<=[.?!])\s*(?:please )?(?:provide|give|include|justify|explain|support)\b[^.?!]*\b(?:proofs?|"
    r"justif\w*|reason\w*|"
    r"counterexamples?|explanations?|answers?|why)\b[^.?!]*[.?!]\s*\Z"
)
_REASON_CUES = ("justif", "reason", "counterexample", "proof", "explain", "explanation")
_YES_NO_GOLDS = frozenset({"yes", "no", "true", "false"})
_ASKS_VALUE = any_of(
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
    r"(?:that|the|each|for|if|there|every|directly|by|using|via|,|\$|\\\(|this|these|it|or disprove)|"
    r"\bor disprove\s*:"
    r"|\buse [^.?]{3,120} to (?:prove|show|verify) (?:that|the)\b"
)
_PROVE_CUES = ("prove", "show", "demonstrate", "verify", "deduce", "establish")
_EXISTENCE = re.compile(r"\b(?:or|and) (?:prove|show) (?:that )?(?:it|this|the|no|there|they|one|such)\b")

_PART = re.compile(
    r"(?:(?:^|[\n.?!;:,]\s*|\s)\**\(\s*([a-e]|i{1,3}|iv|[1-5])\s*\)|(?:^|[\n.?!;:]\s*)([a-e]|[1-5])\))\**\s*(?=\S)"
)
_PART_CUES = ("b)", "ii)", "2)")
_ALSO_ASKS = re.compile(
    r"\b(?:also|in addition|additionally|furthermore),? (?:find|determine|compute|calculate|evaluate|prove|"
    r"show that|"
    r"what is)\b"
)
_ASKS_PART = re.compile(
    r"\b(?:find|compute|calculate|determine|prove|show that|what|how many|how much|how long|evaluate|"
    r"sketch|explain|"
    r"deduce|simplify|solve|express|state|list|give|write (?:the|down|an?)|estimate|prove|in what|at what|"
    r"construct|describe)\b|\?"
)

_LINK = any_of(
    r"https?://",
    r"www\.\w",
    r"\]\(\s*/",
    r"\bclick (?:here|on)\b",
    r"\b(?:following|attached) (?:link|website|file)\b",
)
_LINK_CUES = ("http", "www.", "](", "click", "link", "website", "attached")
_MARKDOWN_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(https?://[^)]*\)")

_OPEN = any_of(
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
    r"\bprovide (?:an? )?(?:\w+ )?(?:explanation|reasoning|description|discussion)\b",
)
# Open even where the gold looks closed and a value is asked for.
_OPEN_ANYWAY = any_of(
    r"\b(?:straightedge|ruler|compass(?:es)?)\b[^.?]{0,30}\bconstruct\b",
    r"\b(?:find|determine|give|derive|obtain|provide|establish) (?:an?|some) (?:\w+ )?(?:bound|estimate)\b",
)
_OPEN_CUES = (
    "explain", "describe", "discuss", "justify", "comment", "construct", "sketch", "draw", "design",
    "propose", "interpret", "outline", "summar", "formulate", "invent", "make up", "compare", "example", "provide",
    "write a", "what can you", "do you", "why ", "own words", "reason", "is there a", " bound", " estimate",
)  # fmt: skip
_CLOSED_GOLD = re.compile(r"[-+\d.,:=/\\{}a-z^ ()\[\]$%*]{1,40}", re.IGNORECASE)


def options_in_text(text: str) -> tuple[int, list[str]] | None:
    """Where the answer options of a problem text begin, and their letters; None where it has no options.

    Options are marks A, B, C (and on) in order, the last ones in the text.
    """
    if not holds(text.lower(), _OPTION_CUES):
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
    if found is not None and len(answer) != 1 and _CONDITIONS.search(low[found[0] :]):
        found = None
    if found is not None and (found[1][0] == "A" or (len(answer) == 1 and answer in "abcdefghij")):
        return f"options {', '.join(found[1])} in the text"
    asked = _WHICH_OF.search(low) if holds(low, _WHICH_CUES) else None
    return f'asks "{asked.group().strip()}"' if asked else None


def _yes_no(low: str, answer: str) -> str | None:
    if answer in _YES_NO_GOLDS:
        return f"the gold is {answer!r}"
    if holds(low, _REASON_CUES):
        low = _REASON_ASKED.sub("", low).rstrip()
    if _ASKS_VALUE.search(low):
        return None
    asked = _YES_NO_ASKED.search(low) if holds(low, _YES_NO_CUES) else None
    if asked is None and low.rstrip().endswith("?"):
        asked = _YES_NO_LAST.search(low[-330:])
    return f'asks "{asked.group().strip(" .,?")[:60]}"' if asked else None


def _proof(low: str) -> str | None:
    if not holds(low, _PROVE_CUES):
        return None
    found = _PROVE.search(low)
    if found is None or _EXISTENCE.search(low) or _ASKS_VALUE.search(low):
        return None
    return f'asks to "{found.group().strip(" .,:;)")}"'


def _multi_part(low: str, answer: str) -> str | None:
    if re.search(r"\(a\).*\(b\)|\(i\).*\(ii\)", answer):
        return "the gold has parts"
    if (also := _ALSO_ASKS.search(low)) and _ASKS_PART.search(low, 0, also.start()):
        return f'asks "{also.group()}"'
    if not holds(low, _PART_CUES):
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


def _open_ended(low: str, answer: str) -> str | None:
    if not holds(low, _OPEN_CUES):
        return None
    if (found := _OPEN_ANYWAY.search(low)) is not None:
        return f'asks to "{found.group().strip()[:60]}"'
    found = _OPEN.search(low)
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
    prose = without_drawings(text)
    plain = prose.lower()
    gold = _bare(answer)
    found: dict[Kind, str | None] = {
        "multiple_choice": _multiple_choice(prose, plain, gold, options),
        "yes_no": _yes_no(plain, gold),
        "proof": _proof(plain),
        "multi_part": _multi_part(plain, gold),
        "figure": figure(text, prose),
        "link": None,
        "open_ended": _open_ended(plain, gold),
        "language": None,
    }
    if holds(low, _LINK_CUES):
        link = _LINK.search(_MARKDOWN_LINK.sub(r"\1", low))
        found["link"] = f'"{link.group().strip()}"' if link else None
    spoken = language(text)
    if spoken not in languages:
        found["language"] = f"written in {spoken}"
    return {kind: evidence for kind, evidence in found.items() if evidence}
