"""`curate` from raw file to data set: what is kept, what is dropped and why, and that a kill loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from curation import CurateConfig, curate, load_curated, read_lineage
from curation.config import BalanceConfig, DifficultyConfig, GuessConfig, IntegersConfig, PromptConfig
from curation.diff import diff_curated
from tests.curation.engines import KnownRateEngine, hashed_rate
from tests.shared_data import shared_path
from verifiers import InputError

ROOT = Path(__file__).resolve().parents[2]
PLAIN = PromptConfig(template="{problem}", chat=False)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scraped(seed: int = 0, count: int = 1500) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Raw arithmetic problems, each labelled with what is wrong with it, and a held-out set."""
    dice = random.Random(seed)
    pairs = sorted(
        {
            (dice.randint(1, 99), dice.randint(1, 99), dice.choice("+-"), dice.randint(1, 9))
            for _ in range(900)
        }
    )
    dice.shuffle(pairs)
    held, pool = pairs[:100], pairs[100:]

    def row(
        kind: str, numbers: tuple[int, int, str, int], text: str, answer: str, **more: Any
    ) -> dict[str, Any]:
        expression = f"{numbers[0]}+{numbers[1]}{numbers[2]}{numbers[3]}"
        value = numbers[0] + numbers[1] + (numbers[3] if numbers[2] == "+" else -numbers[3])
        filled = {key: str(part).format(e=expression, v=value, w=value + 1) for key, part in more.items()}
        return {
            "problem": text.format(e=expression, v=value, w=value + 1),
            "answer": answer.format(v=value, w=value + 1),
            "meta": {"kind": kind, "expression": expression},
            **filled,
        }

    rows = []
    for numbers in pool:
        rows.append(row("plain", numbers, "What is {e}?", "{v}"))
    while len(rows) < count:
        numbers = dice.choice(pool)
        rows.append(
            dice.choice(
                [
                    row("copy", numbers, "What is {e}?", "{v}"),
                    row("near", numbers, "Compute {e}.", "{v}"),
                    row("near", numbers, "{e} = ?", "{v}"),
                    row("yes_no", numbers, "Is {e} equal to {w}?", "no"),
                    row("choice", numbers, "{e} = ? (A) {v} (B) {w}", "A"),
                    row("missing", numbers, "Evaluate {e}.", ""),
                    row("wrong", numbers, "Find {e}.", "{w}", solution="{e}={v}. The answer is {v}."),
                    row("held", dice.choice(held), "Calculate {e}.", "{v}"),
                ]
            )
        )
    return rows, [row("held", numbers, "{e}=", "{v}") for numbers in held]


def test_every_defect_of_a_scrape_is_dropped_by_its_stage_and_nothing_else_is(tmp_path: Path) -> None:
    rows, held = scraped()
    raw = write_rows(tmp_path / "raw.jsonl", rows)
    with raw.open("a") as lines:
        lines.write('{"problem": 3\n[1]\n{"answer": "5"}\n')
    write_rows(tmp_path / "held.jsonl", held)
    config = CurateConfig(
        inputs=[str(raw)],
        output=tmp_path / "set",
        decontaminate_against=[str(tmp_path / "held.jsonl")],
        workers=2,
    )
    result = curate(config)
    fate = Counter()
    lineage = list(read_lineage(tmp_path / "set"))
    for row, line in zip(rows, lineage, strict=False):
        fate[row["meta"]["kind"], line.stage] += 1
    stages = {
        "plain": "",
        "copy": "duplicates",
        "near": "duplicates",
        "yes_no": "types",
        "choice": "types",
        "missing": "gold",
        "wrong": "gold",
        "held": "decontamination",
    }
    # A second copy of a held-out item is a duplicate before it is a leak.
    fate["held", "decontamination"] += fate.pop(("held", "duplicates"))
    assert fate == Counter((kind, stages[kind]) for kind in (row["meta"]["kind"] for row in rows))
    assert [line.raw_id for line in lineage[-3:]] == [f"raw:{len(rows) + n}" for n in (1, 2, 3)]
    assert all(line.reason.startswith("unreadable: ") for line in lineage[-3:])
    assert result.count == len(result.problems) == fate["plain", ""]
    assert [report.entered - report.dropped for report in result.funnel] == [
        report.kept for report in result.funnel
    ]
    merged = {line.problem_id for line in lineage if line.stage == "duplicates" and line.problem_id}
    assert merged <= {problem.problem.id for problem in result.problems}


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    rows = [{"problem": f"{a}+{b}=", "answer": str(a + b)} for a in range(10, 30) for b in range(10, 40, 3)]
    return write_rows(tmp_path / "sums.jsonl", rows)


