"""Evaluation counts what it says, on benchmarks in the formats that they come in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation import CuratedProblem
from curation.dataset import write_curated
from curation.statistics import share_interval, wilson
from rollout.transformers_engine import TransformersEngine
from rollout.types import Sampling
from tests.shared_data import shared_path
from tests.trainer.parity import ParityVerifier
from tests.trainer.toy import make_model, make_problems, make_tokenizer
from trainer.evaluation import EvalOptions, evaluate, load_eval_set
from verifiers import InputError, Problem, VerifierPool


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(workers=1) as pool:
        yield pool


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return TransformersEngine(make_model(), make_tokenizer())


def test_figures_are_those_of_the_responses(engine: TransformersEngine, pool: VerifierPool) -> None:
    """Sampled and judged again here, one by one."""
    problems, options = make_problems(12), EvalOptions(k=5, max_tokens=5, seed=3)
    result = evaluate(engine, problems, options, name="sums", pool=pool)
    judge = ParityVerifier()

    def right(n: int, sampling: Sampling) -> np.ndarray:
        table = np.full((len(problems), n), np.nan)
        for item in engine.generate([problem.prompt for problem in problems], n, sampling):
            verdict = judge.verify(item.text, problems[item.prompt_index])
            if not verdict.failed:
                table[item.prompt_index, item.sample_index] = verdict.correct
        return table

    greedy = right(1, Sampling(temperature=0.0, max_tokens=5))
    sampled = right(5, Sampling(temperature=1.0, top_p=0.7, max_tokens=5, seed=3))
    shares = np.nanmean(sampled, axis=1)
    assert np.isnan(sampled).sum() + np.isnan(greedy).sum() == result.verifier_failures
    assert result.greedy_accuracy == pytest.approx(greedy.mean())
    assert (result.greedy_low, result.greedy_high) == pytest.approx(wilson(int(greedy.sum()), 12))
    assert result.avg_at_k == pytest.approx(shares.mean())
    assert (result.avg_low, result.avg_high) == pytest.approx(share_interval(shares))
    assert result.pass_at_k == pytest.approx(float((np.nansum(sampled, axis=1) > 0).mean()))
    assert result.row(7)["benchmark"] == "sums"
    json.dumps(result.row(7))


def test_the_same_evaluation_gives_the_same_figures(engine: TransformersEngine, pool: VerifierPool) -> None:
    rows = [
        evaluate(engine, make_problems(6), EvalOptions(k=3, max_tokens=5), pool=pool).row(0) for _ in range(2)
    ]
    for row in rows:
        del row["seconds"]
    assert rows[0] == rows[1]


def test_aime_protocol() -> None:
    options = EvalOptions.aime()
    assert (options.k, options.temperature, options.top_p, options.greedy) == (32, 1.0, 0.7, False)


def test_a_failed_verification_is_no_wrong_answer(engine: TransformersEngine) -> None:
    """A verifier that always fails leaves nothing to average."""
    problems = [
        problem.model_copy(update={"verifier": "regex", "answer": "("}) for problem in make_problems(3)
    ]
    with VerifierPool(workers=1) as pool:
        result = evaluate(engine, problems, EvalOptions(k=2, max_tokens=4), pool=pool)
    assert result.verifier_failures == 9
    assert result.greedy_accuracy is None
    assert result.avg_at_k is None


def test_benchmark_files(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text('{"problem": "1+1?", "answer": "2"}\n{"question": "2+2?", "answer": 4}\n')
    first, second = load_eval_set(path, prompt_template="Q: {problem}\nA:")
    assert (first.prompt, first.answer) == ("Q: 1+1?\nA:", "2")
    assert (second.prompt, second.answer) == ("Q: 2+2?\nA:", "4")
    assert load_eval_set(path, limit=1, chat=True)[0].prompt == ({"role": "user", "content": "1+1?"},)
    path.write_text('{"problem": "1+1?", "answer": "2"}\n{"problem": "no answer"}\n')
    with pytest.raises(InputError, match=r"bench.jsonl:2: no answer"):
        load_eval_set(path)


def test_a_curated_folder_is_a_benchmark(tmp_path: Path) -> None:
    problems = make_problems(3)
    write_curated(tmp_path, [CuratedProblem(problem=problem) for problem in problems])
    assert load_eval_set(tmp_path) == problems


def test_a_real_benchmark() -> None:
    problems = load_eval_set(shared_path("raw/polaris_aime24.jsonl.gz"))
    assert len(problems) == 30
    assert all(problem.answer and 0 <= int(problem.answer) < 1000 for problem in problems)


def test_nothing_to_measure_is_an_error(engine: TransformersEngine) -> None:
    with pytest.raises(InputError, match="there are no problems"):
        evaluate(engine, [])
    with pytest.raises(InputError, match="nothing to measure"):
        evaluate(engine, [Problem(id="x")], EvalOptions(greedy=False, k=0))
