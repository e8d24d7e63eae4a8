"""The stages that need a model: integer forms it proposes, guesses without reasoning, pass rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from curation.balance import band_of
from curation.config import CurateConfig
from curation.difficulty import Progress, Sampler, Tally, measure
from curation.integers import IntegerForm, ask_model, follows, integer_form, transform
from curation.row import Row, read_rows
from curation.stage import DropLog, Reason
from rollout import Engine, Prompt, PromptMeter
from verifiers import Problem, get_verifier

ToProblem = Callable[[Row], Problem]


def integers(source: Path, config: CurateConfig, log: DropLog, engine: Engine | None) -> Iterator[Row]:
    """Rows whose question asks for an integer where that can be had; a model is asked for what rules don't do."""
    batch: list[Row] = []
    for row in read_rows(source):
        log.report.entered += 1
        batch.append(row)
        if len(batch) == 1024:
            yield from _integers(batch, config, log, engine)
            batch = []
    yield from _integers(batch, config, log, engine)


def _integers(
    rows: Sequence[Row], config: CurateConfig, log: DropLog, engine: Engine | None
) -> Iterator[Row]:
    open_rows = [row for row in rows if row.tests is None and row.answer_type != "integer"]
    forms = {row.raw_id: integer_form(row.answer or "") for row in open_rows}
    rest = [row for row in open_rows if forms[row.raw_id] is None]
    if engine is not None and rest:
        proposals = ask_model([row.answer or "" for row in rest], engine)
        forms.update(zip((row.raw_id for row in rest), proposals, strict=True))
    for row in rows:
        form: IntegerForm | None = forms.get(row.raw_id)
        if row.raw_id not in forms:
            yield row
        elif form is not None and follows(form, row.answer or "", get_verifier(row.verifier)):
            transform(row, form)
            log.report.notes["integer form"] += 1
            yield row
        elif config.integers.others == "keep":
            log.report.notes["left as it is"] += 1
            yield row
        else:
            why = "no rule for its shape" if form is None else f"round trip failed: {form.filled[:60]!r}"
            log.drop(row, Reason("no integer form", f"{row.answer!r}, {why}"))


def too_long(engine: Engine, problems: Sequence[Problem]) -> dict[int, Reason]:
    """Problems whose prompt leaves the model no room for a token, by index.

    Empty for engines that can't tell (those of a server); what these refuse is found while sampling.
    """
    if not isinstance(engine, PromptMeter):
        return {}
    most = engine.max_prompt_tokens
    lengths = (engine.prompt_tokens(cast(Prompt, problem.prompt)) for problem in problems)
    return {
        index: Reason("prompt too long", f"{length} tokens, the model takes {most} at most")
        for index, length in enumerate(lengths)
        if length > most
    }


def guess(
    source: Path,
    config: CurateConfig,
    log: DropLog,
    engine: Engine,
    sampler_of: Callable[[Sequence[Problem]], Sampler],
    to_problem: ToProblem,
    progress: Progress,
) -> Iterator[Row]:
    """Rows that are seldom right without reasoning; every row gets its guess rate and its answer's frequency."""
    problems = [to_problem(row) for row in read_rows(source)]
    log.report.entered = len(problems)
    golds = Counter((problem.verifier, problem.answer) for problem in problems)
    refused = too_long(engine, problems)
    sampler = sampler_of(problems)
    tally, drawn = Tally.empty(len(problems)), np.full(len(problems), config.guess.tries, np.int64)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(fitting) * config.guess.tries, "")

    fitting = [index for index in range(len(problems)) if index not in refused]
    sampler.draw(fitting, 0, config.guess.tries, advance)
    sampler.count(tally, drawn, fitting)
    refused |= {index: Reason("prompt too long", why) for index in fitting if (why := sampler.refused(index))}
    for index, row in enumerate(read_rows(source)):
        if index in refused:
            log.drop(row, refused[index])
            continue
        share = int(tally.passed[index]) / max(int(tally.judged[index]), 1)
        row.facts["guess_rate"] = round(share, 4)
        row.facts["answer_prior"] = round(golds[row.verifier, row.answer] / len(problems), 6)
        if share > config.guess.most:
            log.drop(
                row,
                Reason("guessable", f"{int(tally.passed[index])} of {config.guess.tries} guesses are right"),
            )
        else:
            yield row


def pass_rates(
    source: Path,
    config: CurateConfig,
    log: DropLog,
    engine: Engine,
    sampler_of: Callable[[Sequence[Problem]], Sampler],
    to_problem: ToProblem,
    progress: Progress,
) -> Iterator[Row]:
    """Rows with the reference model's pass rate, its band, and the chance that it lies in the keep band."""
    problems = [to_problem(row) for row in read_rows(source)]
    log.report.entered = len(problems)
    refused = too_long(engine, problems)
    fitting = [index for index in range(len(problems)) if index not in refused]
    sampler = sampler_of([problems[index] for index in fitting])
    measured = measure(sampler, config.difficulty, progress)
    log.report.notes["rollouts"] = sum(rate.rollouts + rate.failed for rate in measured.rates)
    failed = sum(rate.failed for rate in measured.rates)
    if failed:
        log.report.notes["rollouts not judged"] = failed
    results = iter(zip(measured.rates, measured.inside.tolist(), strict=True))
    places = {index: place for place, index in enumerate(fitting)}
    for index, row in enumerate(read_rows(source)):
        if index in refused:
            log.drop(row, refused[index])
            continue
        rate, inside = next(results)
        if why := sampler.refused(places[index]):
            log.drop(row, Reason("prompt too long", why))
            continue
        if rate.rollouts == 0:
            log.drop(row, Reason("verifier failed", f"on all {rate.failed} rollouts"))
            continue
        row.rate = rate.model_dump()
        row.facts["keep_probability"] = round(inside, 4)
        row.band = band_of(rate.mean, config.difficulty.bands)
        yield row
