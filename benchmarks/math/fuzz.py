"""A fuzzer of the math verifier: no exception, no hang, and every text equals itself.

    python -m benchmarks.math.fuzz --seconds 3600 [--data DATA] [--seed 0]

Answers are spliced from pieces of LaTeX and, with DATA (a folder of `*.jsonl.gz` with `prediction` and `gold`),
from real answers, by deleting, repeating and mixing. It stops at the first violation and prints it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import time
from pathlib import Path

from verifiers import MathVerifier
from verifiers.math.normalisation import canonical_latex

PIECES = [
    *(
        "\\frac{",
        "\\sqrt{",
        "\\sqrt[3]{",
        "\\boxed{",
        "\\text{",
        "\\left(",
        "\\right)",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
    ),
    *(
        "\\begin{cases}",
        "\\end{cases}",
        "\\cup",
        "\\cap",
        "\\infty",
        "\\pm",
        "\\mp",
        "\\sin",
        "\\log_",
        "\\ln",
        "\\sum_{k=1}^{9}",
    ),
    *(
        "\\prod_{k=1}^{99}",
        "\\int_0^1",
        "\\lim_{x\\to 0}",
        "\\le",
        "\\ge",
        "\\ne",
        "\\in",
        "\\mathbb{R}",
        "\\overline{",
        "\\{",
        "\\}",
    ),
    *(
        "\\lfloor",
        "\\rfloor",
        "\\\\",
        "\\%",
        "^\\circ",
        "\\binom{",
        "\\pmod",
        "\\cdot",
        "\\times",
        "\\div",
        "\\mathrm{~cm}",
        "\\$",
    ),
    *(
        " or ",
        " and ",
        "x",
        "y",
        "n",
        "e",
        "i",
        "\\pi",
        "f(",
        "9",
        "12",
        "0.5",
        "1,234",
        "10^",
        "^{",
        "_{",
        "!",
        "'",
        "|",
        "(",
        ")",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        "}",
        "}",
        ",",
        ";",
        ":",
        "=",
        "<",
        ">",
        "+",
        "-",
        "*",
        "/",
        " ",
        "$",
        "&",
        "~",
        "²",
        "√",
        "≤",
        "∈",
        "−",
    ),
    *(
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "Answer: ",
        "The answer is ",
        "#### ",
        "**",
        "\n",
        "\x00",
        "é",
        "中",
        "😀",
    ),
]
LONGEST_CPU_SECONDS = 2.0


def mutated(text: str, others: list[str], generator: random.Random) -> str:
    """The text with one to four random changes."""
    for _ in range(generator.randint(1, 4)):
        at = generator.randint(0, len(text))
        to = min(len(text), at + generator.randint(0, 12))
        kind = generator.randint(0, 4)
        if kind == 0:
            text = text[:at] + text[to:]
        elif kind == 1:
            text = text[:at] + generator.choice(PIECES) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at:to] * generator.randint(2, 6) + text[to:]
        elif kind == 3:
            other = generator.choice(others)
            cut = generator.randint(0, len(other))
            text = text[:at] + other[cut : cut + 30] + text[to:]
        else:
            text = text[:at] + "".join(generator.choices(PIECES, k=3)) + text[to:]
    return text[:3000]


def seeds(folder: Path | None, generator: random.Random) -> list[str]:
    """Texts to start from."""
    texts = ["".join(generator.choices(PIECES, k=generator.randint(1, 12))) for _ in range(500)]
    for path in sorted(folder.glob("*.jsonl.gz")) if folder is not None else []:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                texts += [row["prediction"][-300:], row["gold"][-300:]]
    return sorted({text for text in texts if text.strip()})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, in seconds")
    parser.add_argument("--data", type=Path, help="folder of real answers to start from")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choices")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    texts = seeds(arguments.data, generator)
    verifiers = (MathVerifier(), MathVerifier("whole"), MathVerifier("whole", rounding=True))
    deadline = time.monotonic() + arguments.seconds
    pairs = 0
    slowest = 0.0
    while time.monotonic() < deadline:
        gold = generator.choice(texts)
        answer = mutated(gold if generator.random() < 0.7 else generator.choice(texts), texts, generator)
        if generator.random() < 0.3:
            gold = mutated(gold, texts, generator)
        for verifier in verifiers:
            started = time.process_time()
            try:
                verdict = verifier.verify(answer, gold)
            except Exception as error:
                print(f"exception {error!r}\n{answer!r}\n{gold!r}")
                return 1
            seconds = time.process_time() - started
            slowest = max(slowest, seconds)
            if seconds > LONGEST_CPU_SECONDS or verdict.failed:
                print(f"{seconds:.2f} CPU-seconds, {verdict.status}\n{answer!r}\n{gold!r}")
                return 1
        if canonical_latex(gold) and "\\boxed" not in gold and "####" not in gold:
            verdict = verifiers[1].verify(gold, gold)
            if not verdict.correct:
                print(f"a text that does not equal itself: {verdict}\n{gold!r}")
                return 1
        pairs += 1
    print(f"{pairs:,} pairs, no exception, no hang; the slowest verdict took {slowest:.2f} CPU-seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
