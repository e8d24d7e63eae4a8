"""Source is parsed by many threads at once without one of them being told of another one's depth."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.syntax import parse


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Threads take turns wherever the collector runs, which is in the midst of a parse, too."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def take_turns(*_: object) -> None:
        sum(range(100))

    gc.callbacks.append(take_turns)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)
    gc.callbacks.remove(take_turns)


@pytest.mark.usefixtures("interrupted")
def test_threads_parse_at_the_same_time() -> None:
    sources = ["x = " + "[" * depth + "1]" + "]" * (depth - 1) + "\n" for depth in range(1, 60)] * 5
    with ThreadPoolExecutor(8) as threads:
        trees = list(threads.map(parse, sources))
    assert all(len(tree.body) == 1 for tree in trees)
