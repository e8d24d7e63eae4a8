# ruff: noqa: E501 - one program on a line
"""Honest programs and honest tests of the odder kinds: to refuse one is as bad as to let an attack pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.local import TIERS, LocalSandbox
from sandbox.types import Limits
from verifiers import InputError, Problem
from verifiers.code import CodeVerifier, tried

SUM = "input(); print(sum(map(int, input().split())))"
SCRIPTS = {
    "standard input by its name": "f = open('/dev/stdin'); f.readline(); print(sum(map(int, f.readline().split())))",
    "standard input as a path": "import pathlib; print(sum(map(int, pathlib.Path('/dev/stdin').read_text().split()[1:])))",
    "standard output by its name": "input(); open('/dev/stdout', 'w').write(f'{sum(map(int, input().split()))}\\n')",
    "standard error by its name": f"print('x', file=open('/dev/stderr', 'w'))\n{SUM}",
    "descriptors": "import os; os.write(1, str(sum(map(int, os.read(0, 10**6).split()[1:]))).encode())",
    "a map of standard input": "import mmap; print(sum(map(int, mmap.mmap(0, 0, access=mmap.ACCESS_READ)[:].split()[1:])))",
    "standard input twice": f"import sys\nsys.stdin.read(); sys.stdin.seek(0)\n{SUM}",
    "standard input until its end": "t = 0\ninput()\ntry:\n    while True: t += sum(map(int, input().split()))\nexcept EOFError: print(t)",
    "lines of all files": "import fileinput; print(sum(map(int, list(fileinput.input())[1].split())))",
    "a writer of one's own": f"import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())\n{SUM}",
    "streams opened anew": f"import sys\nsys.stdout = open(1, 'w'); sys.stdin = open(0)\n{SUM}",
    "a closed standard error": f"import sys\nsys.stderr.close()\n{SUM}",
    "threads of a pool": "from concurrent.futures import ThreadPoolExecutor as E\ninput()\nwith E() as e: print(sum(e.map(int, input().split())))",
    "an event loop with threads": "import asyncio, sys\nasync def f():\n    await asyncio.to_thread(input)\n    print(sum(map(int, (await asyncio.to_thread(input)).split())))\nasyncio.run(f())",
    "an alarm": f"import signal, time\nhit = []\nsignal.signal(signal.SIGALRM, lambda *_: hit.append(1))\nsignal.setitimer(signal.ITIMER_REAL, .02)\nwhile not hit: time.sleep(.01)\n{SUM}",
    "a deep recursion in a thread": f"import sys, threading\nsys.setrecursionlimit(10**6); threading.stack_size(2**27)\ndef f(n): return n and 1 + f(n - 1)\ndef main():\n    f(10**5)\n    {SUM}\nt = threading.Thread(target=main); t.start(); t.join()",
    "a stack without a limit": f"import resource\nresource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)\n{SUM}",
    "long integers": f"import sys\nsys.set_int_max_str_digits(0); int(str(10**20_000))\n{SUM}",
    "a database in memory": "import sqlite3\nc = sqlite3.connect(':memory:'); c.execute('create table t(x)'); input()\nc.executemany('insert into t values(?)', [(int(x),) for x in input().split()]); print(*c.execute('select sum(x) from t').fetchone())",
    "its own source": f"import inspect\ndef f(x): return x\nassert 'return x' in inspect.getsource(f)\n{SUM}",
    "its own module": f"import __main__\n__main__.x = 1\nassert x == 1 and __name__ == '__main__' and __file__\n{SUM}",
    "classes that are pickled": f"import dataclasses, pickle\n@dataclasses.dataclass(frozen=True, slots=True)\nclass A:\n    x: int\nassert pickle.loads(pickle.dumps(A(1))) == A(1)\n{SUM}",
    "times and zones": f"import datetime, time, zoneinfo\ndatetime.datetime.now(zoneinfo.ZoneInfo('Europe/Paris')); time.localtime()\n{SUM}",
    "an environment": f"import os\nos.environ.get('ONLINE_JUDGE'); os.environ['X'] = '1'; os.path.expanduser('~'); os.path.exists('in.txt')\n{SUM}",
    "a locale": f"import locale\nlocale.setlocale(locale.LC_ALL, '')\n{SUM}",
    "a byte order mark": "\ufeff" + SUM,
    "lines of another system": "input()\r\nif True:\r\n    print(sum(map(int, input().split())))\r\n",
    "a coding that is declared": f"# -*- coding: latin-1 -*-\nassert len('é') == 1\n{SUM}",
    "hashes and secrets": f"import hashlib, secrets, uuid\nhashlib.sha256(b'x'); secrets.token_hex(); uuid.uuid4()\n{SUM}",
    "a profile": f"import cProfile\np = cProfile.Profile(); p.enable(); p.disable()\n{SUM}",
    "an end in the middle": f"import os, sys\n{SUM}; sys.stdout.flush(); os._exit(0)",
    "a message at the end": f"import atexit, sys\natexit.register(print, '', end='')\n{SUM}; sys.exit()",
    "arrays": "import numpy as np\ninput(); print(np.array(input().split(), dtype=np.int64).sum())",
    "arrays from a stream": "import sys, numpy as np\ninput(); print(int(np.loadtxt(sys.stdin).sum()))",
}  # fmt: skip
WITH_FILES = {
    "processes that are threads": "from multiprocessing.dummy import Pool\ninput(); print(sum(Pool(3).map(int, input().split())))",
    "a lock between processes": f"import multiprocessing\nwith multiprocessing.Lock():\n    {SUM}",
    "temporary files": f"import tempfile\nwith tempfile.NamedTemporaryFile('w+') as f, tempfile.TemporaryDirectory():\n    f.write('x'); f.flush(); open(f.name).read()\n{SUM}",
    "the directory it is in": f"import os\nos.listdir('.')\n{SUM}",
}  # fmt: skip

PROGRAM = """
class Node:
    handle, type_name, _name, count = 5, 'node', 'n', 0
    def __init__(self, v=0): self.v, self._link, self.value = v, None, v
    def __repr__(self): return f'Node({self.v})'
    def __str__(self): return f'N{self.v}'
    def __format__(self, s): return f'{s}{self.v}'
    def __eq__(self, o): return isinstance(o, Node) and self.v == o.v
    def __hash__(self): return hash(self.v)
    def __lt__(self, o): return self.v < o.v
    def __add__(self, o): return Node(self.v + o.v)
    def __neg__(self): return Node(-self.v)
    def __abs__(self): return abs(self.v)
    def __enter__(self): self.v += 1; return self
    def __exit__(self, kind, error, _): self.v -= 1; return kind is ValueError
    def __delitem__(self, k): self.v = 99
    def __reversed__(self): return iter([3, 2, 1])
