"""Dynamic sampling fills its steps, wastes nothing that it need not, and counts everything once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollout.transformers_engine import TransformersEngine
from rollout.types import Completion, Prompt, Sampling
from tests.trainer.parity import ParityVerifier
from tests.trainer.toy import make_model, make_problems, make_tokenizer
from trainer.bands import BandOrder
from trainer.config import DynamicSamplingConfig, RolloutConfig
from trainer.groups import Account
from trainer.order import PromptOrder
from trainer.sampler import DynamicSampler, Rollout, SamplingError
from trainer.store import ReplayStore
from verifiers import InputError, Problem, VerifierPool


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(workers=1) as pool:
        yield pool


def make_sampler(
    pool: VerifierPool,
    problems: Sequence[Problem] | None = None,
    *,
    batch_size: int = 32,
    rollout: dict[str, Any] | None = None,
    **dynamic: Any,
) -> DynamicSampler:
    torch.manual_seed(0)
    engine = TransformersEngine(make_model(), make_tokenizer(), batch_size=batch_size)
    settings = {"prompts_per_step": 6, "group_size": 4, "max_tokens": 6, **(rollout or {})}
    return DynamicSampler(
        engine,
        problems or make_problems(60),
        pool,
        RolloutConfig(**settings),
        DynamicSamplingConfig(**dynamic),
        seed=0,
    )


def identity(rollout: Rollout) -> list[Any]:
    return [
        [(group.problem.id, group.step, [item.token_ids for item in group.completions]) for group in groups]
        for groups in (rollout.groups, rollout.left_out, rollout.pending)
    ]


def test_steps_are_full_of_mixed_groups_and_the_account_is_exact(pool: VerifierPool) -> None:
    sampler = make_sampler(pool)
    waiting = 0
    for step in range(1, 8):
        rollout = sampler.collect(step)
        account = rollout.account
        assert len(rollout.groups) == 6
        assert all(group.kind == "mixed" for group in rollout.groups)
        assert all(group.kind != "mixed" for group in rollout.left_out)
        kinds = account.groups_correct + account.groups_wrong + account.groups_mixed + account.groups_failed
        assert account.prompts_sampled == kinds == account.prompts_asked - account.prompts_returned
        assert account.groups_mixed + waiting == 6 + account.surplus_kept + account.surplus_dropped
        now = [
            group for group in (*rollout.groups, *rollout.left_out, *rollout.pending) if group.step == step
        ]
        dropped_now = kinds - len(now)
        assert 0 <= dropped_now <= account.surplus_dropped
        assert account.tokens_used == sum(group.tokens for group in rollout.groups)
        assert account.tokens_sampled >= sum(group.tokens for group in now)
        assert sum(account.histogram.values()) == kinds
        assert account.verifier_failures + account.samples == 4 * kinds
        waiting = account.surplus_kept


def test_surplus_groups_are_used_next_with_the_version_that_drew_them(pool: VerifierPool) -> None:
    sampler = make_sampler(pool, round_prompts=20, batch_size=512)
    first = sampler.collect(1)
    assert first.pending
    sampler.engine.load_weights(sampler.engine.model.state_dict().items(), 1)  # type: ignore[attr-defined]
    second = sampler.collect(2)
    expected = [group.problem.id for group in first.pending][:6]
    assert [group.problem.id for group in second.groups][: len(expected)] == expected
    assert {group.policy_version for group in second.groups[: len(expected)]} == {0}
    assert second.account.surplus_used == len(expected)


def test_surplus_groups_have_a_limit_on_their_age(pool: VerifierPool) -> None:
    sampler = make_sampler(pool, round_prompts=30, batch_size=512, max_age=1)
    first = sampler.collect(1)
    assert first.pending
    third = sampler.collect(3)
    assert third.account.surplus_dropped >= len(first.pending)
    assert all(group.step == 3 for group in third.groups)
    assert make_sampler(pool, round_prompts=30, max_age=0).collect(1).pending == ()


def test_prompts_that_were_not_finished_come_first_again(pool: VerifierPool) -> None:
    sampler = make_sampler(pool, round_prompts=40, batch_size=16)
    rollout = sampler.collect(1)
    assert rollout.account.prompts_returned > 0
    returned = sampler.order.state()["returned"]
    assert len(returned) == rollout.account.prompts_returned
    assert sampler.order.take(len(returned)) == returned


def test_generation_stops_when_the_step_is_full(pool: VerifierPool) -> None:
    """With room for 16 responses at once, far fewer than the 60 x 4 that were asked for are generated."""
    sampler = make_sampler(pool, round_prompts=60, batch_size=16)
    assert sampler.collect(1).account.responses < 150


def test_the_same_seed_gives_the_same_rollouts_whatever_the_verifier_s_speed(pool: VerifierPool) -> None:
    runs = []
    with VerifierPool(workers=2) as other:
        for judge in (pool, other):
            sampler = make_sampler(judge)
            runs.append([identity(sampler.collect(step)) for step in (1, 2, 3)])
    assert runs[0] == runs[1]


def test_a_sampler_goes_on_from_its_state_and_its_replay(pool: VerifierPool, tmp_path: Any) -> None:
    problems = make_problems(60)
    sampler = make_sampler(pool, problems)
    store = ReplayStore(tmp_path, problems)
    store.save_rollout(sampler.collect(1), sampler.state())
    second = sampler.collect(2)
    loaded = store.load_rollout(1)
    assert loaded is not None
    rollout, state = loaded
    other = make_sampler(pool, problems)
    other.restore(state, rollout.pending)
    assert identity(other.collect(2)) == identity(second)
    store.forget(1)
    assert store.load_rollout(1) is None


def test_too_many_rounds_name_the_histogram(pool: VerifierPool) -> None:
    impossible = [Problem(id=f"x{n}", prompt="1+1=", answer="7", verifier="toy_parity") for n in range(9)]
    with pytest.raises(
        SamplingError, match=r"step 1: only 0 of 6 .* 3 rounds .* 0/4: \d+; .*easier problems"
    ):
        make_sampler(pool, impossible, max_rounds=3).collect(1)


def test_a_failed_verification_leaves_the_sample_out(pool: VerifierPool) -> None:
    """The toy verifier fails on "##": those samples are no evidence, and are counted."""
    judge = ParityVerifier()
    sampler = make_sampler(pool, rollout={"max_tokens": 12, "group_size": 16}, enabled=False)
    rollout = sampler.collect(1)
    failed = 0
    for group in rollout.groups:
        for completion, verdict in zip(group.completions, group.verdicts, strict=True):
            assert verdict.failed == ("##" in completion.text)
            assert judge.verify(completion.text, group.problem).status == verdict.status
        failed += group.valid.count(False)
    assert rollout.account.verifier_failures == failed > 0
    assert rollout.account.samples == 6 * 16 - failed


def test_without_dynamic_sampling_every_group_is_taken(pool: VerifierPool) -> None:
    rollout = make_sampler(pool, enabled=False).collect(1)
    assert len(rollout.groups) == rollout.account.prompts_asked == 6
    assert rollout.left_out == rollout.pending == ()


class AbortRecorder:
    """An engine that counts what it was asked for after its iterator was closed."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.closed = False

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, *, first_sample: int = 0
    ) -> Iterator[Completion]:
        try:
            yield from self.engine.generate(prompts, n, sampling, first_sample=first_sample)
        finally:
            self.closed = True


