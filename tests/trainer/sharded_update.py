"""Updates in several processes, sharded and not: `torchrun ... -m tests.trainer.sharded_update FOLDER`.

Each process writes what it found to `FOLDER/RANK.pt`; `update` is the same in one process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from tests.trainer.test_learner import make_learner, random_samples
from tests.trainer.toy import make_model
from trainer.distributed import World
from trainer.learner import Learner

SPLIT = {"mini_batch": 12, "micro_batch_tokens": 40, "epochs": 2}
CASES: dict[str, dict[str, Any]] = {
    "tied": {"learner": SPLIT},
    "untied": {"learner": SPLIT, "model": {"tie_word_embeddings": False}},
    "one micro-batch for all": {"learner": {"mini_batch": 12, "micro_batch_tokens": 100_000}},
    "reference and entropy": {
        "learner": SPLIT,
        "objective": {"aggregation": "sequence_mean", "kl_coefficient": 0.1, "entropy_coefficient": 0.01},
    },
    "checkpointed layers": {"learner": {**SPLIT, "gradient_checkpointing": True}},
    "clipped": {"learner": {**SPLIT, "grad_clip": 0.01}},
    "adapters": {
        "learner": {**SPLIT, "lora": {"rank": 4, "alpha": 8.0}},
        "objective": {"kl_coefficient": 0.1},
        "model": {"tie_word_embeddings": False},
    },
    # Its soft caps fail in the middle of a packed pass, when the policy tries which way is right.
    "own logits": {"learner": SPLIT, "gemma": True},
}


def make_case_model(case: dict[str, Any]) -> PreTrainedModel:
    if not case.get("gemma"):
        return make_model(layers=2, **case.get("model", {}))
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=18,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
        attn_implementation="eager",
        final_logit_softcapping=0.5,
    )
    return Gemma2ForCausalLM(config).eval()


def held_bytes(learner: Learner) -> int:
    """Of weights and optimizer state that this process holds."""
    optimizer = learner.optimizer
    states = [
        value for state in optimizer.adamw.state.values() for key, value in state.items() if key != "step"
    ]
    held = {id(tensor): tensor for tensor in [*learner.model.parameters(), *optimizer.masters, *states]}
    parts = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in held.values()]
    return sum(part.numel() * part.element_size() for part in parts)


def update(case: dict[str, Any], sharding: str, dtype: torch.dtype, world: World) -> dict[str, Any]:
    model = make_case_model(case).to(dtype)
    settings = {**case["learner"], "sharding": sharding}
    learner = make_learner(model, settings, case.get("objective"), world=world)
    samples = random_samples(6, 4)
    statistics = [learner.update(samples, step) for step in (1, 2)]
    weights: dict[str, Tensor] = {name: tensor.clone() for name, tensor in learner.weights(shared=False)}
    return {
        "mode": learner.policy.mode,
        "weights": weights,
        "loss": [part.loss for part in statistics],
        "norm": [part.grad_norm for part in statistics],
        "means": statistics[-1].means,
        "bytes": held_bytes(learner),
    }


def main() -> None:
    torch.set_num_threads(1)
    with World.join() as world:
        found = {
            (name, sharding, dtype): update(case, sharding, dtype, world)
            for name, case in CASES.items()
            for dtype in (torch.float64, torch.float32, torch.bfloat16)
            for sharding in ("none", "full")
        }
        torch.save(found, Path(sys.argv[1]) / f"{world.rank}.pt")


if __name__ == "__main__":
    main()