def test_pass_rates_are_those_of_the_model_and_the_band_is_kept(sums: Path, tmp_path: Path) -> None:
    engine = KnownRateEngine(hashed_rate)
    config = CurateConfig(
        inputs=[str(sums)],
        output=tmp_path / "set",
        prompt=PLAIN,
        difficulty=DifficultyConfig(mode="fixed", rollouts=64, keep=(0.2, 0.8)),
        validation=0.2,
        workers=2,
    )
    result = curate(config, engine=engine)
    assert result.rollouts_drawn == 200 * 64
    for problem in result.problems:
        assert problem.pass_rate is not None
        assert problem.pass_rate.rollouts == 64
        assert problem.pass_rate.passed / 64 == pytest.approx(
            hashed_rate(str(problem.problem.prompt)), abs=0.25
        )
        assert 0.2 <= problem.pass_rate.mean <= 0.8
    dropped = [line for line in read_lineage(tmp_path / "set") if line.stage == "keep band"]
    assert {line.reason.split(":")[0] for line in dropped} == {"too hard", "too easy"}
    assert sum(result.histogram_before) == 200
    assert sum(result.histogram_after) == result.count == 200 - len(dropped)
    assert {problem.split for problem in result.problems} == {"train", "validation"}
    picture = ElementTree.parse(tmp_path / "set" / "difficulty.svg")
    bars = picture.findall(".//{http://www.w3.org/2000/svg}title")
    assert [int(bar.text or "") for bar in bars[1::2]] == result.histogram_after


def test_adaptive_measurement_decides_like_fixed_with_fewer_rollouts(sums: Path, tmp_path: Path) -> None:
    kept = {}
    drawn = {}
    for mode in ("fixed", "adaptive"):
        config = CurateConfig(
            inputs=[str(sums)],
            output=tmp_path / mode,
            prompt=PLAIN,
            difficulty=DifficultyConfig(mode=mode, rollouts=64, keep=(0.2, 0.8)),  # type: ignore[arg-type]
            workers=2,
        )
        result = curate(config, engine=KnownRateEngine(hashed_rate))
        kept[mode] = {problem.problem.id for problem in result.problems}
        drawn[mode] = result.rollouts_drawn
    truth = {
        f"sums:{n}"
        for n, text in enumerate(sums.read_text().splitlines(), 1)
        if 0.2 <= hashed_rate(json.loads(text)["problem"]) <= 0.8
    }
    assert drawn["adaptive"] < 0.5 * drawn["fixed"]
    errors = {mode: len(kept[mode] ^ truth) for mode in kept}
    assert errors["adaptive"] <= errors["fixed"] + 6


def test_no_rollout_is_paid_for_twice(sums: Path, tmp_path: Path) -> None:
    settings = DifficultyConfig(mode="fixed", rollouts=4)
    config = CurateConfig(
        inputs=[str(sums)],
        output=tmp_path / "a",
        prompt=PLAIN,
        difficulty=settings,
        cache=tmp_path / "cache",
        workers=2,
    )
    log = tmp_path / "paid.txt"
    engine = KnownRateEngine(hashed_rate, log)
    first = curate(config, engine=engine)
    again = curate(config, engine=engine)
    assert again.rollouts_drawn == 0
    more = config.model_copy(
        update={"output": tmp_path / "b", "difficulty": settings.model_copy(update={"rollouts": 6})}
    )
    assert curate(more, engine=engine).rollouts_drawn == 200 * 2
    paid = log.read_text().splitlines()
    assert len(paid) == len(set(paid)) == 200 * 6
    assert first.problems == again.problems


