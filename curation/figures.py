"""Whether a problem needs a picture: its words point to one, or speak of what only the picture defines.

Drawing code (Asymptote, TikZ) beside a text that says everything only illustrates it: such a row stays. Code under
a text that points to it ("as shown", "the shaded region", a letter that no word introduces) does not replace the
picture: what is asked then hangs on coordinates that were written for a renderer. A table, a sum or a list that
stands in the text is no picture.
"""

from __future__ import annotations

import re

from curation.patterns import any_of, holds

_DRAWING = re.compile(
    r"\[asy\].*?(?:\[/asy\]|\Z)|\\begin\{asy\}.*?(?:\\end\{asy\}|\Z)|```\s*asy.*?(?:```|\Z)"
    r"|\\begin\{tikzpicture\}.*?(?:\\end\{tikzpicture\}|\Z)|\\begin\{pspicture\}.*?(?:\\end\{pspicture\}|\Z)"
    r"|\[img\].*?(?:\[/img\]|\Z)|\[/asy\]|\\includegraphics(?:\[[^\]]*\])?\{[^}]*\}|<img[^>]*>"
    r"|!\[[^\]]*\](?:\([^)]*\))?",
    re.DOTALL | re.IGNORECASE,
)
_DRAWING_CUES = (
    "[asy]", "[/asy]", "\\begin{asy}", "```", "\\begin{tikz", "\\begin{pspicture}", "\\includegraphics",
    "<img", "[img]", "![",
)  # fmt: skip
_IMAGE_FILE = re.compile(r"[\w/.-]+\.(?:png|jpe?g|gif|svg|bmp)\b", re.IGNORECASE)
_IMAGE_FILE_CUES = (".png", ".jp", ".gif", ".svg", ".bmp")

_THING = (
    r"(?:figure|diagram|picture|image|drawing|grid|graph|chart|map|pattern|shape|dial|spinner|net|dots|"
    r"triangle|square|rectangle|circle|polygon|octagon|hexagon|pentagon|region|cube|solid|number line|"
    r"letters|paths?|route|roads?|structure|design|tiles?|cards?|tower|pyramid|board|target|wheel|curve|"
    r"parabola|lines?|segments?|below|above|staircase|logo|scale|clock|box|boxes|prism|cylinder|"
    r"table|array|addition|multiplication|subtraction)"
)
_PLACE = (
    r"(?:here|below|above|at (?:the )?(?:right|left)|on the (?:right|left)|to the (?:right|left)|in (?:the|this) "
    r"(?:figure|diagram|picture|image|graph|drawing|sketch))"
)
_SHOWN = r"(?:shown|pictured|depicted|illustrated|indicated|drawn|sketched)"
_SEEN = r"(?:shown|pictured|depicted|illustrated|indicated)"
_IMAGE = r"(?:figure|diagram|picture|image|drawing|sketch|illustration)"
_POINTS_TO_IMAGE = any_of(
    rf"\b(?:in|on|from|using|see|refer to|consider|by|like) (?:the|this|each)\s?(?:following |adjoining |attached "
    rf"|accompanying |above |given |left |right |adjacent )?{_IMAGE}s?\b(?! of (?:the )?(?:function|eight|"
    rf"speech)|\s*eight| skat)",
    rf"\b(?:in|see|refer to|consider) (?:following |adjoining |attached |accompanying )?{_IMAGE}s?\b"
    rf"(?! \d+ ?,|s? (?:of|in the (?:pattern|sequence)|that|eight|skat|in)|\s*\$?\d\d|\s*\$?\d+\$?\s*(?:\?|"
    rf"consist|contain|would|will))",
    r"\b(?:below|above|accompanying|adjoining) (?:figure|diagram|picture|graph|image|chart)\b",
    r"\b(?:figure|diagram|picture|graph|image|chart|grid|plot)s? (?:below|above|at (?:the )?right|"
    r"on the right|to the right)\b",
    r"\b(?:figure|diagram|picture|graph|image|chart|map|plot)s? (?:below )?(?:shows?|illustrates?|"
    r"depicts?|indicates?)\b",
    rf"\b(?:the|this|following) {_IMAGE}\b(?! (?:formed|bounded|obtained|eight|enclosed|is (?:formed|"
    rf"bounded)|whose|consisting|with|determined|defined|on the|made|given by|that|of|can|has|must|below can|"
    r"has been|continues|into|stops|ends|in the (?:pattern|sequence))|ing|\s*[$(\\])",
    r"\(see (?:the )?(?:figure|diagram|picture)",
    r"\bfig(?:ure)?\. ?\d",
    r"\bpictured (?:below|here|above)\b",
    r"\bfig(?:ure|\.)? [a-z]\d|\binsert (?:an? )?(?:pic|figure|image|diagram)",
)
_POINTS_SOMEWHERE = any_of(
    rf"\b{_THING}s? (?:is |are |as |that is |that are )?{_SHOWN} {_PLACE}\b",
    rf"\b(?:as|is|are|was|were) {_SEEN}(?: {_PLACE})?\s*(?:[.,;:?)]|$|\n)",
    rf"\b{_SHOWN} (?:in [a-z]+ )?{_PLACE}\b",
    r"\btables? (?:below|above|at (?:the )?right|on the right|to the right)\b",
    r"\bconsider the following (?:graph|network|circuit|tree|chart|diagram)\b",
    r"\bfigure \d+\b(?! dots| square)",
    r"\bthe (?:grid|table|graph|chart|spinner|dial|map|number line|array|pattern|net|clock) (?:shown|"
    r"pictured)\b",
    r"\b(?:first|last) (?:two|three|four|five|few|several)(?: \w+)? (?:are|is) (?:shown|pictured)\b",
    r"\bis (?:graphed|plotted|drawn) (?:below|above|here)\b",
    r"\b(?:triangles?|rectangles?|circles?|region|polygon|shape|pattern|grid|boxes|circuit) below\b",
    r"\bsquares? below\b(?! it\b| or\b| and\b)",
    r"(?<!be )\bshown\s*[.?](?!\d)|\bsee the following (?:spinner|board|grid|shape|net|map|wheel|pattern)s?\b",
    r"\bpartially shown\b|\bshown,|\bshown has\b|\bshown is\b",
)
_CUES = (
    "figure", "diagram", "shown", "picture", "image", "drawing", "sketch", "illustrat", "depicted", "graphed",
    "fig.", "fig ", "insert ", "see the following", "indicated", "drawn", " below", "graph above", "plotted",
    "following graph", "following network", "following circuit", "following tree", "following chart",
)  # fmt: skip
# What a text shows by itself: a table, an array, a displayed formula or list behind the words that point to it.
_OWN_TABLE = re.compile(r"\\begin\{(?:tabular|array|tabbing|verbatim)|\\hline|\|\s*:?-{2,}|\n\s*\|[^|\n]+\|")
_OWN_DISPLAY = re.compile(
    r"\\begin\{(?:[bpv]?matrix|cases|align|aligned)|\\square|\n\s*(?:\$?\\bullet|[-*•] |row \d)"
)
_TABLE_MAY_BE = re.compile(r"figure|image|grid|chart")
_INTRODUCED = re.compile(
    r"\b(?:an?|his|her|their|my|scale|two|three|some|are|is|were|of) (?:\w+ )?(image|picture|drawing|"
    r"sketch)(?:s|\b)"
)
_DISPLAY_AHEAD = re.compile(r"[^.?!\n]{0,80}[.:,]?\s*(?:\$\$|\\\[|\n\s*(?:\$?\\bullet|[-*•]\s|\d+[.):]\s))")

