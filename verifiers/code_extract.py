"""The program in a model's response. Line by line, without a parser: the text is nobody's to trust."""

from __future__ import annotations

import re
import textwrap

_NAMES = {
    "python": {"python", "py", "python3", "py3"},
    "cpp": {"cpp", "c++", "cc", "cxx"},
    "c": {"c"},
    "java": {"java"},
    "javascript": {"javascript", "js", "node", "nodejs"},
    "go": {"go", "golang"},
    "rust": {"rust", "rs"},
    "bash": {"bash", "sh", "shell"},
}
_CODE_LINE = re.compile(
    r"[ \t]*(?:def |class |import |from \w|return\b|print\(|for \w|while |if |try:|with |async |@\w"
    r"|[A-Za-z_][\w.,\[\] ]{0,80}[-+*/|&]?= ?\S)"
)


def extract_code(response: str, language: str = "python") -> str | None:
    """The last fenced block in `language`, else the last one without a language, else a response that is code.

    Thinking that is closed by `</think>` is not looked at. A response without fences counts where a line of it
    reads like code. None where there is no program.
    """
    answer = response.rpartition("</think>")[2]
    blocks = _fenced(answer)
    for wanted in (_NAMES[language], {""}):
        for name, body in reversed(blocks):
            if name in wanted:
                return body
    if blocks or not any(_CODE_LINE.match(line) for line in answer.splitlines()):
        return None
    return answer


def _fenced(text: str) -> list[tuple[str, str]]:
    """Language and body of each fenced block; the last one may be cut off."""
    blocks: list[tuple[str, str]] = []
    body: list[str] = []
    fence = language = ""
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if fence:
            if bare.startswith(fence) and not bare.strip(fence[0]):
                blocks.append((language, "".join(body)))
                fence = ""
            else:
                body.append(line)
        elif bare.startswith(("```", "~~~")):
            rest = bare.lstrip(bare[0])
            fence = bare[0] * (len(bare) - len(rest))
            language = rest.strip().split(" ")[0].strip("{}.").lower()
            body = []
    if fence:
        blocks.append((language, "".join(body)))
    return blocks


def assemblies(code: str, prefix: str) -> tuple[str, ...]:
    """Ways to put `prefix` before the code, best first; the first one that is Python is meant."""
    if not prefix:
        return (code,)
    joint = prefix if prefix.endswith("\n") else prefix + "\n"
    return tuple(dict.fromkeys((joint + code, joint + textwrap.dedent(code), code)))
