"""What completions are compared with: plain forwards of the transformers model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rollout import Completion, Prompt, Sampling
from rollout.sampler import sampling_logprobs
from tests.rollout.tiny import CHAT_TEMPLATE, character_tokenizer

TOKENIZER = character_tokenizer(CHAT_TEMPLATE)
PROMPTS: Sequence[Prompt] = ["3+5-2=", "hello world", [{"role": "user", "content": "12*(4+5)"}], "x"]
# vLLM's CPU attention has no kernels for heads narrower than 32.
VLLM_SHAPE = {"width": 64, "num_attention_heads": 2, "spread": 0.2}


def save_checkpoint(model: PreTrainedModel, folder: Path) -> Path:
    """Save model and tokenizer as a user would have them."""
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def by_sample(completions: Iterable[Completion]) -> dict[tuple[int, int], Completion]:
    """Completions by prompt and sample; none may come twice."""
    listed = list(completions)
    found = {(c.prompt_index, c.sample_index): c for c in listed}
    assert len(found) == len(listed)
    return found


def assert_drawn_from(
    model: PreTrainedModel, completions: Iterable[Completion], sampling: Sampling, tolerance: float = 1e-4
) -> None:
    """Every log-probability is the one that a forward over prompt and completion gives."""
    for completion in completions:
        ids = torch.tensor([completion.prompt_token_ids + completion.token_ids])
        with torch.no_grad():
            logits: Tensor = model(ids, attention_mask=torch.ones_like(ids)).logits[0]
        expected = sampling_logprobs(logits[len(completion.prompt_token_ids) - 1 : -1], sampling)
        drawn = expected.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), drawn, atol=tolerance, rtol=tolerance)
