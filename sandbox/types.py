"""What the sandbox takes and gives: a program, its limits, and what happened when it ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

LimitName = Literal[
    "cpu", "wall", "memory", "processes", "output", "disk", "files", "file_size", "open_files", "stopped"
]
"""A limit by name; `stopped` says that the caller had seen enough."""

Language = Literal["python", "cpp", "c", "java", "javascript", "go", "rust", "bash"]

MEBIBYTE = 1 << 20


class SandboxError(RuntimeError):
    """The sandbox itself failed, or refuses: it says nothing about the program. One line, with what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Limits(_Frozen):
    """What one run may use. Times in seconds, sizes in bytes; every limit is reported by its name when hit."""

    cpu: float = Field(
        default=10.0, gt=0, description="Processor time of all threads and processes together."
    )
    wall: float | None = Field(
        default=None,
        gt=0,
        description="Elapsed time; None: 3 x cpu + 2, so that a busy machine fails nobody.",
    )
    memory: int = Field(
        default=1024 * MEBIBYTE, ge=16 * MEBIBYTE, description="Memory of all processes together."
    )
    processes: int = Field(default=1, ge=1, description="Processes; 1 also forbids starting other programs.")
    threads: int = Field(default=64, ge=1, description="Threads and processes together.")
    output: int = Field(default=8 * MEBIBYTE, ge=0, description="Standard output, error and results, each.")
    file_size: int = Field(default=16 * MEBIBYTE, ge=0, description="Largest file.")
    disk: int = Field(
        default=32 * MEBIBYTE, ge=4096, description="All files of the scratch directory together."
    )
    files: int = Field(default=256, ge=1, description="Files and directories in the scratch directory.")
    open_files: int = Field(
        default=64, ge=16, description="Descriptors open at the same time in one process."
    )

    @property
    def elapsed(self) -> float:
        """The limit on elapsed time that applies, in seconds."""
        return self.wall if self.wall is not None else 3 * self.cpu + 2


class Call(_Frozen):
    """One call of the program's entry point, with plain data as arguments."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    after: bool = Field(default=False, description="Also return the arguments as the call left them.")


class Program(_Frozen):
    """A program and what to do with it: run it as a script with `stdin`, or call `entry_point`."""

    source: str
    fallbacks: tuple[str, ...] = Field(
        default=(), description="Sources to take where those before do not parse."
    )
    language: Language = "python"
    stdin: str | bytes = ""
    entry_point: str | None = Field(
        default=None,
        description="Function to call, or `Solution().method`; None runs the program as a script.",
    )
    calls: tuple[Call, ...] = ()
    one_instance: bool = Field(
        default=False, description="Make all calls on one `Solution()`, in place of a new one for each."
    )
    reply_limit: int = Field(
        default=1 << 20,
        description="Bytes of one call's result; a larger one is not read and equals nothing.",
    )
    files: dict[str, str] = Field(default_factory=dict, description="Text files by relative path.")
    arguments: tuple[str, ...] = Field(default=(), description="Command-line arguments.")


class Raised(_Frozen):
    """An exception that left the program."""

    types: tuple[str, ...] = Field(description="Qualified names of the exception's type and its bases.")
    message: str = ""
    traceback: str = ""

    @property
    def name(self) -> str:
        """The type's own name, without its module."""
        return self.types[0].rpartition(".")[2] if self.types else "Exception"


class CallResult(_Frozen):
    """What one call returned or raised. Sets and dicts are raw: see `sandbox.inside.codec`."""

    index: int = Field(default=0, description="Number of the call, from 0.")
    value: Any = None
    raised: Raised | None = None
    after: tuple[Any, ...] | None = None


OnResult = Callable[[CallResult], bool]
"""Takes a result as it comes; True ends the run."""


class Usage(_Frozen):
    """What a run used: seconds and bytes."""

    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0
    disk: int = 0
    files: int = 0


class Execution(_Frozen):
    """What happened when a program ran. It describes the program; failures of the sandbox are `SandboxError`."""

    exit_code: int | None = Field(description="Exit code of the program; None where a signal ended it.")
    signal: int | None = None
    limit: LimitName | None = Field(default=None, description="The limit that was hit.")
    stdout: str = ""
    stderr: str = ""
    results: tuple[CallResult, ...] = ()
    load_error: Raised | None = Field(default=None, description="What kept the program from loading.")
    violation: str | None = Field(
        default=None, description="How the program broke the protocol of the channel."
    )
    usage: Usage = Usage()
    tier: str = ""
    events: dict[str, int] = Field(
        default_factory=dict, description="What was tried and refused, with counts."
    )

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself, with exit code 0 and within its limits."""
        return self.exit_code == 0 and self.limit is None and self.violation is None


OnExecution = Callable[[Execution], bool]
"""Takes the execution of a case as it ends; True ends the run."""


class Suite(_Frozen):
    """Tests that run in a process of their own, with stand-ins for what they expect of the program.

    A name that the tests use and neither they nor `setup` define stands for the program's.
    """

    tests: tuple[str, ...] = Field(
        description="Python sources, each one a test that passes unless it raises."
    )
    setup: str = Field(
        default="", description="Python source that runs first, and knows nothing of the program."
    )
    context: str = Field(
        default="", description="Python source that runs next, and may use the program's names."
    )
    program_names: tuple[str, ...] = Field(default=(), description="The program's, even if `setup` has them.")
    aliases: dict[str, str] = Field(
        default_factory=dict,
        description="Names of the tests for expressions of the program: `Solution().method`.",
    )
    stop_at_failure: bool = True


class TestReport(_Frozen):
    """What one test of a suite said."""

    __test__ = False

    index: int
    passed: bool
    detail: str = ""


class SuiteExecution(_Frozen):
    """A program's run under a suite: the reports of the tests that ran, and both processes' ends."""

    reports: tuple[TestReport, ...]
    program: Execution
    suite: Execution
    setup_error: str | None = Field(
        default=None, description="Why the set-up, which knows no program, failed."
    )
    suite_error: str | None = Field(default=None, description="Why the suite itself could not run.")


class TierReport(NamedTuple):
    """Whether one way to isolate programs works here."""

    name: str
    available: bool
    detail: str
    advice: str


class Sandbox(Protocol):
    """Runs programs. Safe to call from several threads."""

    tier: str

    def run(
        self, program: Program, limits: Limits | None = None, *, on_result: OnResult | None = None
    ) -> Execution:
        """Run `program`; `on_result` sees each call's result and may return True to end the run.

        SandboxError where the sandbox itself fails.
        """
        ...

    def run_cases(
        self,
        program: Program,
        stdins: Sequence[str | bytes],
        limits: Limits | None = None,
        *,
        on_execution: OnExecution | None = None,
    ) -> tuple[Execution, ...]:
        """Run a script once for each of `stdins`, every time in a fresh process with a fresh scratch directory.

        The limits hold for each case by itself. `on_execution` sees each case as it ends and may return True to
        end the run; the executions that are returned also have what is only known then: the refused calls of all
        cases, with the last one, and of a case that hit a limit, which. Errors as in `run`.
        """
        ...

    def run_suite(self, program: Program, suite: Suite, limits: Limits | None = None) -> SuiteExecution:
        """Run `suite` in one process against `program` in another; errors as in `run`."""
        ...

    def close(self) -> None:
        """End every process of the sandbox."""
        ...