KILLED = """
import sys
import time
from pathlib import Path
from curation import CurateConfig, curate
from curation.config import DifficultyConfig, PromptConfig
from tests.curation.engines import KnownRateEngine, hashed_rate
raw, held, out, log, seconds = sys.argv[1:]
config = CurateConfig(
    inputs=[raw], output=Path(out), decontaminate_against=[held], workers=1, validation=0.1,
    prompt=PromptConfig(template="{problem}", chat=False),
    difficulty=DifficultyConfig(mode="adaptive", rollouts=16),
)
curate(config, engine=KnownRateEngine(hashed_rate, Path(log), float(seconds)))
"""


def test_a_run_killed_at_any_instant_ends_with_the_same_bytes_and_pays_once(tmp_path: Path) -> None:
    rows, held = scraped(seed=1, count=400)
    raw = write_rows(tmp_path / "raw.jsonl", rows)
    benchmark = write_rows(tmp_path / "held.jsonl", held)

    def start(name: str, seconds: float) -> subprocess.Popen[bytes]:
        arguments = [raw, benchmark, tmp_path / "out" / name / "set", tmp_path / f"{name}.txt", seconds]
        code = [sys.executable, "-c", KILLED, *map(str, arguments)]
        return subprocess.Popen(
            code, cwd=ROOT, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )

    whole = start("whole", 0)
    assert whole.wait(timeout=120) == 0
    dice = random.Random(5)
    kills = 0

    def progress() -> int:
        """Something that grows with the work that is done: stages, then rollouts."""
        stages = len(list((tmp_path / "out" / "killed").glob("set/.work/*/report.json")))
        log = tmp_path / "killed.txt"
        return 150 * stages + (log.read_text().count("\n") if log.exists() else 0)

    while True:
        target = progress() + dice.randint(150, 1500)
        process = start("killed", 0.0005)
        while process.poll() is None and progress() < target:
            time.sleep(0.005)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        (tmp_path / "out" / "killed" / "set" / f".data.parquet.{process.pid}.tmp").write_text("half")
        assert kills < 40
    assert kills >= 1
    assert not list((tmp_path / "out" / "killed").rglob(".*.tmp"))
    for file in ("data.parquet", "lineage.parquet", "card.md", "funnel.json"):
        whole_bytes = (tmp_path / "out" / "whole" / "set" / file).read_bytes()
        assert (tmp_path / "out" / "killed" / "set" / file).read_bytes() == whole_bytes, file
    paid = Counter((tmp_path / "killed.txt").read_text().splitlines())
    needed = Counter((tmp_path / "whole.txt").read_text().splitlines())
    assert paid.keys() == needed.keys()
    # What a kill loses is what was sampled and not yet on disk: less than one flush.
    assert sum(paid.values()) - sum(needed.values()) <= 64 * kills


def test_one_process_works_in_a_folder_at_a_time(sums: Path, tmp_path: Path) -> None:
    from curation.files import locked

    with locked(tmp_path / "set" / ".work" / "lock"), pytest.raises(InputError, match="another process"):
        curate(CurateConfig(inputs=[str(sums)], output=tmp_path / "set"))


def test_the_mix_follows_its_target_and_size(sums: Path, tmp_path: Path) -> None:
    config = CurateConfig(
        inputs=[str(sums)],
        output=tmp_path / "set",
        prompt=PLAIN,
        difficulty=DifficultyConfig(mode="fixed", rollouts=32, keep=(0.0, 1.0)),
        balance=BalanceConfig(target="flat", size=50),
        workers=2,
    )
    result = curate(config, engine=KnownRateEngine(hashed_rate))
    assert result.count == 50
    assert set(result.histogram_after) == {5}
    assert curate(config, engine=KnownRateEngine(hashed_rate)).problems == result.problems


