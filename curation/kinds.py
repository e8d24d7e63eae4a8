"""Problem types that a verifiable-reward set leaves out: choice, yes/no, proof, multi-part, figure, link, open.

Each rule returns the words that decided, so that every drop can be read and judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Kind = Literal["multiple_choice", "yes_no", "proof", "multi_part", "figure", "link", "open_ended", "language"]

_OPTION_MARK = re.compile(
    r"(?<![A-Za-z0-9_^\\])(?:\\text(?:bf|rm|it)?\s*\{|\\mathrm\s*\{|"
    r"\*\*)?\s*\(?([A-Ea-e])\s*[).:]\s*\}?(?=[\s~\\$\d*}\-(]|[A-Za-z])"
)
_OPTION_HINT = re.compile(r"\(\s*[BbDd]\s*\)|\b[BD]\s*[).:]|\bB\)|\(b\)", re.IGNORECASE)
_WHICH_OF = re.compile(
    r"\bwhich (?:one )?of (?:the )?(?:following|these)\b|\bfrom the (?:following )?(?:options|choices)\b|"
    r"\b(?:options|answer choices|choices)\s*:|\bselect (?:the|all|one)\b[^.?]*\b(?:option|answer|letter)|"
    r"\b(?:enter|choose|give) the letter\b|\bcorrect option\b|\bcorrect (?:choice|letter)\b",
    re.IGNORECASE,
)
_YES_NO_ASKED = re.compile(
    r"\b(?:true or false|yes or no|answer (?:with )?(?:yes|true)|(?:\"|“|')?yes(?:\"|”|')?\s*(?:or|"
    r"/)\s*(?:\"|“|')?no"
    r"|true\s*/\s*false|is it true that|is this (?:statement )?(?:true|correct|possible)|"
    r"(?:determine|decide|verify|check|state) (?:whether|if)(?! the answer)|whether or not)\b",
    re.IGNORECASE,
)
_YES_NO_START = re.compile(
    r"(?:^|[.?!\n:,]\s*|\bthen,?\s+)(?:is|are|was|were|does|do|did|can|could|must|has|have|will|would|"
    r"should|isn't|aren't)"
    r"\s+(?!not\b)[^.?!\n]{2,300}\?\s*$",
    re.IGNORECASE,
)
_ASKS_VALUE = re.compile(
    r"\b(?:find|compute|calculate|evaluate|determine (?!whether|if)|how (?:many|much|long|far|old|often|"
    r"large|fast|tall)|"
    r"what (?:is|are|was|were|will|would|number|value|percent|fraction|percentage|time|integer|integers|"
    r"real|size|"
    r"is the|should|must|can|could|does|do|did)|which (?:number|value|integer|year|day|digit)|give the|"
    r"give your|"
    r"express|solve|simplify|minimi[sz]e|maximi[sz]e|provide the|please (?:give|provide|find)|estimate|"
    r"in how many|for (?:how many|what|which))\b",
    re.IGNORECASE,
)
_PROVE = re.compile(
    r"(?:^|[.?!;:,\n)]\s*|\b(?:and|then|or|also|please)\s+)(?:\([a-z0-9]{1,3}\)\s*)?"
    r"(?:prove|show|demonstrate|verify|deduce|disprove|establish)\s+(?:that|the|each|for|if|there|every|"
    r"directly|by|:|,|\$|\\\()",
    re.IGNORECASE,
)
_EXISTENCE = re.compile(
    r"\b(?:or|and) (?:prove|show) (?:that )?(?:it|this|the|no|there|they|one|such)\b", re.IGNORECASE
)
_PART = re.compile(
    r"(?:^|[\n.?!;:]\s*|\s)(?:\(\s*([a-e]|i{1,3}|iv|[1-5])\s*\)|([a-e]|[1-5])\))\s+(?=\S)", re.IGNORECASE
)
_SUBQUESTION = re.compile(
    r"\b(?:find|compute|calculate|determine|prove|show|what|how|evaluate|draw|sketch|write|explain|"
    r"express|solve|"
    r"state|estimate|deduce|give|construct|is|are|does|which)\b",
    re.IGNORECASE,
)
_FIGURE_CODE = re.compile(
    r"\[asy\]|\\begin\{(?:asy|tikzpicture|pspicture)\}|\\includegraphics|<img|!\[[^\]]*\]\(|\\input\{"
)
_FIGURE = re.compile(
    r"\b(?:in|on|from|using|see|refer to|consider|given|by|like) (?:the|this|a|each)? ?(?:following |"
    r"adjoining |accompanying |"
    r"attached |above |given |left |right )?(?:figure|diagram|picture|image|drawing|sketch|illustration)s?\b"
    r"(?! of (?:the )?(?:function|eight|speech)|\s*eight)|"
    r"\b(?:figure|diagram|picture|image|drawing|grid|graph|table|chart|map|pattern|shape|dial|spinner|net|"
    r"array|dots|"
    r"triangle|square|rectangle|circle|polygon|octagon|hexagon|pentagon|region|cube|solid|number line|"
    r"shapes|figures|squares|"
    r"triangles|rectangles|circles|hexagons|letters|paths?|route|roads?|structure|arrangement|design|"
    r"tiles?|cards?|tower|"
    r"pyramid|board|target|wheel|curve|parabola|line|lines|segments?|below|above)s?"
    r" (?:is |are |as |that is |that are )?(?:shown|pictured|depicted|illustrated|drawn|shaded|given)"
    r" (?:here|below|above|at (?:the )?(?:right|left)|to the (?:right|left)|in the (?:figure|diagram|"
    r"picture))\b|"
    r"\b(?:as|is|are) (?:shown|pictured|depicted|illustrated|indicated)(?: (?:here|below|above|"
    r"at (?:the )?right|on the right|"
    r"to the (?:right|left)|in (?:the )?(?:figure|diagram|picture)))?\s*(?:[.,;:?)]|$|\n|in the)|"
    r"\b(?:shown|pictured|depicted) (?:below|above|here|at (?:the )?(?:right|left)|on the (?:right|left)|"
    r"to the (?:right|left)|"
    r"in the (?:figure|diagram|picture|image|graph))\b|"
    r"\b(?:figure|diagram|picture|graph|image)s? (?:below|above|at (?:the )?right|on the right|shows?|"
    r"to the right|indicates?)\b|"
    r"\b(?:below|above) (?:figure|diagram|picture|graph|image)\b|\b(?:the|this|following) (?:figure|"
    r"diagram|picture|image)\b"
    r"(?! (?:formed|bounded|obtained|eight|enclosed|is (?:formed|bounded)|whose|consisting|with|"
    r"determined|defined|on the|made|given by|that))|"
    r"\(see (?:figure|diagram|picture)|\bfig(?:ure)?\. ?\d|\bfigure \d+\b|\bthe (?:grid|table|graph|chart|"
    r"spinner|dial|map|number line) (?:shown|pictured)\b|"
    r"\b(?:first|last) (?:two|three|four|five|few|several)(?: \w+)? (?:are|is) (?:shown|pictured)\b|"
    r"\bthe accompanying\b|"
    r"\bshaded (?:region|area|part|portion|square|triangle|circle)s?\b(?=[^.]*\bshown\b)",
    re.IGNORECASE,
)  # fmt: skip
_LINK = re.compile(
    r"https?://|www\.\w|\]\(\s*/|\bclick (?:here|on)\b|\b(?:this|the following|attached) (?:link|url|"
    r"website|file)\b",
    re.IGNORECASE,
)
_MARKDOWN_LINK = re.compile(r"\[([^\]]+)\]\(https?://[^)]*\)")
_OPEN = re.compile(
    r"(?:^|[.?!;\n]\s*)(?:please )?(?:explain|describe|discuss|justify|comment on|give (?:an |some |"
    r"several )?examples?|"
    r"provide (?:an |some |several )?(?:such|examples?)|construct|sketch|draw|"
    r"write (?:a|an) (?:essay|story|poem|program|paragraph|function|letter|short|problem|question)|design|"
    r"propose|suggest|"
    r"compare and contrast|interpret|outline|summari[sz]e|formulate|invent|make up)\b|"
    r"\b(?:explain|justify) (?:your|why|how|the (?:reason|answer|steps))\b|\bwhat (?:can you (?:say|"
    r"conclude)|do you (?:think|notice))\b|"
    r"\bwhy (?:is|are|does|do|did|not|would|can)\b[^.?]*\?\s*$|\bin your own words\b|\bgive (?:an|"
    r"one) example\b",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]")
_LATEX_WORD = re.compile(r"\\[A-Za-z]+|\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]", re.DOTALL)
_ASCII_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = {
    name: frozenset(words.split())
    for name, words in {
        "en": "the of and is a to in that for find what are with how",
        "fr": "le la les des un une est et que du dans pour soit sur",
        "de": "der die das und ist ein eine den von mit sei für wie",
        "es": "el los las es una que del con para por se un en sea",
        "it": "il lo gli di che per con sia della una è sono del un",
        "pt": "o os as um uma que do da em para com seja é dos",
    }.items()
}
_SCRIPTS = [
    (0x0370, 0x03FF, ""),  # Greek letters are notation
    (0x0400, 0x052F, "ru"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x06FF, "ar"),
    (0x0900, 0x097F, "hi"),
    (0x0E00, 0x0E7F, "th"),
    (0x3040, 0x30FF, "ja"),
    (0x3400, 0x9FFF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
]


def language(text: str) -> str:
    """ISO code of a text's language by script, and by function words for Latin script; "en" when nothing "
    "speaks."""
    if not text.isascii():
        counts: dict[str, int] = {}
        letters = _LETTERS.findall(_LATEX_WORD.sub(" ", text))
        for char in letters:
            if char < "\u0370":
                continue
            code = ord(char)
            name = next((name for low, high, name in _SCRIPTS if low <= code <= high), "")
            if name:
                counts[name] = counts.get(name, 0) + 1
        foreign = sum(counts.values())
        # One ideograph says about as much as three Latin letters.
        if foreign and 3 * foreign >= 0.2 * len(letters):
            return (
                "ja" if counts.get("ja", 0) >= 0.1 * foreign else max(counts, key=lambda name: counts[name])
            )
    words = [word.lower() for word in _ASCII_WORD.findall(_LATEX_WORD.sub(" ", text))]
    scores = {name: sum(word in common for word in words) for name, common in _FUNCTION_WORDS.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= 3 and scores[best] > 2 * scores["en"] else "en"


def options_in_text(text: str) -> tuple[int, list[str]] | None:
    """Where the answer options of a problem text begin, and their letters; None where it has no options.

    Options are marks A, B, C (and on) in order, the last ones in the text.
    """
    if not _OPTION_HINT.search(text):
        return None
    marks = list(_OPTION_MARK.finditer(text))
    for start in range(len(marks) - 1, -1, -1):
        first = marks[start].group(1)
        if first not in "Aa":
            continue
        wanted = "ABCDE" if first == "A" else "abcde"
        letters: list[str] = []
        for mark in marks[start:]:
            if len(letters) < 5 and mark.group(1) == wanted[len(letters)]:
                letters.append(mark.group(1))
        enough = 2 if first == "A" and marks[start].group().find("(") >= 0 else 3
        if len(letters) >= enough:
            return marks[start].start(), letters
    return None


def _multiple_choice(text: str, answer: str | None, options: Sequence[str]) -> str | None:
    if options:
        return f"{len(options)} answer options"
    found = options_in_text(text)
    if found is not None and (found[1][0] == "A" or (answer or "").strip("() .").lower() in "abcde"):
        return f"options {', '.join(found[1])} in the text"
    asked = _WHICH_OF.search(text)
    return f'asks "{asked.group().strip()}"' if asked else None


def _yes_no(text: str, answer: str | None) -> str | None:
    word = re.sub(r"\\text\{([^{}]*)\}", r"\1", answer or "").strip(" .$()").lower()
    if word in ("yes", "no", "true", "false"):
        return f"the gold is {word!r}"
    asked = _YES_NO_ASKED.search(text) or _YES_NO_START.search(text)
    if asked is None or _ASKS_VALUE.search(text):
        return None
    return f'asks "{asked.group().strip(" .,?")[:60]}"'


def _proof(text: str) -> str | None:
    found = _PROVE.search(text)
    if found is None or _EXISTENCE.search(text) or _ASKS_VALUE.search(text):
        return None
    return f'asks to "{found.group().strip(" .,:;)")}"'


def _multi_part(text: str, answer: str | None) -> str | None:
    wanted = {"a": "abcde", "i": ("i", "ii", "iii", "iv"), "1": "12345"}
    marks = [(match, (match.group(1) or match.group(2)).lower()) for match in _PART.finditer(text)]
    for index, (_, label) in enumerate(marks):
        if label not in wanted:
            continue
        sequence: list[re.Match[str]] = []
        for match, name in marks[index:]:
            if len(sequence) < len(wanted[label]) and name == wanted[label][len(sequence)]:
                sequence.append(match)
        asked = 0
        for number, match in enumerate(sequence):
            end = sequence[number + 1].start() if number + 1 < len(sequence) else len(text)
            asked += bool(_SUBQUESTION.search(text[match.end() : end]))
        if len(sequence) >= 2 and asked >= 2:
            return f"{len(sequence)} parts from ({label})"
    if answer and re.search(r"\(a\).*\(b\)|\(i\).*\(ii\)", answer, re.IGNORECASE | re.DOTALL):
        return "the gold has parts"
    return None


def _open_ended(text: str, answer: str | None) -> str | None:
    found = _OPEN.search(text)
    if found is None:
        return None
    closed = (
        answer is not None
        and re.fullmatch(r"[-+\d.,/\\{}a-z^ ()$]{1,30}", answer)
        and _ASKS_VALUE.search(text)
    )
    return None if closed else f'asks to "{found.group().strip(" .,:;?")[:60]}"'


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
    found: dict[Kind, str] = {}

    def add(kind: Kind, evidence: str | None) -> None:
        if evidence:
            found[kind] = evidence

    add("multiple_choice", _multiple_choice(text, answer, options))
    add("yes_no", _yes_no(text, answer))
    add("proof", _proof(text))
    add("multi_part", _multi_part(text, answer))
    figure = _FIGURE_CODE.search(text) or _FIGURE.search(text)
    add("figure", f'"{figure.group().strip()[:60]}"' if figure else None)
    link = _LINK.search(_MARKDOWN_LINK.sub(r"\1", text))
    add("link", f'"{link.group().strip()}"' if link else None)
    add("open_ended", _open_ended(text, answer))
    spoken = language(text)
    add("language", f"written in {spoken}" if spoken not in languages else None)
    return found