def test_the_engine_is_told_to_abort(pool: VerifierPool) -> None:
    sampler = make_sampler(pool, round_prompts=60, batch_size=16)
    recorder = AbortRecorder(sampler.engine)  # type: ignore[arg-type]
    sampler.engine = recorder  # type: ignore[assignment]
    sampler.collect(1)
    assert recorder.closed


def test_two_problems_with_one_id_are_refused(pool: VerifierPool) -> None:
    with pytest.raises(InputError, match="2 problems have the id 'p0-0'"):
        make_sampler(pool, [*make_problems(3), make_problems(1)[0]])


def test_prompts_that_were_all_right_rest(pool: VerifierPool) -> None:
    order = PromptOrder(4, seed=0)
    first = order.take(4)
    order.rest(first[0], 2)
    seen = [order.take(3) for _ in range(2)]
    assert all(first[0] not in taken for taken in seen)
    assert order.epoch == 2
    assert first[0] in order.take(4)


def test_when_all_rest_they_are_woken() -> None:
    order = PromptOrder(2, seed=0)
    for index in order.take(2):
        order.rest(index, 9)
    assert sorted(order.take(2)) == [0, 1]


@given(st.integers(1, 12), st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 11))
def test_order_continues_from_its_state(count: int, takes: list[int], cut: int) -> None:
    order, other = PromptOrder(count, 3), PromptOrder(count, 3)
    for number, take in enumerate(takes):
        if number == cut:
            other.restore(order.state())
        taken = order.take(take)
        assert len(set(taken)) == len(taken) == min(take, count)
        if number >= cut:
            assert other.take(take) == taken