def test_the_funnel_is_plain_text_where_there_is_no_terminal(sums: Path, tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as stream:
        curate(
            CurateConfig(inputs=[str(sums)], output=tmp_path / "set"), console=Console(file=stream, width=80)
        )
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert "duplicates: 200 entered, 0 dropped, 200 kept; (template variants kept 199)" in lines
    assert not any("\x1b" in line for line in lines)


def test_missing_input_and_empty_benchmark_are_one_line_errors(sums: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        curate(CurateConfig(inputs=["./missing.jsonl"], output=tmp_path / "set"))
    empty = write_rows(tmp_path / "empty.jsonl", [{"text_of_it": "x"}])
    with pytest.raises(InputError, match="no problem text"):
        curate(CurateConfig(inputs=[str(sums)], output=tmp_path / "set", decontaminate_against=[str(empty)]))


@pytest.mark.slow
def test_real_sets_with_their_known_defects(tmp_path: Path) -> None:
    config = CurateConfig(
        inputs=[str(shared_path("raw/dapo_math_17k.jsonl.gz"))],
        output=tmp_path / "set",
        decontaminate_against=[
            str(shared_path(f"raw/{name}.jsonl.gz"))
            for name in ("math500_oai", "polaris_aime24", "polaris_aime25")
        ],
    )
    result = curate(config)
    by_name = {report.name: report for report in result.funnel}
    removed = by_name["decontamination"].dropped
    assert 15 <= removed <= 0.01 * 17917
    assert by_name["duplicates"].reasons["exact duplicate"] > 900
    assert by_name["types"].reasons["language"] > 3000
    assert load_curated(tmp_path / "set") == result.problems


def test_guessable_problems_are_dropped_and_priors_recorded(sums: Path, tmp_path: Path) -> None:
    """Where a guess without reasoning is right as often as a solution, the rate of guesses decides."""
    config = CurateConfig(
        inputs=[str(sums)],
        output=tmp_path / "set",
        prompt=PLAIN,
        guess=GuessConfig(tries=16, most=0.5),
        difficulty=DifficultyConfig(mode="fixed", rollouts=8, keep=(0.0, 1.0)),
        workers=2,
    )
    result = curate(
        config, engine=KnownRateEngine(lambda text: 0.9 if "+10" in text or "+13" in text else 0.1)
    )
    by_name = {report.name: report for report in result.funnel}
    assert by_name["guess"].reasons["guessable"] == 40
    golds = Counter(problem.problem.answer for problem in result.problems)
    assert all(problem.extra["guess_rate"] <= 0.5 for problem in result.problems)
    assert all(
        problem.extra["answer_prior"] >= golds[problem.problem.answer] / 200 for problem in result.problems
    )


def test_integer_answers_are_asked_for_on_request(tmp_path: Path) -> None:
    rows = [
        {"problem": "What is half of 3?", "answer": "\\frac{3}{2}"},
        {"problem": "What is 1+1?", "answer": "2"},
        {"problem": "Simplify x+x.", "answer": "2x"},
    ]
    raw = write_rows(tmp_path / "raw.jsonl", rows)
    config = CurateConfig(
        inputs=[str(raw)],
        output=tmp_path / "set",
        integers=IntegersConfig(by="rules", others="drop"),
        workers=1,
    )
    result = curate(config)
    assert [
        (problem.problem.answer, problem.extra["problem"].endswith("$m + n$.")) for problem in result.problems
    ] == [
        ("5", True),
        ("2", False),
    ]
    assert {report.name: report for report in result.funnel}["integers"].reasons == {"no integer form": 1}


def test_a_set_is_profiled_again_with_a_later_checkpoint(sums: Path, tmp_path: Path) -> None:
    measuring = DifficultyConfig(mode="fixed", rollouts=32, keep=(0.0, 1.0))
    early = CurateConfig(
        inputs=[str(sums)], output=tmp_path / "early", prompt=PLAIN, difficulty=measuring, workers=2
    )
    curate(early, engine=KnownRateEngine(lambda _: 0.3))
    later = CurateConfig(
        inputs=[str(tmp_path / "early")],
        output=tmp_path / "later",
        prompt=PLAIN,
        difficulty=measuring,
        workers=2,
    )
    result = curate(later, engine=KnownRateEngine(lambda _: 0.8))
    assert result.count == 200
    assert {problem.problem.prompt for problem in result.problems} == {
        problem.problem.prompt for problem in load_curated(tmp_path / "early")
    }
    difference = diff_curated(tmp_path / "early", tmp_path / "later")
    assert (difference.both, difference.only_first, difference.only_second, difference.golds) == (
        200,
        [],
        [],
        [],
    )
    assert difference.rate_change is not None
    mean, low, high = difference.rate_change
    assert mean == pytest.approx(0.5, abs=0.05)
    assert low < mean < high
    assert difference.moves["hard", "easy"] > 100


def test_a_real_model_is_measured_once(tmp_path: Path) -> None:
    from rollout import Sampling, TransformersEngine
    from tests.rollout.tiny import character_tokenizer, tiny_model

    rows = [{"problem": f"{a}+{b}=", "answer": str(a + b)} for a in range(1, 5) for b in range(5, 8)]
    config = CurateConfig(
        inputs=[str(write_rows(tmp_path / "sums.jsonl", rows))],
        output=tmp_path / "set",
        prompt=PLAIN,
        sampling=Sampling(max_tokens=8),
        difficulty=DifficultyConfig(mode="fixed", rollouts=4, keep=(0.0, 1.0)),
        workers=1,
    )
    engine = TransformersEngine(tiny_model(), character_tokenizer())
    first = curate(config, engine=engine)
    assert first.rollouts_drawn == 12 * 4
    assert first.count == 12
    assert curate(config, engine=engine).rollouts_drawn == 0
    other = TransformersEngine(tiny_model(seed=1), character_tokenizer())
    assert curate(config, engine=other).rollouts_drawn == 12 * 4


def test_prompts_that_leave_the_model_no_room_are_dropped_with_their_length(tmp_path: Path) -> None:
    from rollout import Sampling, TransformersEngine
    from tests.rollout.tiny import character_tokenizer, tiny_model

    engine = TransformersEngine(tiny_model(), character_tokenizer())
    room = engine.max_prompt_tokens
    problems = ["1+" * ((length - 2) // 2) + "1=" for length in (room - 1, room + 1, 8)]
    longest = max(problems, key=len)
    rows = [{"problem": problem, "answer": str(problem.count("1"))} for problem in problems]
    config = CurateConfig(
        inputs=[str(write_rows(tmp_path / "sums.jsonl", rows))],
        output=tmp_path / "set",
        prompt=PLAIN,
        sampling=Sampling(max_tokens=4),
        guess=GuessConfig(tries=1, template="{problem}", most=1.0, max_tokens=2),
        difficulty=DifficultyConfig(mode="fixed", rollouts=2, keep=(0.0, 1.0)),
        workers=1,
    )
    result = curate(config, engine=engine)
    assert result.count == 2
    (dropped,) = [line for line in read_lineage(tmp_path / "set") if not line.kept]
    assert dropped.reason == f"prompt too long: {len(longest)} tokens, the model takes {room} at most"
    assert dropped.stage == "guess"
    config = config.model_copy(update={"guess": GuessConfig(), "output": tmp_path / "unguessed"})
    assert curate(config, engine=engine).count == 2
    assert {line.stage for line in read_lineage(tmp_path / "unguessed")} == {"", "difficulty"}
