"""Tiny models of several architectures and a character tokenizer, made on the fly, for tests of any room."""

from __future__ import annotations

import string
from typing import Any, Literal

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

CHARACTERS = string.digits + string.ascii_letters + " \n+-*/=?.,:;()<>#|_"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% if enable_thinking %}<think>{% endif %}{% endif %}"
)
Architecture = Literal["qwen2", "llama", "gpt_neox", "gpt2", "mistral_sliding"]


def character_tokenizer(chat_template: str | None = None) -> Qwen2Tokenizer:
    """One token per character, `<eos>` and `<pad>`, and `<|start|>`/`<|end|>` for chats."""
    special = ["<pad>", "<eos>", "<|start|>", "<|end|>", "<unk>"]
    # Byte-level names of space and line break. A Qwen2Tokenizer, because AutoTokenizer and vLLM rebuild the
    # tokenizer of a Qwen2 checkpoint as one, whatever its tokenizer.json holds.
    characters = CHARACTERS.replace(" ", "\u0120").replace("\n", "\u010a")
    return Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate([*special, *characters])},
        merges=[],
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens=["<|start|>", "<|end|>"],
        chat_template=chat_template,
    )


def tiny_model(
    architecture: Architecture = "qwen2",
    *,
    vocabulary: int | None = None,
    width: int = 32,
    layers: int = 2,
    positions: int = 256,
    seed: int = 0,
    spread: float = 0.3,
    **options: Any,
) -> PreTrainedModel:
    """A randomly initialised model in eval mode; a larger `spread` of its weights makes peakier samples."""
    tokenizer = character_tokenizer()
    shared: dict[str, Any] = {
        "vocab_size": vocabulary or len(tokenizer),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": positions,
        "initializer_range": spread,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        **options,
    }
    gated = {"intermediate_size": 2 * width, "num_key_value_heads": 2}
    torch.manual_seed(seed)
    model: PreTrainedModel
    if architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**gated, **shared))
    elif architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**gated, **shared))
    elif architecture == "mistral_sliding":
        model = MistralForCausalLM(MistralConfig(**gated, **{"sliding_window": 8, **shared}))
    elif architecture == "gpt_neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(intermediate_size=2 * width, **shared))
    else:
        model = GPT2LMHeadModel(GPT2Config(**shared))
    return model.eval()
