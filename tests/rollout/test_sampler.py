from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from rollout import Sampling, sampler
from rollout.sampler import sample_tokens, sampling_logprobs


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    temperature=st.floats(0.1, 3),
    top_k=st.integers(0, 40),
    top_p=st.floats(0.05, 0.99) | st.just(1.0),
)
def test_distribution_is_that_of_transformers_warpers(
    seed: int, temperature: float, top_k: int, top_p: float
) -> None:
    logits = torch.randn(4, 33, generator=torch.Generator().manual_seed(seed)) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(torch.zeros(4, 1, dtype=torch.long), logits).log_softmax(-1)
    drawn_from = sampling_logprobs(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    torch.testing.assert_close(drawn_from, expected)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=0.7, top_k=9), Sampling(temperature=1.5, top_p=0.8)]
)
def test_frequencies_match_the_distribution(sampling: Sampling) -> None:
    draws = 40_000
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(1, 20, generator=generator) * 1.5).expand(draws, -1)
    tokens, logprobs = sample_tokens(
        logits, torch.rand(draws, generator=generator, dtype=torch.float64), sampling
    )
    expected = sampling_logprobs(logits[:1], sampling)[0].double().exp() * draws
    counts = tokens.bincount(minlength=20)
    assert (counts[expected == 0] == 0).all()
    kept = expected > 0
    chi_square = ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum().item()
    # At most 19 degrees of freedom: 43.8 is exceeded with a chance of 1e-3.
    assert chi_square < 43.8
    torch.testing.assert_close(logprobs.exp().double(), expected[tokens] / draws, rtol=1e-5, atol=0)


def test_extreme_uniforms_never_draw_an_impossible_token() -> None:
    logits = torch.tensor([[float("-inf"), 2.0, -100.0, 1.0, float("-inf")]]).expand(2, -1)
    tokens, logprobs = sample_tokens(
        logits, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64), Sampling()
    )
    assert tokens.tolist() == [1, 3]
    assert logprobs.isfinite().all()


def test_temperature_zero_takes_the_best_token_and_reports_the_models_own_logprob() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 0.5]])
    tokens, logprobs = sample_tokens(logits, torch.tensor([0.99, 0.99]), Sampling(temperature=0, top_p=0.1))
    assert tokens.tolist() == [1, 0]
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).max(-1).values)


def test_top_k_keeps_exactly_k_of_tied_tokens() -> None:
    logprobs = sampling_logprobs(torch.zeros(1, 10), Sampling(top_k=3))
    assert logprobs.isfinite().sum() == 3


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.0, 0.3, 3.0, 20.0]),
    top_p=st.floats(0.05, 0.99),
    first=st.integers(1, 40),
    top_k=st.sampled_from([0, 7]),
)
def test_nucleus_is_the_one_of_all_tokens_sorted(
    seed: int, scale: float, top_p: float, first: int, top_k: int
) -> None:
    """However many candidates are looked at first, and with many equally likely tokens."""
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(6, 33, generator=generator) * scale).round()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "_NUCLEUS", first)
        found = sampling_logprobs(logits, Sampling(top_p=top_p, top_k=top_k))
    if top_k:
        limit = logits.topk(top_k).indices
        logits = torch.full_like(logits, float("-inf")).scatter_(-1, limit, logits.gather(-1, limit))
    ordered, order = logits.double().sort(dim=-1, descending=True, stable=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    assume(((before - top_p).abs() > 1e-5).all())
    expected = torch.full_like(ordered, float("-inf"))
    expected.scatter_(-1, order, ordered.masked_fill(before >= top_p, float("-inf")))
    torch.testing.assert_close(found.double(), expected.log_softmax(-1), rtol=1e-5, atol=1e-5)


def test_logits_that_are_not_numbers_give_logprobs_that_are_none() -> None:
    logits = torch.randn(3, 50)
    logits[1, 7] = float("nan")
    logprobs = sampling_logprobs(logits, Sampling(top_p=0.7))
    assert logprobs[1].isnan().all()
    assert not logprobs[[0, 2]].isnan().any()


def test_chunks_give_what_one_call_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, uniforms = torch.randn(7, 11), torch.rand(7, dtype=torch.float64)
    whole = sample_tokens(logits, uniforms, Sampling(top_p=0.9))
    monkeypatch.setitem(sampler._CHUNK_ELEMENTS, "cpu", 22)
    tokens, logprobs = sample_tokens(logits, uniforms, Sampling(top_p=0.9))
    assert tokens.equal(whole[0])
    torch.testing.assert_close(logprobs, whole[1])
