"""Hash of everything that decides what an engine samples: weights, tokenizer, chat template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rollout.randomness import mix64

_CHUNK = 1 << 20
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")


def weights_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Hash of names, types, shapes and bits, whatever the order of the tensors and the device they are on.

    The bits of a tensor are hashed where they lie (copying a large model off a GPU would take longer than
    sampling with it): each chunk's words, as integers, are multiplied with fixed pseudo-random 64-bit numbers
    and summed modulo 2**64, so two chunks that differ collide with a chance of about 2**-64.
    """
    lines = []
    for name, tensor in tensors:
        words = tensor.detach().contiguous().view(-1).view(_WORDS[tensor.element_size()])
        factors = _factors(str(words.device), _CHUNK)
        sums = [(chunk.to(torch.int64) * factors[: len(chunk)]).sum() for chunk in torch.split(words, _CHUNK)]
        values = torch.stack(sums).tolist() if sums else []
        lines.append(f"{name} {tensor.dtype} {tuple(tensor.shape)} {values}")
    return combined_hash(*sorted(lines))


def weight_files_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of a checkpoint's weight files."""
    parts = []
    for path in sorted({path for pattern in _WEIGHT_FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            parts.append(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return combined_hash(*parts)


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over the vocabulary, the encoding pipeline (fast tokenizers), special tokens, template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "pipeline": json.loads(backend.to_str()) if backend is not None else type(tokenizer).__name__,
        "special": {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        "template": tokenizer.chat_template,
    }
    if backend is not None:
        # Left behind by the last call that padded or truncated; no part of what the tokenizer is.
        parts["pipeline"].pop("padding", None)
        parts["pipeline"].pop("truncation", None)
    return combined_hash(json.dumps(parts, sort_keys=True))


def combined_hash(*parts: str) -> str:
    """SHA-256 of several texts, in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=8)
def _factors(device: str, count: int) -> Tensor:
    """Odd pseudo-random int64 [count]; odd, so that no change of a single word is multiplied away."""
    return mix64(torch.arange(count, dtype=torch.int64, device=device)) | 1
