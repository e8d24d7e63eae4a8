from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout import fingerprint
from rollout.fingerprint import combined_hash, weight_files_hash, weights_hash


@settings(deadline=None)
@given(
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int8, torch.bool]),
    size=st.integers(1, 40),
    data=st.data(),
)
def test_every_bit_counts(dtype: torch.dtype, size: int, data: st.DataObject) -> None:
    tensor = torch.zeros(size, dtype=dtype)
    before = weights_hash([("w", tensor)])
    flipped = tensor.clone()
    byte = data.draw(st.integers(0, size * tensor.element_size() - 1))
    flipped.view(torch.uint8)[byte] = 1 if dtype == torch.bool else 1 << data.draw(st.integers(0, 7))
    assert weights_hash([("w", tensor.clone())]) == before
    assert weights_hash([("w", flipped)]) != before


def test_places_names_shapes_and_types_count_but_not_the_order_or_the_layout() -> None:
    a, b = torch.arange(6.0), torch.arange(6.0) + 1
    base = weights_hash([("a", a), ("b", b)])
    assert weights_hash([("b", b), ("a", a)]) == base
    assert weights_hash([("a", b), ("b", a)]) != base
    assert weights_hash([("a", a.flip(0)), ("b", b)]) != base
    assert weights_hash([("a", a.view(2, 3)), ("b", b)]) != base
    assert weights_hash([("a", a.view(torch.int32)), ("b", b)]) != base
    assert weights_hash([("a", torch.stack([a, b], 1)[:, 0]), ("b", b)]) == base


def test_tensors_larger_than_a_chunk_are_hashed_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_CHUNK", 1000)
    tensor = torch.zeros(2500)
    hashes = {weights_hash([("w", tensor)])}
    for place in (0, 1000, 2000, 2499):
        changed = tensor.clone()
        changed[place] = 1
        hashes.add(weights_hash([("w", changed)]))
    assert len(hashes) == 5


def test_an_empty_tensor_has_a_hash() -> None:
    assert weights_hash([("w", torch.zeros(0))]) != weights_hash([])


def test_weight_files_are_hashed_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    expected = combined_hash(f"model.safetensors {hashlib.sha256(b'weights').hexdigest()}")
    assert weight_files_hash(tmp_path) == expected
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert weight_files_hash(tmp_path) == expected
