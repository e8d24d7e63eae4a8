"""What a question asks an expression to look like, where equal values alone would accept the question again.

"Factor x^2 - 4" has the answer (x-2)(x+2), and x^2 - 4 has the same values. The question tells; without its text
a gold that is written as a product of different sums is taken for the answer to such a question.
"""

from __future__ import annotations

import re
from typing import Literal

from verifiers.math.naming import PARAMETERS
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


def missed_form(problem: Problem | str, answer: str, gold: str) -> Form | None:
    """The form that is asked for and that an answer of the gold's value does not have, or None."""
    text = "" if isinstance(problem, str) else _question(problem)
    asked = asked_form(text) if text else None
    if asked is None and (text.strip() or gold.count("(") < 2):
        return None
    try:
        ours, theirs = parse(canonical_latex(answer)), parse(canonical_latex(gold))
    except UnparsedError:
        return None
    if asked is None:
        return "factored" if _multiplied_out(ours, theirs) else None
    if asked == "factored":
        return None if _factors(ours) >= _factors(theirs) else asked
    return None if _has_product(theirs) or not _has_product(ours) else asked


def _question(problem: Problem) -> str:
    prompt = problem.prompt
    return prompt if isinstance(prompt, str) else prompt[-1]["content"] if prompt else ""


def asked_form(text: str) -> Form | None:
    """The form that the text of a problem asks for; None where it asks for none."""
    factor, expand = bool(_FACTOR.search(text)) and not _NO_FACTOR.search(text), bool(_EXPAND.search(text))
    if factor == expand:
        return None
    return "factored" if factor else "expanded"


def _multiplied_out(ours: Node, theirs: Node) -> bool:
    """Whether the gold is a product of different sums, and the answer one sum without such a product.

    With n, k or m alone such a product is a count, which may be written in either way.
    """
    if isinstance(theirs, Relation) or not variables(theirs) - PARAMETERS:
        return False
    return len(set(_sums(theirs))) > 1 and _is_sum(_bare(ours)) and not _has_product(ours)


def _sums(node: Node) -> list[Node]:
    """The sums with variables that a product or power multiplies."""
    node = _bare(node)
    if isinstance(node, Call) and node.head == "mul":
        return [found for arg in node.args for found in _sums(arg)]
    if isinstance(node, Call) and node.head == "pow":
        return _sums(node.args[0])
    return [node] if _is_sum(node) and variables(node) else []


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
