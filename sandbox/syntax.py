"""Python source as a tree, made by one thread at a time.

The interpreter counts how deep a tree is in one place for all threads; where one of them is interrupted, the other
one's parse ends in a SystemError (https://github.com/python/cpython/issues/106905, seen in Python 3.11.7).
"""

from __future__ import annotations

import ast
import threading

_lock = threading.Lock()


def parse(source: str) -> ast.Module:
    """The tree of a module. SyntaxError, ValueError, RecursionError or MemoryError where there is none."""
    with _lock:
        return ast.parse(source)
