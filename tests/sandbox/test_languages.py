"""Compiled and interpreted languages: the same sum in each that is installed here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import languages
from sandbox.local import LocalSandbox
from sandbox.types import Language, Limits, Program, SandboxError
from verifiers import Problem
from verifiers.code import CodeVerifier

SUMS: dict[Language, str] = {
    "c": '#include <stdio.h>\nint main() { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }',
    "cpp": "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }",
    "java": "import java.util.*;\npublic class Sum { public static void main(String[] x) {"
    " Scanner s = new Scanner(System.in); System.out.println(s.nextInt() + s.nextInt()); } }",
    "javascript": "const d = require('fs').readFileSync(0, 'utf8').split(/\\s+/).map(Number);"
    " console.log(d[0] + d[1])",
    "go": 'package main\nimport "fmt"\nfunc main() { var a, b int; fmt.Scan(&a, &b); fmt.Println(a + b) }',
    "rust": "use std::io::*; fn main() { let mut s = String::new(); stdin().read_to_string(&mut s).unwrap();"
    ' println!("{}", s.split_whitespace().map(|x| x.parse::<i64>().unwrap()).sum::<i64>()) }',
    "bash": "read a b; echo $((a + b))",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[LocalSandbox]:
    try:
        made = LocalSandbox(1, tier="namespaces")
    except SandboxError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.mark.parametrize("language", SUMS)
def test_sum(sandbox: LocalSandbox, language: Language) -> None:
    if language not in languages.available():
        pytest.skip(f"no tools for {language} here")
    program = Program(source=SUMS[language], language=language, stdin="3 4\n")
    limits = Limits(cpu=10, wall=60)
    assert [sandbox.run(program, limits).stdout.strip() for _ in range(2)] == ["7", "7"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "const d = require('fs').readFileSync('/dev/stdin', 'utf8');"
         " console.log(eval(d.replace(' ', '+')))"),
        ("bash", "cat /dev/stdin | (read a b; echo $((a + b)) > /dev/stdout)"),
        ("bash", "while read a b; do echo $((a + b)); done < <(cat)"),
    ],
)  # fmt: skip
def test_standard_streams_have_their_names(sandbox: LocalSandbox, language: Language, source: str) -> None:
    if language not in languages.available():
        pytest.skip(f"no tools for {language} here")
    program = Program(source=source, language=language, stdin="3 4\n")
    assert sandbox.run(program, Limits(cpu=10, wall=60)).stdout.strip() == "7"


@pytest.mark.skipif("c" not in languages.available(), reason="no C compiler here")
def test_c_programs_are_judged_and_limited(sandbox: LocalSandbox) -> None:
    verifier = CodeVerifier(sandbox=sandbox, limits=Limits(cpu=1, wall=20, memory=128 << 20))
    tests = {"kind": "stdio", "language": "c", "cases": [{"stdin": "3 4\n", "stdout": "7\n"}]}
    problem = Problem(id="c", tests=tests, verifier="code")

    def method(source: str) -> str:
        verdict = verifier.verify(f"```c\n{source}\n```", problem)
        return f"{verdict.status} {verdict.method}"

    assert method(SUMS["c"]) == "correct stdio"
    assert method("int main() { return x; }") == "incorrect load"
    assert method("int main() { for (;;); }") == "incorrect limit:cpu"
    assert method(
        "#include <stdlib.h>\n#include <string.h>\nint main() { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }"
    ) == ("incorrect limit:memory")
    assert method(
        '#include <unistd.h>\n#include <stdio.h>\nint main() { if (fork() == 0) for (;;); puts("8"); }'
    ) == ("incorrect tests")


def test_folders_that_a_processor_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """aarch64 has no /lib64, and no program of another language started there."""
    monkeypatch.setattr(languages, "_SYSTEM", (*languages._SYSTEM, "/lib-of-no-processor"))
    with LocalSandbox(1) as sandbox:
        if sandbox.tier != "namespaces":
            pytest.skip("only namespaces run other languages")
        assert sandbox.run(Program(source="echo hi", language="bash")).stdout == "hi\n"
