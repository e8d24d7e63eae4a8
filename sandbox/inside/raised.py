"""An exception that was raised on the other side, made anew from its description (`runner.describe`)."""

from __future__ import annotations

import builtins
from typing import Any

from . import codec


def builtin_base(names: Any) -> type[BaseException]:
    """The nearest built-in exception among the qualified `names` of a type and its bases."""
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
    base = next((known[name] for name in names if name in known), builtin_base(names))
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
    attributes = codec.unpack(description.get("attributes", []))
    error.__dict__.update({str(key): value for key, value in attributes})
    error.__dict__["program_traceback"] = str(description.get("traceback", ""))
    return error
