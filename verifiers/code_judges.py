"""One judge per protocol: runs a program against its tests and counts what passed."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sandbox.syntax import parse
from sandbox.types import Call, CallResult, Execution, Limits, Program, Raised, Sandbox, Suite
from verifiers.code_asserts import PlainAssert, complete, entry_point_of, plain_asserts
from verifiers.code_compare import same_output, same_value
from verifiers.code_expressions import NotPlainError
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
_UNIT = {"calls": "call agrees", "asserts": "test passed"}


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
    if isinstance(tests, AssertTests):
        return _judge_asserts(code, tests, sandbox, limits, stop_early)
    return _judge_suite(code, tests, _unittest_suite(tests), sandbox, limits, stop_early)


def _program(code: str, tests: CodeTests, **more: object) -> Program:
    first, *rest = assemblies(code, tests.prefix)
    return Program(source=first, fallbacks=tuple(rest), language=tests.language, **more)  # type: ignore[arg-type]


class _Check(NamedTuple):
    """One call, the test it belongs to, and what is wrong with its result: None where nothing is."""

    test: int
    call: Call
    difference: Callable[[CallResult], str | None]


def _judge_calls(code: str, tests: CallTests, sandbox: Sandbox, limits: Limits, stop_early: bool) -> Outcome:
    checks = [
        _Check(
            index,
            Call(args=case.args, kwargs=case.kwargs, after=case.after is not None),
            functools.partial(_call_difference, case=case, tests=tests),
        )
        for index, case in enumerate(tests.cases)
    ]
    longest = max(len(case.model_dump_json()) for case in tests.cases)
    return _judge_checks(code, tests, tests.entry_point, checks, longest, sandbox, limits, stop_early)


def _judge_asserts(
    code: str, tests: AssertTests, sandbox: Sandbox, limits: Limits, stop_early: bool
) -> Outcome:
    plain = plain_asserts(tests)
    if plain is None:
        return _judge_suite(code, tests, _assert_suite(tests), sandbox, limits, stop_early)
    entry_point, asserts = plain
    undecided: set[int] = set()

    def difference(result: CallResult, check: PlainAssert) -> str | None:
        try:
            return _assert_difference(result, check)
        except NotPlainError:
            undecided.add(result.index)
            return "returned what the tests alone can judge"

    checks = [_Check(each.test, each.call, functools.partial(difference, check=each)) for each in asserts]
    longest = max(len(repr(each.expected)) for each in asserts)
    outcome = _judge_checks(code, tests, entry_point, checks, longest, sandbox, limits, stop_early)
    if undecided or (outcome.method == "load" and tests.prefix):
        # Only the tests' own process knows an object of the program's, and whether the prefix is at fault.
        return _judge_suite(code, tests, _assert_suite(tests), sandbox, limits, stop_early)
    return outcome


def _judge_checks(
    code: str,
    tests: CallTests | AssertTests,
    entry_point: str,
    checks: Sequence[_Check],
    longest: int,
    sandbox: Sandbox,
    limits: Limits,
    stop_early: bool,
) -> Outcome:
    """Make all calls in one process; `longest` is the length of the longest expected value."""
    differences: dict[int, str | None] = {}

    def on_result(result: CallResult) -> bool:
        # By its number, for a run that fails is made once more.
        difference = differences[result.index] = checks[result.index].difference(result)
        return difference is not None and stop_early

    program = _program(
        code,
        tests,
        entry_point=entry_point,
        calls=tuple(check.call for check in checks),
        one_instance=tests.kind == "asserts",
        # What is much longer than any expected value is no expected value, and need not be read.
        reply_limit=8 * longest + MORE_THAN_EXPECTED,
    )
    run = sandbox.run(program, limits, on_result=on_result)
    failures: dict[int, str] = {}
    for index, check in enumerate(checks[: len(run.results)]):
        if difference := differences[index]:
            failures.setdefault(check.test, f"call {index + 1}: {difference}")
    tests_of_calls = {check.test for check in checks}
    waiting = {check.test for check in checks[len(run.results) :]}
    passed, total = len(tests_of_calls - failures.keys() - waiting), len(tests_of_calls)
    if passed == total and run.violation is None:
        return Outcome(passed, total, tests.kind, f"every {_UNIT[tests.kind]}", run.tier, run.events)
    first = failures[min(failures)] if failures else "the program ended before its calls did"
    method, detail = _why(run, first)
    return Outcome(min(passed, total - 1), total, method, detail, run.tier, run.events)


def _assert_difference(result: CallResult, check: PlainAssert) -> str | None:
    if result.raised is not None:
        return f"raised {_one_line(result.raised)}"
    if check.holds(result.value):
        return None
    if check.relation == "holds":
        return f"returned {_short(result.value)}, and not so that {_short(check.expected)}"
    wanted = {"==": "", "is": "the object "}.get(check.relation, "something with the truth value ")
    return f"returned {_short(result.value)} instead of {wanted}{_short(check.expected)}"


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
    """Run the program once per case; the first failure is the one that is explained."""
    wrong: list[str | None] = []

    def on_execution(run: Execution) -> bool:
        case = tests.cases[len(wrong)]
        wrong.append(
            same_output(
                run.stdout,
                case.stdout,
                compare=tests.compare,
                ignore_case=tests.ignore_case,
                tolerance=tests.tolerance,
            )
            if run.ok
            else f"exit code {run.exit_code}"
        )
        return stop_early and wrong[-1] is not None

    stdins = [case.stdin for case in tests.cases]
    runs = sandbox.run_cases(_program(code, tests), stdins, limits, on_execution=on_execution)
    events: Counter[str] = Counter()
    for run in runs:
        events.update(run.events)
    method: str = tests.kind
    detail = "every output agrees"
    failed = next((number for number, why in enumerate(wrong) if why is not None), None)
    if failed is not None:
        method, why = _why(runs[failed], str(wrong[failed]))
        detail = f"test {failed + 1}: {why}"
    return Outcome(wrong.count(None), len(tests.cases), method, detail, runs[-1].tier, events)


def _judge_checker(
    code: str, tests: CheckerTests, sandbox: Sandbox, limits: Limits, stop_early: bool
) -> Outcome:
    """Run the program and then the checker, once per case; the first failure is the one that is explained."""
    passed, tier, failure = 0, "", ("", "")
    events: Counter[str] = Counter()
    for number, case in enumerate(tests.cases, 1):
        run = sandbox.run(_program(code, tests, stdin=case.stdin), limits)
        tier = run.tier
        events.update(run.events)
        wrong = _checked(case, run, tests, sandbox, limits) if run.ok else f"exit code {run.exit_code}"
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
    entry_point = entry_point_of(tests)
    own = (entry_point,) if entry_point and entry_point.isidentifier() else ()
    return Suite(tests=tests.tests, setup=complete(tests.prefix), context=tests.setup, program_names=own)


def _unittest_suite(tests: UnittestTests) -> Suite:
    methods = [
        (definition.name, method.name)
        for definition in parse(tests.source).body
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
    return Suite(tests=tuple(runs), setup=complete(tests.prefix), context=tests.source)


def _judge_suite(
    code: str,
    tests: AssertTests | UnittestTests,
    suite: Suite,
    sandbox: Sandbox,
    limits: Limits,
    stop_early: bool,
) -> Outcome:
    suite = suite.model_copy(update={"stop_at_failure": stop_early})
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
