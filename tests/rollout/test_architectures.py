"""The transformers engine on what makes architectures differ: attention windows, biases, experts, caches, LoRA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import transformers as t
from transformers import PreTrainedModel

from rollout import EngineError, Sampling, TransformersEngine, forward
from tests.rollout.reference import PROMPTS, TOKENIZER, assert_drawn_from, by_sample
from tests.rollout.tiny import tiny_model

SAMPLING = Sampling(max_tokens=30, temperature=0.8, seed=4)
SMALL: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "eos_token_id": TOKENIZER.eos_token_id,
    "pad_token_id": TOKENIZER.pad_token_id,
    "bos_token_id": None,
    "initializer_range": 0.3,
}
GATED: dict[str, Any] = {
    **SMALL,
    "intermediate_size": 64,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
LATENT = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "moe_intermediate_size": 16, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2,
    "first_k_dense_replace": 1, "num_key_value_heads": 4,
}  # fmt: skip

ARCHITECTURES: dict[str, Callable[[], PreTrainedModel]] = {
    "eager attention": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GATED, attn_implementation="eager")),
    "query-key norm": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**GATED, head_dim=8)),
    "windows in every second layer": lambda: t.Gemma3ForCausalLM(
        t.Gemma3TextConfig(**GATED, head_dim=8, sliding_window=6, sliding_window_pattern=2)
    ),
    "soft caps": lambda: t.Gemma2ForCausalLM(
        t.Gemma2Config(**GATED, head_dim=8, sliding_window=6, attn_implementation="eager")
    ),
    "attention sinks": lambda: t.GptOssForCausalLM(t.GptOssConfig(**GATED, **EXPERTS, sliding_window=6)),
    "chunked attention": lambda: t.Llama4ForCausalLM(
        t.Llama4TextConfig(
            **GATED, head_dim=8, num_local_experts=2, intermediate_size_mlp=64, attention_chunk_size=8
        )
    ),
    "experts": lambda: t.MixtralForCausalLM(t.MixtralConfig(**GATED, **EXPERTS)),
    "latent attention": lambda: t.DeepseekV3ForCausalLM(t.DeepseekV3Config(**{**GATED, **LATENT})),
    "parallel layers": lambda: t.Cohere2ForCausalLM(t.Cohere2Config(**GATED, sliding_window=6)),
    "alibi": lambda: t.BloomForCausalLM(t.BloomConfig(**{**SMALL, "n_layer": 2, "n_head": 4})),
    "alibi or rotary": lambda: t.FalconForCausalLM(t.FalconConfig(**SMALL, alibi=True)),
    "positions with an offset": lambda: t.OPTForCausalLM(
        t.OPTConfig(**SMALL, init_std=0.3, ffn_dim=64, max_position_embeddings=256, word_embed_proj_dim=32)
    ),
    "partly rotary": lambda: t.GPTJForCausalLM(t.GPTJConfig(**SMALL, rotary_dim=4, n_positions=256)),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("share", [False, True], ids=["copied", "shared"])
def test_samples_are_drawn_from_the_model(
    architecture: str, share: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_WORTH_SHARING", 1 if share else 10**6)
    model = ARCHITECTURES[architecture]().eval()
    engine = TransformersEngine(model, TOKENIZER, batch_size=5)
    completions = by_sample(engine.generate(PROMPTS, 3, SAMPLING))
    assert len(completions) == 3 * len(PROMPTS)
    assert_drawn_from(model, completions.values(), SAMPLING, tolerance=2e-3)


@pytest.mark.parametrize("make", [t.Qwen3NextForCausalLM, t.MambaForCausalLM], ids=["hybrid", "recurrent"])
def test_recurrent_state_is_refused(make: Any) -> None:
    with pytest.raises(EngineError, match="use the vllm engine for this architecture"):
        TransformersEngine(make(make.config_class(**GATED)), TOKENIZER)


def test_bfloat16() -> None:
    model = tiny_model().bfloat16()
    completions = TransformersEngine(model, TOKENIZER, batch_size=5).generate(PROMPTS, 3, SAMPLING)
    assert_drawn_from(model, completions, SAMPLING, tolerance=0.3)


def test_a_lora_model_is_sampled_with_its_adapters() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    adapted = peft.get_peft_model(tiny_model(), peft.LoraConfig(r=4, init_lora_weights=False)).eval()
    engine = TransformersEngine(adapted, TOKENIZER, batch_size=5)
    completions = list(engine.generate(PROMPTS, 3, SAMPLING))
    assert_drawn_from(adapted, completions, SAMPLING)
    plain = TransformersEngine(tiny_model(), TOKENIZER).generate(PROMPTS, 3, SAMPLING)
    assert by_sample(plain) != by_sample(completions)
    before = engine.fingerprint()
    engine.load_weights(adapted.named_parameters(), version=1)
    assert engine.fingerprint() == before
    engine.load_weights([(n, p + 1) for n, p in adapted.named_parameters()], version=2)
    assert engine.fingerprint() != before


def test_gradient_checkpointing_of_a_training_model_does_not_reach_the_samples() -> None:
    expected = by_sample(TransformersEngine(tiny_model(), TOKENIZER).generate(PROMPTS, 2, SAMPLING))
    model = tiny_model().train()
    model.gradient_checkpointing_enable()
    assert by_sample(TransformersEngine(model, TOKENIZER).generate(PROMPTS, 2, SAMPLING)) == expected
    assert model.training
