"""The program's side of a tested program: performs what the tests ask for, and sends plain data back.

What is no plain data stays here under a handle; the tests hold a stand-in that can only ask again.
"""

from __future__ import annotations

import copy
import operator
import sys
from collections.abc import Callable
from typing import Any

from . import codec
from .raised import rebuild
from .runner import describe, find, load_module
from .wire import Gone, Wire

BINARY = (
    "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul",
    "and_", "or_", "xor", "lshift", "rshift",
)  # fmt: skip
UNARY = ("neg", "pos", "invert", "abs")
_OPERATIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in (*BINARY, *UNARY)},
    **{function.__name__: function for function in (hash, isinstance, issubclass, str, repr, format)},
    **{function.__name__: function for function in (copy.copy, copy.deepcopy)},
}


def serve(sources: list[str], descriptor: int) -> int:
    """Load the program and answer requests until the tests hang up; the exit code."""
    try:
        return _answer_all(sources, Wire(descriptor))
    except Gone:
        return 0


def _answer_all(sources: list[str], wire: Wire) -> int:
    try:
        module = load_module(sources, "solution")
    except BaseException as error:
        wire.send({"load": describe(error)})
        return 1
    wire.send({"ready": 1})
    objects: list[Any] = []
    numbers: dict[int, int] = {}

    def keep(value: object) -> int:
        number = numbers.setdefault(id(value), len(objects))
        if number == len(objects):
            objects.append(value)
        return number

    def resolve(stand_in: codec.Opaque) -> Any:
        if stand_in._opaque_handle < 0:
            raise TypeError(f"a {stand_in._opaque_type} of the tests can't cross to the program")
        return objects[stand_in._opaque_handle]

    while True:
        request = wire.receive()
        try:
            reply = _perform(request, module, objects, keep, resolve)
        except BaseException as error:
            reply = {"error": describe(error)}
        sys.stdout.flush()
        wire.send(reply)


def _perform(
    request: dict[str, Any], module: Any, objects: list[Any], keep: Any, resolve: Any
) -> dict[str, Any]:
    if request["op"] == "exceptions":
        return {"value": _exceptions(module, request["names"])}
    on = request["on"]
    target = find(module, on) if isinstance(on, str) else objects[on]
    operation = request["op"]
    if operation == "take":
        return _take(target, request["count"], keep)
    if operation == "object":
        return {"value": codec.pack(target, keep)}
    if operation == "await":
        return {"value": codec.pack(_awaited(target), keep)}
    if operation == "exit":
        return {"value": _leave(target, request["raised"])}
    arguments = codec.unpack(request["args"], handle=resolve)
    if operation == "call":
        named = codec.unpack(request["kwargs"], handle=resolve)
        value = target(*arguments, **named)
        return {"value": codec.pack(value, keep), **_changes(request["args"], arguments, keep)}
    name = request["name"]
    if operation == "get":
        return {"value": codec.pack(getattr(target, name), keep)}
    if operation == "set":
        setattr(target, name, *arguments)
        return {"value": None}
    if operation == "special":
        method = getattr(type(target), name, None)
        if method is None:
            # The error that the interpreter gives for an operator that a type lacks.
            raise TypeError(f"{type(target).__name__!r} object has no {name}")
        return {"value": codec.pack(method(target, *arguments), keep)}
    if operation == "operate":
        return {"value": codec.pack(_OPERATIONS[name](target, *arguments), keep)}
    raise ValueError(f"unknown operation {operation!r}")


def _awaited(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def _leave(manager: Any, raised: dict[str, Any] | None) -> bool:
    """Leave a context, with an exception like the one that the tests raised in it."""
    error = rebuild(raised, {}) if raised else None
    return bool(type(manager).__exit__(manager, type(error) if error else None, error, None))


def _exceptions(module: Any, names: list[str]) -> dict[str, list[str]]:
    """Of the program's global `names`, the exception classes: their own and their bases' qualified names."""
    found = {}
    for name in names:
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            found[name] = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    return found


def _changes(packed: list[Any], arguments: list[Any], keep: Any) -> dict[str, Any]:
    """Arguments that the call has changed in place, by their position."""
    changed = {}
    for index, (before, argument) in enumerate(zip(packed, arguments, strict=True)):
        if isinstance(argument, (list, dict, set, bytearray)):
            after = codec.pack(argument, keep)
            if after != before:
                changed[str(index)] = after
    return {"changed": changed} if changed else {}


def _take(iterator: Any, count: int, keep: Any) -> dict[str, Any]:
    """The next values of an iterator, and whether it ended, or how."""
    values: list[Any] = []
    for _ in range(count):
        try:
            values.append(codec.pack(next(iterator), keep))
        except StopIteration:
            return {"value": values, "end": True}
        except BaseException as error:
            # The tests may stop before they come to it.
            return {"value": values, "raised": describe(error)}
    return {"value": values}
