"""The tests of a code problem: what `Problem.tests` holds, by protocol.

The field `kind` tells the protocols apart. Expected values are JSON; values that JSON lacks (tuples with a list
inside of a set, bytes, big floats) are written as assert-style tests.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from sandbox.types import Language
from verifiers.types import InputError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerance(_Frozen):
    """How far a number may lie from the expected one; either bound is enough."""

    relative: float = Field(default=0.0, ge=0)
    absolute: float = Field(default=0.0, ge=0)

    def admits(self, value: float, expected: float) -> bool:
        """Whether `value` is near enough; infinities and NaN only equal themselves."""
        if value == expected:
            return True
        if value != value or expected != expected:
            return value != value and expected != expected
        distance = abs(value - expected)
        return distance <= max(self.absolute, self.relative * abs(expected)) and distance != float("inf")


class _Tests(_Frozen):
    prefix: str = Field(
        default="", description="Source that precedes the response's code: imports, a signature."
    )
    cpu: float | None = Field(
        default=None, gt=0, description="Processor seconds per run; None: the verifier's."
    )
    wall: float | None = Field(
        default=None, gt=0, description="Elapsed seconds per run; None: the verifier's."
    )
    memory: int | None = Field(default=None, gt=0, description="Bytes; None: the verifier's.")


class CallCase(_Frozen):
    """One call: what goes in, and what must come out or be raised."""

    args: tuple[JsonValue, ...] = ()
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    expected: JsonValue = None
    raises: str | None = Field(default=None, description="Name of the exception that must be raised instead.")
    after: tuple[JsonValue, ...] | None = Field(default=None, description="The arguments afterwards.")


class CallTests(_Tests):
    """Calls of a function, `Solution().method` or `Class.method`."""

    kind: Literal["calls"] = "calls"
    entry_point: str
    cases: tuple[CallCase, ...] = Field(min_length=1)
    tolerance: Tolerance = Tolerance()
    language: Literal["python"] = "python"


class AssertTests(_Tests):
    """Python statements that raise where the program is wrong, as HumanEval and MBPP have them."""

    kind: Literal["asserts"] = "asserts"
    tests: tuple[str, ...] = Field(min_length=1)
    entry_point: str | None = Field(default=None, description="Name that the program must define.")
    setup: str = Field(default="", description="Source before the tests; may use the program's names.")
    language: Literal["python"] = "python"


class StdioCase(_Frozen):
    """What the program reads, and what it must print."""

    stdin: str = ""
    stdout: str = ""


class StdioTests(_Tests):
    """A script that reads standard input and prints."""

    kind: Literal["stdio"] = "stdio"
    cases: tuple[StdioCase, ...] = Field(min_length=1)
    compare: Literal["lines", "tokens", "exact"] = Field(
        default="lines", description="Tokens line by line, tokens whatever the lines, or every byte."
    )
    ignore_case: bool = False
    tolerance: Tolerance = Tolerance()
    language: Language = "python"


class UnittestTests(_Tests):
    """A module of `unittest.TestCase` classes; names that it does not define are the program's."""

    kind: Literal["unittest"] = "unittest"
    source: str
    language: Literal["python"] = "python"


class CheckerTests(_Tests):
    """A script whose output a checker judges.

    `checker` is Python source that defines `check(stdin: str, stdout: str, expected: str) -> bool`; it runs in
    the sandbox as well.
    """

    kind: Literal["checker"] = "checker"
    cases: tuple[StdioCase, ...] = Field(min_length=1)
    checker: str
    language: Language = "python"


CodeTests = Annotated[
    CallTests | AssertTests | StdioTests | UnittestTests | CheckerTests, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[CodeTests] = TypeAdapter(CodeTests)


def parse_tests(value: JsonValue) -> CodeTests:
    """Tests from the JSON of `Problem.tests`. InputError says what is wrong with them."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "tests"
        raise InputError(
            f"code tests: {where}: {first['msg']}; kinds: calls, asserts, stdio, unittest, checker"
        ) from error
