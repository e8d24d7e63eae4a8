"""Stand-ins, on the tests' side, for what the program under test keeps.

A stand-in asks the program to call, to read an attribute, to iterate. It never lets the program decide a
comparison with a value of the tests: against plain data a stand-in is unequal, whatever its `__eq__` would say.
Two stand-ins are compared by the program, for both belong to it.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

from . import codec
from .wire import Wire


class LoadFailed(BaseException):
    """The program could not be loaded; carries its own description."""

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(str(description.get("message", "")))
        self.description = description


class Link:
    """The connection to the program under test."""

    def __init__(self, descriptor: int) -> None:
        self.wire = Wire(descriptor)
        self.loaded = False
        self.exceptions: dict[str, type[BaseException]] = {}
        self._load_failure: LoadFailed | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The program's answer; what it raised is raised here, with a built-in type where it has one."""
        if not self.loaded:
            self._await_load()
        self.wire.send(request)
        reply = self.wire.receive()
        if "error" in reply:
            raise rebuild(reply["error"], self.exceptions)
        if "value" not in reply:
            raise codec.CodecError("an answer without a value")
        return reply

    def _await_load(self) -> None:
        if self._load_failure is None:
            first = self.wire.receive()
            if "load" not in first:
                self.loaded = True
                return
            self._load_failure = LoadFailed(dict(first["load"]))
        raise self._load_failure

    def learn_exceptions(self, names: list[str]) -> None:
        """Make a class here for each of the program's global `names` that is an exception there."""
        for name, types in dict(self.ask({"op": "exceptions", "names": names})["value"]).items():
            if name not in names:
                raise codec.CodecError("an answer to something that was not asked")
            kind = type(str(name), (_builtin_base(types),), {"__module__": "solution"})
            self.exceptions[str(types[0])] = kind

    def value(self, request: dict[str, Any]) -> Any:
        """The value in the program's answer."""
        return self.open(self.ask(request)["value"])

    def open(self, packed: Any) -> Any:
        """A value that came from the program."""
        return codec.unpack(packed, handle=lambda opaque: Remote(self, opaque.type_name, opaque.handle))


def _builtin_base(names: Any) -> type[BaseException]:
    for name in map(str, names):
        module, _, short = name.rpartition(".")
        found = getattr(builtins, short, None) if module == "builtins" else None
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    return Exception


def rebuild(description: Any, known: dict[str, type[BaseException]]) -> BaseException:
    """An exception like the one that the program raised.

    Of the class that the tests know by the name of its type or of the nearest base, else of the nearest built-in
    type, under its own name.
    """
    names = [str(name) for name in description["types"]]
    base = next((known[name] for name in names if name in known), _builtin_base(names))
    own = names[0].rpartition(".")[2] if names else "Exception"
    kind: type[BaseException] = (
        base if own == base.__name__ else type(own, (base,), {"__module__": "solution"})
    )
    error: BaseException
    try:
        error = kind(*codec.unpack(description.get("arguments", [])))
    except Exception:
        error = kind.__new__(kind)
        error.args = (str(description.get("message", "")),)
    error.__dict__["program_traceback"] = str(description.get("traceback", ""))
    return error


class Remote(codec.Opaque):
    """A stand-in for one object of the program, or for one of its global names."""

    __slots__ = ("_link", "_name")

    def __init__(self, link: Link, type_name: str, handle: int, name: str = "") -> None:
        super().__init__(type_name, handle)
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_name", name)

    def _on(self) -> str | int:
        return self._name or self.handle

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Have the program call the object; arguments that it changed in place are changed here."""
        request = {
            "op": "call",
            "on": self._on(),
            "args": [codec.pack(a) for a in args],
            "kwargs": codec.pack(kwargs),
        }
        reply = self._link.ask(request)
        for position, after in dict(reply.get("changed", {})).items():
            _overwrite(args[int(position)], self._link.open(after))
        return self._link.open(reply["value"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._link.value({"op": "get", "on": self._on(), "name": name})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("type_name", "handle"):
            object.__setattr__(self, name, value)
        else:
            self._link.ask({"op": "set", "on": self._on(), "name": name, "value": codec.pack(value)})

    def _special(self, name: str, *args: Any) -> Any:
        packed = [codec.pack(argument) for argument in args]
        return self._link.value({"op": "special", "on": self._on(), "name": name, "args": packed})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return self.handle == other.handle >= 0 or self._special("__eq__", other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self._name, self.handle))

    def __len__(self) -> int:
        return int(self._special("__len__"))

    def __getitem__(self, key: Any) -> Any:
        return self._special("__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._special("__setitem__", key, value)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._special("__iter__")
        if not isinstance(iterator, Remote):
            raise TypeError("the program's __iter__ returned no iterator")
        count = 1
        while True:
            reply = self._link.ask({"op": "take", "on": iterator.handle, "count": count})
            yield from self._link.open(reply["value"])
            if reply.get("end"):
                return
            count = min(2 * count, 4096)

    def __contains__(self, item: Any) -> bool:
        return any(item is mine or item == mine for mine in self)

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return str(self._special("__str__"))

    def __repr__(self) -> str:
        return codec.Opaque.__repr__(self)


def _overwrite(argument: Any, after: Any) -> None:
    if isinstance(argument, (list, bytearray)):
        argument[:] = after
    elif isinstance(argument, dict):
        argument.clear()
        argument.update(after)
    elif isinstance(argument, set):
        argument.clear()
        argument |= after
