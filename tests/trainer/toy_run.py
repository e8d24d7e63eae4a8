"""A whole training run in a process of its own: `python -m tests.trainer.toy_run FOLDER MODEL [OPTIONS]`.

Options: `update:N` lets the process kill itself (SIGKILL) right before its N-th optimizer step; `sharded` shards
the learner where there are several processes.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from rich.console import Console

from tests.trainer.toy import make_problems
from trainer import TrainConfig, train
from trainer.optimizer import MasterAdamW


def toy_config(output: Path, model: Path, sharding: str = "none") -> TrainConfig:
    """Six steps with eight updates each, an evaluation every second and a checkpoint every third step."""
    return TrainConfig.model_validate(
        {
            "model": str(model),
            "output": output,
            "steps": 6,
            "rollout": {"prompts_per_step": 8, "group_size": 8, "max_tokens": 6},
            "learner": {
                "learning_rate": 3e-3,
                "warmup_steps": 2,
                "mini_batch": 16,
                "epochs": 2,
                "micro_batch_tokens": 256,
                "sharding": sharding,
            },
            "evaluation": {"every": 2, "k": 2},
            "checkpoint": {"every": 3, "keep": 2},
            "verifier": {"workers": 1},
        }
    )


def kill_before_update(number: int) -> None:
    """End the process without warning before its `number`-th optimizer step."""
    original, count = MasterAdamW.step, 0

    def step(self: MasterAdamW, learning_rate: float, grad_clip: float) -> float:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, learning_rate, grad_clip)

    MasterAdamW.step = step  # type: ignore[method-assign]


def main() -> None:
    torch.set_num_threads(1)
    output, model, *options = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    for option in options:
        if option.startswith("update:"):
            kill_before_update(int(option.removeprefix("update:")))
    print("ready", flush=True)
    train(
        toy_config(output, model, "full" if "sharded" in options else "none"),
        problems=make_problems(40),
        eval_sets={"held-out": make_problems(16, seed=1)},
        console=Console(force_terminal=False),
    )
    print("done", flush=True)


if __name__ == "__main__":
    main()
