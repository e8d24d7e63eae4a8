"""What is installed, what works here, and what to do about the rest. Every line was tried, not assumed."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rlvr.environment import EXTRA_OF, foreign_packages, installed_version

State = Literal["ok", "absent", "broken", "note"]
CORE = ("pydantic", "datasets", "pyarrow", "sympy", "math-verify", "scipy")
OPTIONAL = ("torch", "transformers", "vllm", "docker", "ray")


class DoctorConfig(BaseModel):
    """Say what is installed, which engines and sandboxes work here, and what to do about the rest."""

    model_config = ConfigDict(extra="forbid")

    json_output: bool = Field(default=False, alias="json", description="Print the findings as JSON lines.")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    name: str
    state: State
    detail: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Every finding, as it is made; the slow ones (importing torch, starting a sandbox) come last."""
    for check in (machine, packages, names, verification, engines, sandboxes):
        yield from _guarded(check)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that itself breaks is a finding, not the end of the examination."""
    try:
        yield from check()
    except Exception as error:
        yield Finding(check.__name__, "the check itself", "broken", f"{type(error).__name__}: {error}")


def machine() -> Iterator[Finding]:
    """Python, cores, memory and disk."""
    yield Finding("machine", "Python", "ok", f"{platform.python_version()} in {sys.prefix}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding("machine", "cores and memory", "ok", f"{cores} cores, {gigabytes:.0f} GiB")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    low = free < 5
    yield Finding(
        "machine",
        "disk",
        "note" if low else "ok",
        f"{free:.0f} GiB free in {Path.cwd()}",
        "checkpoints need about 14 bytes a parameter each: free some space or choose another output"
        if low
        else "",
    )


def packages() -> Iterator[Finding]:
    """Versions of what the toolkit uses."""
    for name in CORE:
        version = installed_version(name)
        advice = "" if version else "pip install rlvr"
        yield Finding("packages", name, "ok" if version else "broken", version or "not installed", advice)
    for name in OPTIONAL:
        version = installed_version(name)
        advice = "" if version else f"pip install 'rlvr[{EXTRA_OF[name]}]' if you need it"
        yield Finding("packages", name, "ok" if version else "absent", version or "not installed", advice)


def names() -> Iterator[Finding]:
    """Whether our import names are ours."""
    foreign = foreign_packages()
    for line in foreign:
        yield Finding("packages", "import names", "broken", line)
    if not foreign:
        yield Finding(
            "packages", "import names", "ok", "verifiers, sandbox, rollout, curation, trainer are rlvr's"
        )


def verification() -> Iterator[Finding]:
    """Each registered verifier; the math verifier judges one right and one wrong answer in a worker."""
    from verifiers import VerifierPool, available_verifiers

    yield Finding("verifiers", "registered", "ok", ", ".join(sorted(available_verifiers())))
    with VerifierPool("math", workers=1, timeout=30.0) as pool:
        right = pool.submit("\\boxed{\\frac{2}{4}}", "1/2").result()
        wrong = pool.submit("\\boxed{3}", "1/2").result()
    good = right.status == "correct" and wrong.status == "incorrect"
    yield Finding(
        "verifiers",
        "math",
        "ok" if good else "broken",
        f"2/4 against 1/2: {right.status}; 3 against 1/2: {wrong.status}",
        "" if good else f"report this: {right.detail or wrong.detail}",
    )


def engines() -> Iterator[Finding]:
    """Samples a token with each engine that is installed."""
    if installed_version("torch") is None or installed_version("transformers") is None:
        yield Finding(
            "engines", "transformers", "absent", "torch or transformers missing", "pip install 'rlvr[train]'"
        )
    else:
        import torch

        from rlvr.quickstart.model import build_model, build_tokenizer
        from rollout.transformers_engine import TransformersEngine

        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            tokenizer = build_tokenizer(())
            engine = TransformersEngine(build_model(tokenizer, 0), tokenizer, device=device)
            tokens = _one_token(engine)
            engine.close()
            yield Finding(
                "engines",
                f"transformers on {device}",
                "ok",
                f"torch {torch.__version__}, sampled {tokens} tokens",
            )
        if torch.cuda.is_available():
            for index in range(torch.cuda.device_count()):
                properties = torch.cuda.get_device_properties(index)
                memory = properties.total_memory / 2**30
                yield Finding("engines", f"GPU {index}", "ok", f"{properties.name}, {memory:.0f} GiB")
        else:
            yield Finding(
                "engines", "GPU", "absent", "torch sees none", "training on a CPU suits tiny models only"
            )
    yield _vllm()
    yield Finding("engines", "openai", "ok", "any OpenAI-compatible server: set engine.server.base_url")


def _one_token(engine: object) -> int:
    from rollout import Engine, Sampling

    assert isinstance(engine, Engine)
    return sum(len(one.token_ids) for one in engine.generate(["1+1="], 1, Sampling(max_tokens=4)))


def _vllm() -> Finding:
    version = installed_version("vllm")
    if version is None:
        return Finding(
            "engines", "vllm", "absent", "not installed", "pip install 'rlvr[vllm]' on a machine with a GPU"
        )
    try:
        import vllm
    except Exception as error:
        advice = "its build must match torch: reinstall vllm into an environment of its own"
        return Finding("engines", "vllm", "broken", f"{version} does not import: {error}", advice)
    return Finding("engines", "vllm", "ok", f"{vllm.__version__} imports")


def sandboxes() -> Iterator[Finding]:
    """Each isolation tier, as its own attacks found it."""
    import sandbox

    for tier in sandbox.probe():
        yield Finding("sandbox", tier.name, "ok" if tier.available else "absent", tier.detail, tier.advice)
