"""What a question asks an expression to look like, where equal values alone would accept the question again.

"Factor x^2 - 4" has the answer (x-2)(x+2), and x^2 - 4 has the same values. Only the question can tell; without
its text every form counts.
"""

from __future__ import annotations

import re
from typing import Literal

from verifiers.math.normalisation import canonical_latex
from verifiers.math.parser import UnparsedError, parse
from verifiers.math.syntax import Call, Node, Num, Relation, variables, walk
from verifiers.types import Problem

Form = Literal["factored", "expanded"]

_FACTOR = re.compile(
    r"(?i)\bfactori[sz]e\b|\bfactor(?: completely| fully)?(?:\s*:|\s+(?:the|out|each|this|over|by)\b|\s*[$\\(])"
)
_NO_FACTOR = re.compile(
    r"(?i)\b(?:prime|common|scale|integrating|correction)\s+factor|\b(?:a|the|one|each|every|which) factors?\b"
)
_EXPAND = re.compile(
    r"(?i)(?:^|[.,;:!?\n]\s*|\band\s+|\bplease\s+)(?:expand|multiply out)\b|\bexpanded form\b"
)


def asked_form(problem: Problem | str) -> Form | None:
    """The form that the text of the problem asks for; None where it asks for none."""
    if isinstance(problem, str):
        return None
    prompt = problem.prompt
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"] if prompt else ""
    factor, expand = bool(_FACTOR.search(text)) and not _NO_FACTOR.search(text), bool(_EXPAND.search(text))
    if factor == expand:
        return None
    return "factored" if factor else "expanded"


def has_form(answer: str, gold: str, form: Form) -> bool:
    """Whether an answer of the gold's value has the form as far as the gold has it."""
    try:
        ours, theirs = parse(canonical_latex(answer)), parse(canonical_latex(gold))
    except UnparsedError:
        return True
    if form == "factored":
        return _factors(ours) >= _factors(theirs)
    return _has_product(theirs) or not _has_product(ours)


def _bare(node: Node) -> Node:
    while True:
        if isinstance(node, Relation) and node.operators == ("=",):
            node = node.terms[1]
        elif isinstance(node, Call) and node.head == "neg":
            node = node.args[0]
        else:
            return node


def _factors(node: Node) -> int:
    """How many factors with variables a product has, each as often as its power says."""
    node = _bare(node)
    if not variables(node):
        return 0
    if isinstance(node, Call) and node.head in ("mul", "div", "frac"):
        return sum(_factors(arg) for arg in node.args)
    if isinstance(node, Call) and node.head == "pow" and isinstance(node.args[1], Num):
        power = node.args[1].value
        return _factors(node.args[0]) * int(power) if power.denominator == 1 and 0 < power < 100 else 1
    return 1


def _has_product(node: Node) -> bool:
    """Whether a sum with variables is left multiplied or raised to a power."""
    return any(
        isinstance(n, Call)
        and n.head in ("mul", "pow")
        and any(_is_sum(_bare(arg)) and variables(arg) for arg in n.args)
        for n in walk(node)
    )


def _is_sum(node: Node) -> bool:
    return isinstance(node, Call) and node.head == "add"
