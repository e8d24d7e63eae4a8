"""The program's side of a tested program: performs what the tests ask for, and sends plain data back.

What is no plain data stays here under a handle; the tests hold a stand-in that can only ask again.
"""

from __future__ import annotations

import sys
from typing import Any

from . import codec
from .runner import describe, find, load_module
from .wire import Gone, Wire


def serve(sources: list[str], descriptor: int) -> int:
    """Load the program and answer requests until the tests hang up; the exit code."""
    wire = Wire(descriptor)
    try:
        module = load_module(sources, "solution")
    except BaseException as error:
        wire.send({"load": describe(error)})
        return 1
    wire.send({"ready": 1})
    objects: list[Any] = []

    def keep(value: object) -> int:
        objects.append(value)
        return len(objects) - 1

    def resolve(stand_in: codec.Opaque) -> Any:
        return objects[stand_in.handle]

    while True:
        try:
            request = wire.receive()
        except Gone:
            return 0
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
    if operation == "call":
        arguments = codec.unpack(request["args"], handle=resolve)
        named = codec.unpack(request["kwargs"], handle=resolve)
        value = target(*arguments, **named)
        return {"value": codec.pack(value, keep), **_changes(request["args"], arguments, keep)}
    if operation == "get":
        return {"value": codec.pack(getattr(target, request["name"]), keep)}
    if operation == "set":
        setattr(target, request["name"], codec.unpack(request["value"], handle=resolve))
        return {"value": None}
    if operation == "special":
        arguments = codec.unpack(request["args"], handle=resolve)
        method = getattr(type(target), request["name"], None)
        if method is None:
            # The error that the interpreter gives for an operator that a type lacks.
            raise TypeError(f"{type(target).__name__!r} object has no {request['name']}")
        return {"value": codec.pack(method(target, *arguments), keep)}
    if operation == "take":
        return _take(target, request["count"], keep)
    if operation == "instance":
        return {"value": isinstance(objects[request["of"]], target)}
    raise ValueError(f"unknown operation {operation!r}")


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
    """The next values of an iterator, and whether it ended."""
    values = []
    for _ in range(count):
        try:
            values.append(codec.pack(next(iterator), keep))
        except StopIteration:
            return {"value": values, "end": True}
    return {"value": values, "end": False}
