"""Which names a suite's tests expect of the program; found once, for many programs meet the same tests."""

from __future__ import annotations

import ast
import functools

from .syntax import parse
from .types import Suite


def names_of(suite: Suite) -> tuple[str, ...] | None:
    """The names that the tests and their context use and do not bind; None where they are no Python."""
    return _free_names((suite.context, *suite.tests))


@functools.lru_cache(maxsize=256)
def _free_names(sources: tuple[str, ...]) -> tuple[str, ...] | None:
    loaded: dict[str, None] = {}
    bound: set[str] = set()
    for source in sources:
        try:
            tree = parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    loaded[node.id] = None
                else:
                    bound.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.alias):
                bound.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.ExceptHandler) and node.name:
                bound.add(node.name)
    return tuple(name for name in loaded if name not in bound)
