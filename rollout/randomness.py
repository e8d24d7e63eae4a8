"""Counter-based randomness: the uniform of a token is a hash of what it belongs to, not of a shared state.

So a completion draws the same numbers whatever else is in the batch, in whatever order it is scheduled, and
whether or not the run was stopped and resumed in between.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), as signed 64-bit.
_GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def stream_keys(seed: int, prompt_token_ids: Sequence[int], sample_indices: Iterable[int]) -> list[int]:
    """A signed 64-bit key for each sample of a prompt: BLAKE2b of seed, prompt token ids, sample index."""
    prompt_hash = hashlib.blake2b(digest_size=8)
    prompt_hash.update(f"{seed}/{len(prompt_token_ids)}/".encode())
    prompt_hash.update(array("q", prompt_token_ids).tobytes())
    keys = []
    for index in sample_indices:
        sample_hash = prompt_hash.copy()
        sample_hash.update(b"%d" % index)
        keys.append(int.from_bytes(sample_hash.digest(), "little", signed=True))
    return keys


def uniforms(keys: Tensor, positions: Tensor) -> Tensor:
    """Uniforms in [0, 1) with 53 bits, float64 [R]: output `positions` of the SplitMix64 streams `keys`.

    Both arguments are int64 [R]; int64 multiplication in torch wraps as the algorithm needs.
    """
    return _shift_right(mix64(keys + (positions + 1) * _GOLDEN_GAMMA), 11).to(torch.float64) * 2.0**-53


def mix64(z: Tensor) -> Tensor:
    """SplitMix64's bijection of 64-bit integers, elementwise on int64."""
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's `>>` copies the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
