"""Hash of everything that decides what an engine samples: weights, tokenizer, chat template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def weights_hash(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names; the device doesn't matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        data = tensor.detach().to("cpu").contiguous()
        digest.update(data.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def combined_hash(*hashes: str) -> str:
    """One hash of several, in their order."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
