from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollout.randomness import stream_keys, uniforms

INT64 = st.integers(-(2**63), 2**63 - 1)


def splitmix64(state: int, position: int) -> float:
    """The published algorithm in Python integers: output `position` of the stream that starts at `state`."""
    mask = 2**64 - 1
    z = (state + (position + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


@given(key=INT64, position=st.integers(0, 10**6))
def test_uniforms_are_those_of_splitmix64(key: int, position: int) -> None:
    drawn = uniforms(torch.tensor([key]), torch.tensor([position]))
    assert drawn.item() == splitmix64(key, position)
    assert 0 <= drawn.item() < 1


def test_known_output_of_splitmix64() -> None:
    # First output for seed 1234567 in the reference implementation: 6457827717110365317.
    assert (
        uniforms(torch.tensor([1234567]), torch.tensor([0])).item() == (6457827717110365317 >> 11) * 2.0**-53
    )


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(), st.integers(0, 50))
def test_keys_depend_on_the_sample_number_and_not_on_how_many_are_asked(
    prompt: list[int], seed: int, index: int
) -> None:
    assert (
        stream_keys(seed, prompt, range(index, index + 1)) == stream_keys(seed, prompt, range(51))[index:][:1]
    )


def test_keys_differ_by_seed_prompt_and_sample() -> None:
    prompts = [[1], [1, 2], [2, 1], [12], [1, 2, 0], [258]]
    keys = [key for seed in range(20) for prompt in prompts for key in stream_keys(seed, prompt, range(20))]
    assert len(set(keys)) == 20 * len(prompts) * 20


def test_uniforms_of_neighbouring_keys_and_positions_are_uniform_and_uncorrelated() -> None:
    keys = torch.tensor(stream_keys(0, [5, 6], range(2000)))
    drawn = np.stack([uniforms(keys, torch.full_like(keys, p)).numpy() for p in range(50)])
    counts = np.histogram(drawn, bins=100, range=(0, 1))[0]
    expected = drawn.size / 100
    # Chi-square with 99 degrees of freedom: 149 is exceeded with a chance of 1e-3.
    assert ((counts - expected) ** 2 / expected).sum() < 149
    along_positions = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    across_samples = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    assert max(abs(along_positions), abs(across_samples)) < 4 / drawn.size**0.5
