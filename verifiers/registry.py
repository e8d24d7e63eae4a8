"""Verifiers by name: the built-in ones, those registered here, and those of installed packages."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from verifiers.types import InputError, Verifier

ENTRY_POINT_GROUP = "rlvr.verifiers"

Factory = Callable[..., Verifier]
F = TypeVar("F", bound=Factory)

_BUILTIN = {
    "math": ("verifiers.math", "MathVerifier", "mathematical equivalence of the final answer"),
    "code": ("verifiers.code", "CodeVerifier", "runs the program against the problem's tests in a sandbox"),
    "format": ("verifiers.format", "FormatVerifier", "think and answer tags, in order and once each"),
    "exact": ("verifiers.simple", "ExactMatchVerifier", "the final answer is the gold string"),
    "multiple_choice": ("verifiers.simple", "MultipleChoiceVerifier", "the chosen option's letter"),
    "numeric": (
        "verifiers.simple",
        "NumericVerifier",
        "a number within a stated tolerance of the gold number",
    ),
    "regex": ("verifiers.simple", "RegexVerifier", "the gold answer is a regular expression"),
    "math_verify": ("verifiers.simple", "MathVerifyVerifier", "Hugging Face math-verify as it is"),
    "judge": (
        "verifiers.judge",
        "JudgeVerifier",
        "a language model behind an OpenAI-compatible server decides",
    ),
}
_registered: dict[str, Factory] = {}


def register(name: str) -> Callable[[F], F]:
    """Register the decorated class or factory under `name`, in this process.

    The first line of its docstring is its description. Other packages use the entry-point group
    `rlvr.verifiers` instead (`name = "package.module:Class"`), which worker processes and the command
    line see as well.

    Raises:
        InputError: the name belongs to another verifier.
    """

    def decorate(factory: F) -> F:
        taken = name in _BUILTIN or _registered.get(name, factory) is not factory
        if taken:
            raise InputError(f"verifier name {name!r} is taken; choose another")
        _registered[name] = factory
        return factory

    return decorate


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def get_verifier(name: str, **options: Any) -> Verifier:
    """Make the verifier called `name`; `options` are its constructor's keyword arguments.

    Raises:
        InputError: no such verifier, its package can't be imported, or it refuses an option.
    """
    factory: Any
    if name in _BUILTIN:
        module, attribute, _ = _BUILTIN[name]
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise InputError(f"verifier {name!r} can't be loaded: {error}") from error
    elif name in _registered:
        factory = _registered[name]
    elif name in (installed := _installed()):
        try:
            factory = installed[name].load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"verifier {name!r} ({installed[name].value}) can't be loaded: {error}"
            ) from error
    else:
        raise InputError(f"no verifier {name!r}; there are: {', '.join(available_verifiers())}")
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise InputError(f"verifier {name!r}: {error}; it takes {inspect.signature(factory)}") from error
    verifier: Verifier = factory(**options)
    return verifier


def available_verifiers() -> dict[str, str]:
    """Every name that `get_verifier` knows, with one line on what decides."""
    names = {name: description for name, (_, _, description) in _BUILTIN.items()}
    for name, factory in _registered.items():
        names[name] = (inspect.getdoc(factory) or "").partition("\n")[0]
    for name, point in _installed().items():
        names.setdefault(name, f"from {point.value}")
    return dict(sorted(names.items()))