def test_an_epoch_gives_every_prompt_once() -> None:
    order = PromptOrder(10, seed=1)
    assert sorted(order.take(4) + order.take(6)) == list(range(10))
    assert order.progress == 1.0


BANDS = ["easy"] * 4 + ["impossible"] * 2 + ["medium"] * 60 + [None] * 14


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30))
def test_every_batch_has_the_bands_shares(takes: list[int]) -> None:
    order = BandOrder(BANDS, {"easy": 0.1, "impossible": 0.05}, seed=5)
    drawn: list[int] = []
    for take in takes:
        taken = order.take(take)
        assert len(set(taken)) == len(taken) == take
        drawn += taken
        for name, share in (("easy", 0.1), ("impossible", 0.05)):
            assert abs(sum(BANDS[index] == name for index in drawn) - share * len(drawn)) < 2
            assert abs(sum(BANDS[index] == name for index in taken) - share * take) < 3


def test_bands_without_a_share_come_as_they_are_and_every_prompt_comes() -> None:
    order = BandOrder(BANDS, {"easy": 0.1, "impossible": 0.05}, seed=5)
    drawn = [index for _ in range(9) for index in order.take(10)]
    assert set(drawn) == set(range(len(BANDS)))
    rest = [index for index in drawn if BANDS[index] in ("medium", None)]
    assert len(set(rest[:74])) == 74
    assert order.progress == 90 / 80


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 11))
def test_band_order_continues_from_its_state(takes: list[int], cut: int) -> None:
    shares = {"easy": 0.3, "impossible": 0.2}
    order, other = BandOrder(BANDS, shares, 3), BandOrder(BANDS, shares, 3)
    for number, take in enumerate(takes):
        if number == cut:
            other.restore(json.loads(json.dumps(order.state())))
        taken = order.take(take)
        order.give_back(taken[: take // 3])
        order.rest(taken[-1], 1)
        if number >= cut:
            assert other.take(take) == taken
            other.give_back(taken[: take // 3])
            other.rest(taken[-1], 1)


def test_a_band_too_small_for_its_share_gives_its_places_to_the_rest() -> None:
    order = BandOrder(["easy", *["medium"] * 9], {"easy": 0.5}, seed=0)
    for _ in range(5):
        taken = order.take(6)
        assert len(set(taken)) == 6
        assert 0 in taken


def test_a_share_for_a_band_that_is_not_there_is_a_users_error(pool: VerifierPool) -> None:
    with pytest.raises(
        InputError, match=r"no training problem is in the band 'eazy'; bands there: easy, imp"
    ):
        BandOrder(BANDS, {"eazy": 0.1}, seed=0)
    with pytest.raises(InputError, match="curated without a model"):
        make_sampler(pool, rollout={"bands": {"easy": 0.1}})
    with pytest.raises(InputError, match="other rollout bands"):
        BandOrder(BANDS, {"easy": 0.1}, 0).restore(BandOrder(BANDS, {"impossible": 0.1}, 0).state())


def test_the_sampler_asks_for_prompts_by_band(pool: VerifierPool) -> None:
    problems = make_problems(60)
    bands = ["impossible" if number < 3 else "medium" for number in range(60)]
    engine = TransformersEngine(make_model(), make_tokenizer(), batch_size=32)
    settings = RolloutConfig(prompts_per_step=8, group_size=4, max_tokens=6, bands={"impossible": 0.25})
    dynamic = DynamicSamplingConfig(enabled=False)
    sampler = DynamicSampler(engine, problems, pool, settings, dynamic, 0, bands)
    rare = {problem.id for problem in problems[:3]}
    for step in range(1, 5):
        groups = sampler.collect(step).groups
        assert sum(group.problem.id in rare for group in groups) == 2


def test_account_goes_through_json() -> None:
    account = Account(rounds=2, samples=7)
    account.histogram.update({0: 3, 4: 1})
    assert Account.from_json(account.to_json()) == account
