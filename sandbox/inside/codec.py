"""Plain data as one line of JSON, typed exactly, with nothing that could run when it is read.

JSON itself carries None, bool, int, float, str and list; everything else is an object with one key that names
its type. What is no plain data crosses as `Opaque`, which equals nothing. Both sides bound depth and size; a line
that breaks the format raises `CodecError`.
"""

from __future__ import annotations

import builtins
import importlib
import json
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, cast

MAX_DEPTH = 200
_SMALL_INT = 1 << 256


class CodecError(ValueError):
    """A value that can't be written, or a line that can't be read; the message says why."""


class Opaque:
    """A value that is no plain data: its type's name, and the number under which its owner keeps it.

    The names are such as no program has: a stand-in has the attributes of its object besides.
    """

    __slots__ = ("_opaque_handle", "_opaque_type")

    def __init__(self, type_name: str, handle: int = -1) -> None:
        self._opaque_type = type_name
        self._opaque_handle = handle

    def __repr__(self) -> str:
        return f"<{self._opaque_type} object>"


class RawSet(list[Any]):
    """Elements of a set in the order in which they came; no element was hashed yet."""


class RawFrozenSet(RawSet):
    """Elements of a frozenset."""


class RawDict(list[tuple[Any, Any]]):
    """Items of a dict in their order; no key was hashed yet."""


_BUILTIN_TYPES = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)}

Keep = Callable[[object], int]


def encode(value: object, keep: Keep | None = None) -> bytes:
    """One line of ASCII JSON without its line end. `keep` gives handles to values that are no plain data."""
    return json.dumps(pack(value, keep), separators=(",", ":")).encode("ascii")


def pack(value: object, keep: Keep | None = None, depth: int = 0) -> Any:
    """`value` as a tree of what JSON can carry.

    Subclasses are read through the methods of their plain base, so an overridden `__eq__`, `__iter__` or
    `__repr__` is neither called nor carried over. CodecError where the tree is too deep.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is str:
        return _pack_str(cast(str, value))
    if kind is int:
        return _pack_int(cast(int, value))
    if depth > MAX_DEPTH:
        raise CodecError(f"nested more than {MAX_DEPTH} deep")
    depth += 1
    if kind is list:
        return [pack(item, keep, depth) for item in value]  # type: ignore[attr-defined]
    if kind is tuple:
        return {"t": [pack(item, keep, depth) for item in value]}  # type: ignore[attr-defined]
    if kind is dict:
        return {"d": [[pack(key, keep, depth), pack(item, keep, depth)] for key, item in value.items()]}  # type: ignore[attr-defined]
    return _pack_rare(value, keep, depth)


def _pack_str(value: str) -> Any:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # JSON would join two lone surrogates to one character.
            return {"u": _text(value.encode("utf-32-le", "surrogatepass"))}
    return value


def _pack_int(value: int) -> Any:
    return value if -_SMALL_INT < value < _SMALL_INT else {"i": hex(value)}


def _pack_rare(value: object, keep: Keep | None, depth: int) -> Any:
    if isinstance(value, type) and _BUILTIN_TYPES.get(value.__name__) is value:
        return {"T": value.__name__}
    for base in type(value).__mro__:
        packer = _PACKERS.get(base)
        if packer is not None:
            return packer(value, keep, depth)
        name = (getattr(base, "__module__", ""), getattr(base, "__name__", ""))
        if name in _NAMED and getattr(sys.modules.get(name[0]), name[1], None) is base:
            return _NAMED[name](base, value)
        if name == ("numpy", "ndarray"):
            return [pack(item, keep, depth) for item in value.tolist()]  # type: ignore[attr-defined]
        if name == ("numpy", "generic"):
            return pack(value.item(), keep, depth)  # type: ignore[attr-defined]
    return {"o": [type.__dict__["__name__"].__get__(type(value)), keep(value) if keep else -1]}


def _items(tag: str, base: Any) -> Callable[[Any, Keep | None, int], Any]:
    return lambda value, keep, depth: {tag: [pack(item, keep, depth) for item in base.__iter__(value)]}


def _pack_list(value: Any, keep: Keep | None, depth: int) -> Any:
    return [pack(item, keep, depth) for item in list.__iter__(value)]


def _pack_dict(value: Any, keep: Keep | None, depth: int) -> Any:
    return {"d": [[pack(key, keep, depth), pack(item, keep, depth)] for key, item in dict.items(value)]}


_PACKERS: dict[type, Callable[[Any, Keep | None, int], Any]] = {
    list: _pack_list,
    dict: _pack_dict,
    tuple: _items("t", tuple),
    set: _items("s", set),
    frozenset: _items("z", frozenset),
    deque: _items("q", deque),
    int: lambda value, keep, depth: pack(int.__pos__(value), keep, depth),
    float: lambda value, keep, depth: float.__pos__(value),
    str: lambda value, keep, depth: _pack_str(str.__str__(value)),
    bytes: lambda value, keep, depth: {"b": _text(bytes.__getitem__(value, slice(None)))},
    bytearray: lambda value, keep, depth: {"b": _text(bytes(value))},
    complex: lambda value, keep, depth: {"c": [value.real, value.imag]},
    range: lambda value, keep, depth: {"r": [value.start, value.stop, value.step]},
    Opaque: lambda value, keep, depth: {"o": [value._opaque_type, value._opaque_handle]},
}


# Types of modules that are not loaded before a program loads them: a process that lacks them has less to copy.
_NAMED: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("decimal", "Decimal"): lambda kind, value: {"D": str(kind.__str__(value))},
    ("fractions", "Fraction"): lambda kind, value: {"F": [hex(value.numerator), hex(value.denominator)]},
    ("datetime", "datetime"): lambda kind, value: {"dt": kind.isoformat(value)},
    ("datetime", "date"): lambda kind, value: {"da": kind.isoformat(value)},
    ("datetime", "time"): lambda kind, value: {"ti": kind.isoformat(value)},
    ("datetime", "timedelta"): lambda kind, value: {"td": [value.days, value.seconds, value.microseconds]},
}


def _of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _text(data: bytes) -> str:
    return str(_of("base64", "b64encode")(data).decode())


def _data(text: str) -> bytes:
    return bytes(_of("base64", "b64decode")(text, validate=True))


def decode(line: bytes, *, hashed: bool = True, handle: Callable[[Opaque], Any] | None = None) -> Any:
    """The value on one line. CodecError where it is malformed.

    With `hashed=False` sets and dicts stay `RawSet` and `RawDict`, so that keys which collide by design cost
    nothing. `handle` turns what was no plain data into an object of the reader's.
    """
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not a plain value: {str(error)[:200]}") from error
    return unpack(tree, hashed, handle)


def load(line: bytes) -> dict[str, Any]:
    """A message: one JSON object on a line. CodecError where it is something else."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not a message: {str(error)[:200]}") from error
    if type(frame) is not dict:
        raise CodecError("not a message: no object")
    return frame


