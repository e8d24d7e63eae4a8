"""A model, a tokenizer and problems small enough that a whole run takes seconds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tests.trainer.parity import ParityVerifier
from verifiers import Problem

CHARACTERS = "0123456789+-=;# "


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character."""
    vocabulary = {"<pad>": 0, "<eos>": 1, **{text: number + 2 for number, text in enumerate(CHARACTERS)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def make_model(seed: int = 0, *, width: int = 16, layers: int = 1, **options: Any) -> PreTrainedModel:
    """A Qwen2 model with random weights."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(CHARACTERS) + 2,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=options.pop("num_key_value_heads", 2),
        max_position_embeddings=128,
        tie_word_embeddings=options.pop("tie_word_embeddings", True),
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        **options,
    )
    return Qwen2ForCausalLM(config).eval()


def in_double(model: Any) -> Any:
    """In float64 throughout; the norms of transformers compute in float32 whatever the model's type is."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == "Qwen2RMSNorm":
                norm = torch.nn.RMSNorm(child.weight.shape[0], eps=child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
    return model.double()


def make_problems(count: int, seed: int = 0) -> list[Problem]:
    """Sums modulo 2: a model that knows nothing is right now and then."""
    generator = random.Random(seed)
    problems = []
    for number in range(count):
        left, right = generator.randrange(10), generator.randrange(10)
        problems.append(
            Problem(
                id=f"p{seed}-{number}",
                prompt=f"{left}+{right}=",
                answer=str((left + right) % 2),
                verifier=ParityVerifier().name,
            )
        )
    return problems


def save_toy(folder: Path, seed: int = 0, **options: Any) -> Path:
    """A folder that opens with `from_pretrained`."""
    make_model(seed, **options).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