# Beside drawing code, any of these points to it.
_POINTS_TO_DRAWING = any_of(
    r"\bshown\b(?! that| to be)",
    r"\bshaded\b(?! (?:region|area) (?:that is|which is|common))",
    r"\b(?:pictured|depicted|illustrated|labell?ed|unlabell?ed|dashed|dotted|unshaded|non-shaded)\b",
    r"\bbelow\b(?! (?:it|the (?:line|x|horizontal))\b)|\babove\s*(?:[.,:;?]|$|\n)|\babove (?:figure|diagram|"
    r"graph)",
    r"\bto the (?:right|left)\s*(?:[.,:;?]|$|\n|is|are|show|has)|\b(?:at|on the) (?:right|left)\s*[.,]",
    r"\bthis (?:\w+[ -])?(?:spinner|graph|figure|diagram|picture|map|wall|chart|dial|net|shape|number line|"
    r"target|dartboard|game ?board|tower|pattern|clock|scale|circle graph|bar graph)\b",
    r"\bof this (?:grid|triangle|rectangle|square|trapezoid|quadrilateral|solid|region|polygon)\b",
    r"\bfollowing (?:line|graph|figure|diagram|picture|triangle|shape|map|curve|region|polygon|solid|chart|grid|"
    r"number line|quadrilateral|circle|parabola)\b",
    r"\b(?:the|a) (?:\w+[ -])?(?:graph|chart|bar graph|diagram|map|spinner|number line) (?:shows?|displays?|"
    r"gives?)\b",
    r"\bspinners? \$?[a-z]\$? (?:and|is|are)\b|\bnumber wall\b|\bpoints on this graph\b",
    r"\b(?:drawn|marked|given) (?:segments?|lines?|angles?|lengths?)\b|\bas (?:marked|drawn|indicated|given)\b",
    r"\bin (?:the|this) (?:triangle|figure|diagram|circle|rectangle|square|quadrilateral|trapezoid|graph|grid|"
    r"drawing)"
    r"\s*,|\bin the \w+ triangle\s*,",
    r"\bcoordinates? of (?:vertex|point) \$?[a-z]\$? so\b",
)
_MATH = re.compile(r"\$([^$]*)\$|\\\((.*?)\\\)", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
_ASKED = re.compile(
    r"\b(?:find|what|how|compute|determine|which|calculate|express|evaluate|give)\b|\?", re.IGNORECASE
)
_ONE_VARIABLE = re.compile(r"(?<![A-Za-z\\{])([a-z])(?![A-Za-z])")
_POINTS = re.compile(r"(?<![A-Za-z\\])(?:[A-Z]'?){1,8}(?![a-z])")
_REGULAR = re.compile(r"\b(?:regular|square|rectangle|cube|equilateral)\b", re.IGNORECASE)
_COMMANDS = re.compile(r"\\(?:text|mathrm|textrm|mathbf|textbf)\s*\{[^{}]*\}|\\[A-Za-z]+")
_FEW_WORDS = 6
_QUANTITY = re.compile(
    r"\d|[=<>^+]|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|half|twice|double|midpoints?|regular|faces|"
    r"inscribed|perpendicular|parallel)\b|\\(?:perp|parallel|frac)",
    re.IGNORECASE,
)
# "The polygon", of which nothing was said before.
_DEFINITE = re.compile(
    r"\bthe (polygon|shape|solid|spinner|grid|graph|pentagon|hexagon|octagon|structure|map|wall)\b"
)


def without_drawings(text: str) -> str:
    """The text without drawing code: what it says in words and formulas."""
    return _DRAWING.sub(" ", text) if holds(text.lower(), _DRAWING_CUES) else text


def figure(text: str, prose: str) -> str | None:
    """What says that the problem needs a picture; None where its words suffice.

    Args:
        text: the problem.
        prose: the same without drawing code.
    """
    low = prose.lower()
    if holds(low, _IMAGE_FILE_CUES) and (file := _IMAGE_FILE.search(prose)):
        return f'"{file.group()[-60:]}"'
    if (found := _pointing(low)) is not None:
        return f'"{found}"'
    if prose is text or prose == text:
        return None
    pointed = _POINTS_TO_DRAWING.search(low)
    if pointed is not None:
        return f'a drawing, and "{" ".join(pointed.group().split())[:60]}"'
    undefined = _undefined(prose)
    return f"a drawing, and {undefined}" if undefined else None


def _pointing(low: str) -> str | None:
    if not holds(low, _CUES):
        return None
    image, place = _POINTS_TO_IMAGE.search(low), _POINTS_SOMEWHERE.search(low)
    if image is None and place is None:
        return None
    table = _OWN_TABLE.search(low) is not None
    if image is not None and not (table and _TABLE_MAY_BE.search(image.group())):
        said = _INTRODUCED.search(low, 0, image.start())
        if said is None or said[1] not in image.group():
            return image.group().strip()[:60]
    if place is None or table or _OWN_DISPLAY.search(low) or _DISPLAY_AHEAD.match(low, place.end()):
        return None
    return place.group().strip()[:60]


def _undefined(prose: str) -> str | None:
    """What a question speaks of that no word of the problem introduces; beside a drawing, the drawing does."""
    words = re.findall(r"[A-Za-z]{2,}", _COMMANDS.sub(" ", prose))
    if len(words) < _FEW_WORDS:
        return "hardly a word"
    if not _QUANTITY.search(prose):
        return "no quantity in words"
    sentences = [part for part in _SENTENCE_END.split(prose) if part.strip()]
    asked = " ".join(part for part in sentences if _ASKED.search(part))
    told = " ".join(part for part in sentences if not _ASKED.search(part))
    formulas = [_COMMANDS.sub(" ", first or second) for first, second in _MATH.findall(asked)]
    everywhere = _COMMANDS.sub(" ", prose)
    for formula in formulas:
        name = _ONE_VARIABLE.fullmatch(formula.strip())
        if (
            name
            and len(re.findall(rf"(?<![A-Za-z]){name[1]}(?![A-Za-z])", everywhere)) == 1
            and name[1] != "n"
        ):
            return f"{name[1]} stands in no other place"
    if _REGULAR.search(asked):
        return None
    definite = _DEFINITE.search(asked.lower())
    if definite and everywhere.lower().count(definite[1]) == 1:
        return f"{definite.group()} is in no other place"
    named = "".join(_POINTS.findall(_COMMANDS.sub(" ", told)))
    in_question = "".join("".join(_POINTS.findall(formula)) for formula in formulas)
    for letter in dict.fromkeys(in_question):
        if letter.isupper() and letter not in named and in_question.count(letter) == 1:
            return f"{letter} stands in the question only"
    return None
