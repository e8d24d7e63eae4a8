"""Symbolic proof that two expressions are equal, for the few that numbers can't settle.

The expressions of sympy are built from the parsed trees, never from text. Since sympy may take any time, the work
is done in a worker process under limits; what is not proven within them stays undecided.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

from verifiers.limits import WorkerLimits
from verifiers.math.syntax import CONSTANTS, Call, Node, Num, Sym, variables
from verifiers.types import Problem, Verdict

_LARGEST = 150
_FUNCTIONS = frozenset(
    {"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "exp", "ln"}
)
_RENAMED = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arsinh": "asinh", "arcosh": "acosh",
    "artanh": "atanh", "abs": "Abs", "binom": "binomial",
}  # fmt: skip


class UnprovableError(ValueError):
    """The tree holds something that is not handed to sympy, or is too large."""


def proves_equal(left: Node, right: Node) -> bool:
    """Whether sympy proves left = right for all real values of the variables, or for all positive ones."""
    from verifiers.pool import shared_pool

    try:
        task = json.dumps([_packed(left), _packed(right)])
    except UnprovableError:
        return False
    return shared_pool().submit(task, "", verifier=ProofVerifier()).result().correct


@dataclass(frozen=True)
class ProofVerifier:
    """The work of a worker process: the "response" is a pair of packed trees, `correct` says proven."""

    name: str = field(default="proof", init=False)
    worker_limits: ClassVar[WorkerLimits] = WorkerLimits(cpu_seconds=2.0, wall_seconds=60.0, memory_mb=512)

    def warm_up(self) -> None:
        """Load sympy before the clock of a verdict runs."""
        import sympy  # noqa: F401

    def verify(self, response: str, problem: Problem | str) -> Verdict:
        """Try to prove the equality."""
        import sympy

        started = time.perf_counter()
        left, right = json.loads(response)
        proven = False
        for positive in (False, True):
            difference = _expression(left, positive) - _expression(right, positive)
            proven = proven or sympy.expand(difference) == 0 or sympy.simplify(difference) == 0
        seconds = time.perf_counter() - started
        if proven:
            return Verdict(reward=1.0, status="correct", method="proof", detail="proven", seconds=seconds)
        return Verdict(reward=-1.0, status="incorrect", method="proof", detail="not proven", seconds=seconds)


def _packed(node: Node) -> list[Any]:
    """A scalar tree as nested lists: numbers as text, operations with their arguments."""
    left = _LARGEST

    def pack(node: Node) -> list[Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise UnprovableError
        if isinstance(node, Num) and not node.digits:
            if node.value.numerator.bit_length() + node.value.denominator.bit_length() > 200:
                raise UnprovableError
            return ["number", str(node.value)]
        if isinstance(node, Sym):
            return ["symbol", node.name]
        if isinstance(node, Call) and not (node.head == "pow" and _large(node.args[1])):
            return [node.head, *(pack(arg) for arg in node.args)]
        raise UnprovableError

    return pack(node)


def _large(exponent: Node) -> bool:
    """Whether an exponent is a number that would make sympy multiply out a huge power."""
    if isinstance(exponent, Call) and exponent.head == "neg":
        return _large(exponent.args[0])
    return abs(exponent.value) > 60 if isinstance(exponent, Num) else not variables(exponent)


def _expression(packed: list[Any], positive: bool) -> Any:
    import sympy

    head, parts = packed[0], packed[1:]
    if head == "number":
        value = Fraction(parts[0])
        return sympy.Rational(value.numerator, value.denominator)
    if head == "symbol":
        constants = {"\\pi": sympy.pi, "e": sympy.E, "i": sympy.I, "\\infty": sympy.oo}
        assert constants.keys() == CONSTANTS
        if parts[0] in constants:
            return constants[parts[0]]
        return sympy.Symbol(parts[0], positive=True) if positive else sympy.Symbol(parts[0], real=True)
    args = [_expression(part, positive) for part in parts]
    if head == "add":
        return sympy.Add(*args)
    if head == "mul":
        return sympy.Mul(*args)
    if head == "neg":
        return -args[0]
    if head in ("div", "frac", "ratio"):
        return args[0] / args[1]
    if head == "mixed":
        return args[0] + args[1]
    if head == "pow":
        return sympy.Pow(args[0], args[1])
    if head == "sqrt":
        return sympy.sqrt(args[0])
    if head == "root":
        return sympy.root(args[0], args[1])
    if head == "log" and len(args) == 2:
        return sympy.log(args[0]) / sympy.log(args[1])
    if head == "log":
        return sympy.log(args[0])
    if head == "degree":
        return args[0] * sympy.pi / 180
    if head == "factorial":
        return sympy.factorial(args[0])
    if head in _FUNCTIONS or head in _RENAMED:
        return getattr(sympy, _RENAMED.get(head, head))(*args)
    raise UnprovableError(f"the operation {head!r}")
