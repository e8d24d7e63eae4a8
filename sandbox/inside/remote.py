"""Stand-ins, on the tests' side, for what the program under test keeps.

A stand-in asks the program to call, to read an attribute, to iterate. It never lets the program decide a
comparison with a value of the tests: against plain data a stand-in is unequal, whatever its `__eq__` would say.
Two stand-ins are compared, added and so on by the program, for both belong to it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from . import codec
from .raised import builtin_base, rebuild
from .runner import describe
from .serve import BINARY, UNARY
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
        self._stand_ins: dict[int, Remote] = {}
        self._streams: dict[int, Stream] = {}
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
            kind = type(str(name), (builtin_base(types),), {"__module__": "solution"})
            self.exceptions[str(types[0])] = kind

    def value(self, request: dict[str, Any]) -> Any:
        """The value in the program's answer."""
        return self.open(self.ask(request)["value"])

    def open(self, packed: Any) -> Any:
        """A value that came from the program."""
        return codec.unpack(packed, handle=self._stand_in)

    def _stand_in(self, opaque: codec.Opaque) -> Any:
        """The one stand-in for an object, so that what is the same there is the same here."""
        handle, kind = opaque._opaque_handle, opaque._opaque_type
        if handle < 0:
            return Remote(self, kind, handle)
        found = self._stand_ins.setdefault(handle, Remote(self, kind, handle))
        return self._wait_for(found) if kind == "coroutine" else found

    async def _wait_for(self, coroutine: Remote) -> Any:
        return self.value({"op": "await", "on": coroutine._opaque_handle})

    def stream(self, iterator: Remote) -> Stream:
        """The values of an iterator from where it is, whoever asks for them."""
        handle = iterator._opaque_handle
        return self._streams.setdefault(handle, Stream(self, handle))


class Stream:
    """Values of one of the program's iterators, of which some were fetched ahead."""

    def __init__(self, link: Link, handle: int) -> None:
        self._link = link
        self._handle = handle
        self._values: deque[Any] = deque()
        self._end: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        count = 1
        with contextlib.suppress(StopIteration):
            while True:
                yield self.take(count)
                count = min(2 * count, 4096)

    def take(self, count: int = 1) -> Any:
        """The next value, after fetching `count` where none is at hand; what ended the iterator is raised once."""
        if not self._values and self._end is None:
            reply = self._link.ask({"op": "take", "on": self._handle, "count": count})
            self._values.extend(self._link.open(reply["value"]))
            if "raised" in reply:
                self._end = rebuild(reply["raised"], self._link.exceptions)
            elif reply.get("end"):
                self._end = StopIteration()
        if self._values:
            return self._values.popleft()
        end, self._end = self._end or StopIteration(), StopIteration()
        raise end


class Remote(codec.Opaque):
    """A stand-in for one object of the program, or for one of its global names."""

    __slots__ = ("_remote_handle", "_remote_link", "_remote_name")

    def __init__(self, link: Link, type_name: str, handle: int, name: str = "") -> None:
        self._opaque_type = type_name
        self._remote_link = link
        self._remote_handle = handle
        self._remote_name = name

    @property
    def _opaque_handle(self) -> int:  # type: ignore[override]
        """The number under which the program keeps the object; -1 where a global name stands for plain data."""
        if self._remote_name and self._remote_handle < 0:
            found = self._remote_link.value({"op": "object", "on": self._remote_name})
            self._remote_handle = found._remote_handle if isinstance(found, Remote) else -1
        return self._remote_handle

    def _remote_on(self) -> str | int:
        return self._remote_name or self._remote_handle

    def _remote_ask(self, op: str, name: str, *args: Any) -> Any:
        packed = [codec.pack(argument) for argument in args]
        return self._remote_link.value({"op": op, "on": self._remote_on(), "name": name, "args": packed})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Have the program call the object; arguments that it changed in place are changed here."""
        request = {
            "op": "call",
            "on": self._remote_on(),
            "args": [codec.pack(a) for a in args],
            "kwargs": codec.pack(kwargs),
        }
        reply = self._remote_link.ask(request)
        for position, after in dict(reply.get("changed", {})).items():
            _overwrite(args[int(position)], self._remote_link.open(after))
        return self._remote_link.open(reply["value"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and name != "__name__":
            raise AttributeError(name)
        return self._remote_ask("get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_opaque_type", *Remote.__slots__):
            object.__setattr__(self, name, value)
        else:
            self._remote_ask("set", name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return self is other or self._remote_ask("special", "__eq__", other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self._remote_ask("operate", "hash"))

    def __instancecheck__(self, instance: object) -> bool:
        # Of plain data nobody can tell any more whose it was.
        return isinstance(instance, Remote) and instance._remote_ask("operate", "isinstance", self) is True

    def __subclasscheck__(self, subclass: object) -> bool:
        return isinstance(subclass, Remote) and subclass._remote_ask("operate", "issubclass", self) is True

    def __len__(self) -> int:
        return int(self._remote_ask("special", "__len__"))

    def __getitem__(self, key: Any) -> Any:
        return self._remote_ask("special", "__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._remote_ask("special", "__setitem__", key, value)

    def __delitem__(self, key: Any) -> None:
        self._remote_ask("special", "__delitem__", key)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._remote_ask("special", "__iter__")
        if not isinstance(iterator, Remote):
            raise TypeError("the program's __iter__ returned no iterator")
        return iter(self._remote_link.stream(iterator))

    def __next__(self) -> Any:
        return self._remote_link.stream(self).take()

    def __reversed__(self) -> Any:
        return self._remote_ask("special", "__reversed__")

    def __contains__(self, item: Any) -> bool:
        return any(item is mine or item == mine for mine in self)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Any:
        return self._remote_ask("special", "__enter__")

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> bool:
        raised = describe(error) if isinstance(error, Exception) else None
        request = {"op": "exit", "on": self._remote_on(), "raised": raised}
        return self._remote_link.value(request) is True

    def __copy__(self) -> Any:
        return self._remote_ask("operate", "copy")

    def __deepcopy__(self, _: Any) -> Any:
        return self._remote_ask("operate", "deepcopy")

    def __str__(self) -> str:
        return str(self._remote_ask("operate", "str"))

    def __repr__(self) -> str:
        return str(self._remote_ask("operate", "repr"))

    def __format__(self, specification: str) -> str:
        return str(self._remote_ask("operate", "format", specification))


def _between_stand_ins(name: str) -> Callable[[Remote, object], Any]:
    def operator(self: Remote, other: object) -> Any:
        # An object that may decide what it gives with a value of the tests is near every expected value.
        return self._remote_ask("operate", name, other) if isinstance(other, Remote) else NotImplemented

    return operator


def _of_one(name: str) -> Callable[[Remote], Any]:
    return lambda self: self._remote_ask("operate", name)


for _name in BINARY:
    setattr(Remote, f"__{_name.strip('_')}__", _between_stand_ins(_name))
for _name in UNARY:
    setattr(Remote, f"__{_name}__", _of_one(_name))


def _overwrite(argument: Any, after: Any) -> None:
    if isinstance(argument, (list, bytearray)):
        argument[:] = after
    elif isinstance(argument, dict):
        argument.clear()
        argument.update(after)
    elif isinstance(argument, set):
        argument.clear()
        argument |= after