def unpack(tree: Any, hashed: bool = True, handle: Callable[[Opaque], Any] | None = None) -> Any:
    """Inverse of `pack`, up to subclasses. CodecError where `tree` is malformed or too deep."""
    try:
        return _unpack(tree, hashed, handle, 0)
    except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError) as error:
        # Whatever the constructors of the types say to what nobody packed. The cause would be looked up for the
        # program's traceback, in our own source.
        raise CodecError(f"not a plain value: {type(error).__name__}: {str(error)[:200]}") from None


def _unpack(tree: Any, hashed: bool, handle: Callable[[Opaque], Any] | None, depth: int) -> Any:
    kind = type(tree)
    if kind is not list and kind is not dict:
        return tree
    if depth > MAX_DEPTH:
        raise CodecError(f"nested more than {MAX_DEPTH} deep")
    depth += 1
    if kind is list:
        return [_unpack(item, hashed, handle, depth) for item in tree]
    if len(tree) != 1:
        raise CodecError("an object has other than one key")
    ((tag, body),) = tree.items()
    if tag in _UNPACKERS:
        return _UNPACKERS[tag](body)
    if tag == "o":
        opaque = Opaque(str(body[0])[:200], int(body[1]))
        return handle(opaque) if handle else opaque
    if tag == "d":
        pairs = [
            (_unpack(key, hashed, handle, depth), _unpack(item, hashed, handle, depth)) for key, item in body
        ]
        return dict(pairs) if hashed else RawDict(pairs)
    if tag not in "tszq" or type(body) is not list:
        raise CodecError(f"unknown type {str(tag)[:20]!r}")
    items = [_unpack(item, hashed, handle, depth) for item in body]
    if tag == "t":
        return tuple(items)
    if tag == "q":
        return deque(items)
    if tag == "s":
        return set(items) if hashed else RawSet(items)
    return frozenset(items) if hashed else RawFrozenSet(items)


def _fraction(numerator: str, denominator: str) -> Any:
    # The greatest common divisor of two numbers of a million digits takes minutes.
    if max(len(numerator), len(denominator)) > 10_000:
        raise CodecError("a fraction of more than 10,000 hexadecimal digits")
    return _of("fractions", "Fraction")(int(numerator, 16), int(denominator, 16))


_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "i": lambda body: int(body, 16),
    "T": lambda body: _BUILTIN_TYPES[body],
    "u": lambda body: _data(body).decode("utf-32-le", "surrogatepass"),
    "b": lambda body: _data(body),
    "c": lambda body: complex(*body),
    "r": lambda body: range(*body),
    "D": lambda body: _of("decimal", "Decimal")(body),
    "F": lambda body: _fraction(*body),
    "dt": lambda body: _of("datetime", "datetime").fromisoformat(body),
    "da": lambda body: _of("datetime", "date").fromisoformat(body),
    "ti": lambda body: _of("datetime", "time").fromisoformat(body),
    "td": lambda body: _of("datetime", "timedelta")(*body),
}