class Leaf(Node): pass
class Plain: pass
class Wrong(ValueError):
    def __init__(self, code): super().__init__(f'code {code}'); self.code = code
def fail(): raise Wrong(7)
def count():
    for n in range(1, 5): yield n
def late():
    yield 1
    raise RuntimeError('late')
async def later(x): return x + 1
class Colour:
    pass
RED = Colour()
def red(): return RED
def nodes(): return [Node(3), Node(1)]
def same(x): return x
def nt(): return 1
"""
TESTS = [
    "assert Node(1).handle == 5 and Node(1).type_name == 'node' and Node(1)._name == 'n' and Node(1)._link is None",
    "n = Node(1)\nn.handle = 7\nassert n.handle == 7",
    "assert (repr(Node(4)), str(Node(4)), f'{Node(4):>}') == ('Node(4)', 'N4', '>4')",
    "assert Node(1) < Node(2) and not Node(2) < Node(1) and Node(2) > Node(1)",
    "assert (Node(1) + Node(2)).v == 3 and (-Node(1)).v == -1 and abs(Node(-2)) == 2",
    "assert sum([Node(1), Node(2)], Node(0)).v == 3 and max(nodes()).v == 3 and sorted(nodes())[0].v == 1",
    "with Node(1) as n:\n    assert n.v == 2\nassert n.v == 1",
    "n = Node(1)\nwith n:\n    raise ValueError('x')\nassert n.v == 1",
    "n = Node(1)\ndel n[0]\nassert n.v == 99 and list(reversed(n)) == [3, 2, 1]",
    "assert isinstance(Leaf(), Node) and not isinstance(Node(), Leaf) and not isinstance(5, Node) and issubclass(Leaf, Node)",
    "assert Node.__name__ == 'Node' and fail.__name__ == 'fail'",
    "g = count()\nassert (next(g), next(g), list(g)) == (1, 2, [3, 4])",
    "g = count()\nfor x in g:\n    if x == 2: break\nassert next(g) == 3",
    "g = count()\nassert sum(g) == 10\ntry:\n    next(g)\n    assert False\nexcept StopIteration: pass",
    "import itertools\nassert list(itertools.islice(late(), 1)) == [1]",
    "g = late()\nassert next(g) == 1\ntry:\n    next(g)\n    assert False\nexcept RuntimeError as e:\n    assert str(e) == 'late'",
    "import asyncio\nassert asyncio.run(later(1)) == 2",
    "import asyncio\nasync def both(): return await asyncio.gather(later(1), later(2))\nassert asyncio.run(both()) == [2, 3]",
    "try:\n    fail()\n    assert False\nexcept Wrong as e:\n    assert e.code == 7 and str(e) == 'code 7'",
    "assert red() is red() and red() == red() and Plain() is not Plain() and Plain() != Plain()",
    "assert len({Node(1), Node(1), Node(2)}) == 2 and {Node(1): 2}[Node(1)] == 2 and Node(1) in nodes()",
    "import copy\nn = Node(3)\nm = copy.deepcopy(n)\nm.v = 4\nassert n.v == 3",
    "assert same(Node)(2).v == 2 and same([Node(4)])[0].v == 4",
    "assert nt() + 0 == 1",
]  # fmt: skip


@pytest.fixture(scope="module", params=TIERS)
def verifier(request: pytest.FixtureRequest) -> Iterator[CodeVerifier]:
    made = CodeVerifier(workers=1, tier=request.param, limits=Limits(cpu=5, wall=60))
    try:
        assert made.sandbox.tier == request.param
    except InputError as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_passes(verifier: CodeVerifier, name: str) -> None:
    passes(verifier, SCRIPTS[name])


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_script_that_needs_a_directory_passes_where_there_is_one(verifier: CodeVerifier, name: str) -> None:
    if verifier.sandbox.tier != "namespaces":
        pytest.skip("this tier has no directory to write to")
    passes(verifier, WITH_FILES[name])


def passes(verifier: CodeVerifier, source: str) -> None:
    tests = {"kind": "stdio", "cases": [{"stdin": "3\n1 2 3\n", "stdout": "6\n"}]}
    verdict = verifier.verify(f"```python\n{source}\n```", Problem(id="sum", tests=tests, verifier="code"))
    assert verdict.correct, verdict


def test_ten_megabytes_of_input_pass(verifier: CodeVerifier) -> None:
    tests = {"kind": "stdio", "cases": [{"stdin": "1\n" * 5_000_000, "stdout": "5000000"}]}
    source = "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))"
    assert verifier.verify(
        f"```python\n{source}\n```", Problem(id="big", tests=tests, verifier="code")
    ).correct


@pytest.mark.parametrize("test", TESTS)
def test_classes_pass_the_tests_that_were_written_for_them(verifier: CodeVerifier, test: str) -> None:
    problem = Problem(id="class", tests={"kind": "asserts", "tests": [test]}, verifier="code")
    verdict = verifier.verify(f"```python\n{PROGRAM}\n```", problem)
    assert verdict.correct, verdict
    assert "odd_path" not in tried(verdict)


def test_what_the_tests_keep_to_themselves_is_said() -> None:
    """A function of the tests can't cross: it must not stand for some object of the program."""
    with LocalSandbox(1) as sandbox:
        verifier = CodeVerifier(sandbox=sandbox)
        problem = Problem(id="f", tests={"kind": "asserts", "tests": ["same(lambda: 3)"]}, verifier="code")
        verdict = verifier.verify(f"```python\n{PROGRAM}\n```", problem)
        assert "can't cross" in verdict.detail
