"""The demo's model: a Qwen2 of about 170,000 parameters and a tokenizer, both made from nothing.

The tokenizer has one token per byte, and one for each of the phrases that the demo's problems and responses
repeat (`\\boxed{` among them), so that sequences are short. Both are saved as ordinary transformers folders:
whatever reads a checkpoint from the hub reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PAD, EOS = "<pad>", "<eos>"


class ModelConfig(BaseModel):
    """Size of the model. The defaults learn the demo's tasks in about a minute of one CPU core."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int = Field(default=2, gt=0, description="Transformer layers.")
    width: int = Field(default=64, gt=0, description="Size of the hidden states.")
    heads: int = Field(default=4, gt=0, description="Attention heads; they divide the width.")
    intermediate: int = Field(default=256, gt=0, description="Size of the feed-forward layers' inside.")
    positions: int = Field(default=256, gt=0, description="Longest sequence, in tokens.")
    weight_deviation: float = Field(
        default=0.05,
        gt=0,
        description="Standard deviation of the initial weights of the layers. The usual 0.02 suits widths of "
        "1,000 and more; at a width of 64 such a model takes several times as long to begin to learn.",
    )
    embedding_deviation: float = Field(default=0.2, gt=0, description="The same of the token embeddings.")
    head_deviation: float = Field(default=0.02, gt=0, description="The same of the output layer.")


def build_tokenizer(phrases: Sequence[str]) -> Any:
    """A Qwen2 tokenizer with a token for each of `phrases` and for each byte of anything else.

    It is of the class that transformers takes for every folder with a Qwen2 model, whatever the folder says,
    so it is the same after saving and loading.
    """
    from tokenizers import AddedToken, pre_tokenizers
    from transformers import Qwen2Tokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate([PAD, EOS, *alphabet])},
        merges=[],
        unk_token=None,
        pad_token=PAD,
        eos_token=EOS,
    )
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in dict.fromkeys(phrases)])
    return tokenizer


def build_model(tokenizer: Any, seed: int, config: ModelConfig | None = None) -> Any:
    """A Qwen2 with random weights drawn from `seed`, in float32."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = config or ModelConfig()
    architecture = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.positions,
        initializer_range=config.weight_deviation,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(architecture)
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=config.embedding_deviation)
        torch.nn.init.normal_(model.get_output_embeddings().weight, std=config.head_deviation)
        return model


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save both as one transformers folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
