"""The command line: one command a verb, each filled from flags, environment and YAML by `rlvr.settings`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.environment import foreign_packages


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's configuration model and function are; imported only when it runs."""

    summary: str
    config: str
    run: str
    positionals: tuple[str, ...] = ()


COMMANDS = {
    "demo": Command(
        "The whole way on a toy task: raw problems, curated set, DAPO training, report.",
        "rlvr.quickstart.demo:DemoConfig",
        "rlvr.commands:demo",
    ),
    "score": Command(
        "Score model outputs against gold answers with a verifier.",
        "rlvr.score:ScoreConfig",
        "rlvr.commands:score",
        ("input", "output"),
    ),
    "curate": Command(
        "Turn raw problems into a curated training set with the lineage of every row.",
        "curation.config:CurateConfig",
        "rlvr.commands:curate",
        ("inputs",),
    ),
    "train": Command(
        "Train a policy on a curated set with DAPO (GRPO and Dr. GRPO are presets).",
        "trainer.config:TrainConfig",
        "rlvr.commands:train",
    ),
    "sft": Command(
        "Learn from prompt/response pairs before the RL: a cold start, or a run's best responses.",
        "trainer.sft_config:SftConfig",
        "rlvr.commands:sft",
        ("pairs",),
    ),
    "eval": Command(
        "Measure greedy accuracy, avg@k and pass@k of a model on problem files.",
        "rlvr.evaluate:EvalConfig",
        "rlvr.commands:evaluate",
        ("model",),
    ),
    "report": Command(
        "Write the one-file HTML report of a run.",
        "rlvr.report:ReportConfig",
        "rlvr.commands:report",
        ("run",),
    ),
    "export": Command(
        "Write a curated set for verl, TRL or OpenRLHF, or a run's best responses for `rlvr sft`.",
        "rlvr.export:ExportConfig",
        "rlvr.commands:export",
        ("data", "output"),
    ),
    "diff": Command(
        "Say what changed between two curated sets.",
        "rlvr.commands:DiffConfig",
        "rlvr.commands:diff",
        ("first", "second"),
    ),
    "doctor": Command(
        "Say what is installed, which engines and sandboxes work here, and what to do about the rest.",
        "rlvr.doctor:DoctorConfig",
        "rlvr.commands:doctor",
    ),
}


def usage() -> str:
    """The text of `rlvr --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: rlvr COMMAND [OPTIONS]",
            "",
            "Reinforcement learning with verifiable rewards: verify, curate, train.",
            "",
            "commands:",
            *lines,
            "",
            "`rlvr COMMAND --help` prints every field with its meaning, unit and default.",
            "RLVR_TRACEBACK=1 shows where an error was raised.",
        ]
    )


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"rlvr {version('rlvr')}")
        return 0
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        print(f"rlvr: no command {name!r}; the commands are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    foreign = foreign_packages()
    if foreign:
        print(f"rlvr: {foreign[0]}", file=sys.stderr)
        return 2
    return _run(name, COMMANDS[name], rest)


def _run(name: str, command: Command, arguments: Sequence[str]) -> int:
    """Load the command's modules, fill its configuration and run it; errors become one line."""
    if not sys.stderr.isatty():
        # Read by transformers and huggingface_hub: their bars belong on a terminal only.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from rlvr.commands import USER_ERRORS
    from rlvr.settings import load_config

    try:
        config = load_config(_load(command.config), arguments, command=name, positionals=command.positionals)
        return int(_load(command.run)(config))
    except KeyboardInterrupt:
        print(f"rlvr {name}: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 -- the interpreter flushes it at exit
        return 1
    except USER_ERRORS as error:
        if os.environ.get("RLVR_TRACEBACK"):
            raise
        message = str(error)
        print(message if message.startswith("rlvr ") else f"rlvr {name}: {message}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if os.environ.get("RLVR_TRACEBACK"):
            raise
        print(f"rlvr {name}: {missing_package_advice(error)}", file=sys.stderr)
        return 2


def missing_package_advice(error: ModuleNotFoundError) -> str:
    """Which extra of rlvr brings the package that is missing."""
    from rlvr.environment import EXTRA_OF

    package = (error.name or "").split(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        return f"{error}; install it into {sys.prefix}"
    return f"this needs {package}, which is not installed: pip install 'rlvr[{extra}]'"


if __name__ == "__main__":
    sys.exit(main())
