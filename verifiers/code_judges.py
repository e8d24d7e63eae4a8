"""One judge per protocol: runs a program against its tests and counts what passed."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sandbox.types import Call, CallResult, Execution, Limits, Program, Raised, Sandbox, Suite
from verifiers.code_compare import same_output, same_value
from verifiers.code_extract import assemblies
from verifiers.code_tests import (
    AssertTests,
    CallCase,
    CallTests,
    CheckerTests,
    CodeTests,
    StdioCase,
    StdioTests,
    UnittestTests,
)
from verifiers.types import InputError

MORE_THAN_EXPECTED = 64 << 10
"""Bytes by which a result may exceed eight times the longest expected value; tracebacks fit in."""


class Outcome(NamedTuple):
    """How many tests passed of how many, the rule that decided, and why the first failure."""

    passed: int
    total: int
    method: str
    detail: str
    tier: str
    events: Mapping[str, int]

    @property
    def correct(self) -> bool:
        """Whether every test passed."""
        return self.passed == self.total


def judge(code: str, tests: CodeTests, sandbox: Sandbox, limits: Limits, *, stop_early: bool) -> Outcome:
    """Run `code` against `tests`. SandboxError where the sandbox fails; it says nothing about the code."""
    if isinstance(tests, CallTests):
        return _judge_calls(code, tests, sandbox, limits, stop_early)
    if isinstance(tests, StdioTests):
        return _judge_stdio(code, tests, sandbox, limits, stop_early)
    if isinstance(tests, CheckerTests):
        return _judge_checker(code, tests, sandbox, limits, stop_early)
    suite = _unittest_suite(tests) if isinstance(tests, UnittestTests) else _assert_suite(tests)
    return _judge_suite(
        code, tests, suite.model_copy(update={"stop_at_failure": stop_early}), sandbox, limits
    )


def _program(code: str, tests: CodeTests, **more: object) -> Program:
    first, *rest = assemblies(code, tests.prefix)
    return Program(source=first, fallbacks=tuple(rest), language=tests.language, **more)  # type: ignore[arg-type]


def _judge_calls(code: str, tests: CallTests, sandbox: Sandbox, limits: Limits, stop_early: bool) -> Outcome:
    failures: list[str] = []
    seen = 0

    def on_result(result: CallResult) -> bool:
        nonlocal seen
        case = tests.cases[seen] if seen < len(tests.cases) else None
        seen += 1
        difference = "more results than calls" if case is None else _call_difference(result, case, tests)
        if difference:
            failures.append(f"call {seen}: {difference}")
        return bool(failures) and stop_early

    calls = tuple(
        Call(args=case.args, kwargs=case.kwargs, after=case.after is not None) for case in tests.cases
    )
    # What is much longer than any expected value is no expected value, and need not be read.
    expected = max(len(case.model_dump_json()) for case in tests.cases)
    program = _program(
        code, tests, entry_point=tests.entry_point, calls=calls, reply_limit=8 * expected + MORE_THAN_EXPECTED
    )
    run = sandbox.run(program, limits, on_result=on_result)
    total = len(tests.cases)
    passed = min(seen, total) - len(failures) if seen <= total else 0
    if passed == total and run.violation is None:
        return Outcome(passed, total, "calls", "every call agrees", run.tier, run.events)
    method, detail = _why(run, failures[0] if failures else "the program ended before its calls did")
    return Outcome(min(passed, total - 1), total, method, detail, run.tier, run.events)


def _call_difference(result: CallResult, case: CallCase, tests: CallTests) -> str | None:
    if result.raised is not None:
        if case.raises is None:
            return f"raised {_one_line(result.raised)}"
        names = {name.rpartition(".")[2] for name in result.raised.types} | set(result.raised.types)
        return None if case.raises in names else f"raised {result.raised.name} instead of {case.raises}"
    if case.raises is not None:
        return f"returned instead of raising {case.raises}"
    if case.after is not None:
        if result.after is None or not same_value(list(result.after), list(case.after), tests.tolerance):
            return "the arguments were not left as expected"
        if case.expected is None:
            return None
    if same_value(result.value, case.expected, tests.tolerance):
        return None
    return f"returned {_short(result.value)} instead of {_short(case.expected)}"


def _judge_stdio(code: str, tests: StdioTests, sandbox: Sandbox, limits: Limits, stop_early: bool) -> Outcome:
    def difference(case: StdioCase, run: Execution) -> str | None:
        return same_output(
            run.stdout,
            case.stdout,
            compare=tests.compare,
            ignore_case=tests.ignore_case,
            tolerance=tests.tolerance,
        )

    return _judge_runs(code, tests, difference, sandbox, limits, stop_early)


def _judge_checker(
    code: str, tests: CheckerTests, sandbox: Sandbox, limits: Limits, stop_early: bool
) -> Outcome:
    def difference(case: StdioCase, run: Execution) -> str | None:
        return _checked(case, run, tests, sandbox, limits)

    return _judge_runs(code, tests, difference, sandbox, limits, stop_early)


def _judge_runs(
    code: str,
    tests: StdioTests | CheckerTests,
    difference: Callable[[StdioCase, Execution], str | None],
    sandbox: Sandbox,
    limits: Limits,
    stop_early: bool,
) -> Outcome:
    """Run the program once per case; the first failure is the one that is explained."""
    passed, tier, failure = 0, "", ("", "")
    events: Counter[str] = Counter()
    for number, case in enumerate(tests.cases, 1):
        run = sandbox.run(_program(code, tests, stdin=case.stdin), limits)
        tier = run.tier
        events.update(run.events)
        wrong = difference(case, run) if run.ok else f"exit code {run.exit_code}"
        if wrong is None:
            passed += 1
            continue
        if not failure[0]:
            method, why = _why(run, wrong)
            failure = (method, f"test {number}: {why}")
        if stop_early:
            break
    method, detail = failure if failure[0] else (tests.kind, "every output agrees")
    return Outcome(passed, len(tests.cases), method, detail, tier, events)


def _checked(
    case: StdioCase, run: Execution, tests: CheckerTests, sandbox: Sandbox, limits: Limits
) -> str | None:
    call = Call(args=(case.stdin, run.stdout, case.stdout))
    checker = sandbox.run(Program(source=tests.checker, entry_point="check", calls=(call,)), limits)
    if checker.load_error is not None:
        raise InputError(f"code tests: the checker can't be loaded: {_one_line(checker.load_error)}")
    if checker.results and checker.results[0].value is True:
        return None
    return "the checker refuses the output"


def _assert_suite(tests: AssertTests) -> Suite:
    own = (tests.entry_point,) if tests.entry_point and tests.entry_point.isidentifier() else ()
    return Suite(tests=tests.tests, setup=_complete(tests.prefix), context=tests.setup, program_names=own)


def _complete(prefix: str) -> str:
    """The prefix as the tests can load it: with a body where it ends in a bare signature."""
    for candidate in (prefix, f"{prefix.rstrip()}\n    pass\n"):
        try:
            ast.parse(candidate)
        except SyntaxError:
            continue
        return candidate
    return ""


def _unittest_suite(tests: UnittestTests) -> Suite:
    methods = [
        (definition.name, method.name)
        for definition in ast.parse(tests.source).body
        if isinstance(definition, ast.ClassDef)
        for method in definition.body
        if isinstance(method, ast.FunctionDef) and method.name.startswith("test")
    ]
    if not methods:
        raise InputError("code tests: source: no class with a test method")
    runs = [
        f"_result = unittest.TestResult()\nunittest.TestSuite([{owner}({name!r})]).run(_result)\n"
        "assert _result.wasSuccessful(), (_result.errors + _result.failures)[0][1]"
        for owner, name in methods
    ]
    return Suite(tests=tuple(runs), setup=_complete(tests.prefix), context=tests.source)


def _judge_suite(
    code: str, tests: AssertTests | UnittestTests, suite: Suite, sandbox: Sandbox, limits: Limits
) -> Outcome:
    result = sandbox.run_suite(_program(code, tests), suite, limits)
    if result.setup_error is not None:
        raise InputError(f"code tests: their set-up fails by itself: {result.setup_error[:300]}")
    passed = sum(report.passed for report in result.reports)
    total = len(suite.tests)
    tier = result.program.tier
    if passed == total and result.suite_error is None:
        return Outcome(passed, total, tests.kind, "every test passed", tier, result.program.events)
    failed = next((report for report in result.reports if not report.passed), None)
    if failed is not None:
        detail = f"test {failed.index + 1}: {failed.detail}"
    else:
        detail = result.suite_error or "the tests did not end"
    method, detail = _why(result.program, detail)
    return Outcome(min(passed, total - 1), total, method, detail, tier, result.program.events)


def _why(run: Execution, otherwise: str) -> tuple[str, str]:
    """The rule that decided and a sentence, for a program that failed."""
    if run.violation is not None:
        return "violation", run.violation
    if run.limit is not None and run.limit != "stopped":
        return f"limit:{run.limit}", f"the program hit its {run.limit} limit; {otherwise}"
    if run.load_error is not None:
        return "load", _one_line(run.load_error)
    if run.signal is not None and run.limit is None:
        return "signal", f"the program was ended by signal {run.signal}"
    if run.exit_code not in (0, None):
        return "exit", f"{otherwise}: {run.stderr.strip()[-500:]}"
    return "tests", otherwise


def _one_line(raised: Raised) -> str:
    return f"{raised.name}: {raised.message}".replace("\n", " ")[:300]


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "a value too large to show"
    return text if len(text) <= 80 else text[:77] + "..."
