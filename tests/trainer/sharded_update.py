"""Updates in several processes, sharded and not: `torchrun ... -m tests.trainer.sharded_update FOLDER [CASE ...]`.

Each process writes what it found to `FOLDER/RANK.pt`. A checkpoint in `FOLDER/before`, which `checkpoint` wrote
in any number of processes, is gone on from, and what comes of it written to `FOLDER/after`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM

from tests.trainer.test_learner import make_learner, random_samples
from tests.trainer.toy import make_model
from trainer.checkpoint import STATE, save_state
from trainer.distributed import World
from trainer.learner import Learner
from trainer.run import resume_learner
from trainer.weights import save_model
from verifiers import InputError

SPLIT = {"mini_batch": 12, "micro_batch_tokens": 40, "epochs": 2}
TYPES = (torch.float64, torch.float32, torch.bfloat16)
CASES: dict[str, dict[str, Any]] = {
    "tied": {"learner": SPLIT, "types": TYPES},
    "untied": {"learner": SPLIT, "model": {"tie_word_embeddings": False}, "types": TYPES},
    "one micro-batch for all": {"learner": {"mini_batch": 12, "micro_batch_tokens": 100_000}},
    "reference and entropy": {
        "learner": SPLIT,
        "objective": {"aggregation": "sequence_mean", "kl_coefficient": 0.1, "entropy_coefficient": 0.01},
    },
    # Twice as many responses count as have a loss: one that merely takes part must not.
    "counted responses": {"learner": SPLIT, "objective": {"aggregation": "constant", "count_filtered": True}},
    "checkpointed layers": {"learner": {**SPLIT, "gradient_checkpointing": True}},
    "clipped": {"learner": {**SPLIT, "grad_clip": 0.01}},
    "bfloat16 without masters": {
        "learner": {**SPLIT, "float32_masters": False},
        "types": (torch.bfloat16,),
    },
    "adapters": {
        "learner": {**SPLIT, "lora": {"rank": 4, "alpha": 8.0}},
        "objective": {"kl_coefficient": 0.1},
        "model": {"tie_word_embeddings": False},
        "types": TYPES,
    },
    # Its soft caps fail in the middle of a packed pass, when the policy tries which way is right.
    "own logits": {"learner": SPLIT, "family": "gemma"},
    "experts": {"learner": SPLIT, "family": "experts"},
}


def make_case_model(case: dict[str, Any]) -> PreTrainedModel:
    sizes = {
        "vocab_size": 18,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    torch.manual_seed(0)
    if case.get("family") == "gemma":
        config = Gemma2Config(**sizes, final_logit_softcapping=0.5, attn_implementation="eager")
        return Gemma2ForCausalLM(config).eval()
    if case.get("family") == "experts":
        experts = Qwen3MoeConfig(
            **sizes,
            num_experts=4,
            num_experts_per_tok=1,
            moe_intermediate_size=8,
            experts_implementation="eager",
        )
        return Qwen3MoeForCausalLM(experts).eval()
    return make_model(layers=2, **case.get("model", {}))


def held_bytes(learner: Learner) -> int:
    """Of weights, optimizer state and reference that this process holds."""
    optimizer = learner.optimizer
    states = [
        value for state in optimizer.adamw.state.values() for key, value in state.items() if key != "step"
    ]
    reference = [] if learner.reference is None else learner.reference.model.parameters()
    tensors = [*learner.model.parameters(), *optimizer.masters, *states, *reference]
    held = {id(tensor): tensor for tensor in tensors}
    parts = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in held.values()]
    return sum(part.numel() * part.element_size() for part in parts)


def update(case: dict[str, Any], sharding: str, dtype: torch.dtype, world: World) -> dict[str, Any]:
    """Two updates, and what came of them."""
    settings = {**case["learner"], "sharding": sharding}
    learner = make_learner(make_case_model(case).to(dtype), settings, case.get("objective"), world=world)
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


def checkpointed_learner(case: str, sharding: str, world: World) -> Learner:
    """A bfloat16 learner with other weights than its checkpoint will have."""
    model = make_case_model(CASES[case]).bfloat16()
    settings = {**CASES[case]["learner"], "sharding": sharding}
    return make_learner(model, settings, world=world)


def checkpoint(learner: Learner, folder: Path) -> None:
    """Write what a run's checkpoint has of its learner."""
    weights, optimizer = learner.state()
    if learner.world.rank == 0:
        folder.mkdir(exist_ok=True)
        save_model(learner.model, folder, weights)
        save_state(folder / STATE, {"step": 1, "optimizer": optimizer})


def refusal(world: World) -> str:
    """The error for a model that can't be sharded."""
    model = make_model()
    model.model.norm = nn.RMSNorm(16, dtype=torch.bfloat16)
    try:
        make_learner(model, {"sharding": "full"}, world=world)
    except InputError as error:
        return str(error)
    return ""


def main() -> None:
    torch.set_num_threads(1)
    folder, *chosen = Path(sys.argv[1]), *sys.argv[2:]
    with World.join() as world:
        found: dict[Any, Any] = {
            (name, sharding, dtype): update(case, sharding, dtype, world)
            for name, case in CASES.items()
            if not chosen or name in chosen
            for dtype in case.get("types", TYPES[:1])
            for sharding in ("none", "full")
        }
        found["refusal"] = refusal(world)
        for before in sorted(folder.glob("before-*")):
            case = before.name.removeprefix("before-")
            learner = checkpointed_learner(case, "full", world)
            resume_learner(learner, before)
            learner.update(random_samples(6, 4), 2)
            checkpoint(learner, folder / f"after-{case}")
        torch.save(found, folder / f"{world.rank}.pt")


if __name__ == "__main__":
    main()
