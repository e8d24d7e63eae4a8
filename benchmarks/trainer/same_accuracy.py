"""Whether TRL's GRPOTrainer and this trainer reach the same held-out accuracy from the same start.

    python -m benchmarks.trainer.same_accuracy OUTPUT [--seeds 0 1 2 3] [--steps 40] [--report]

TRL is needed (`pip install trl`). Both start from the same warm-started model of `benchmarks.trainer.toy`, learn
from the same problems with the same settings (32 prompts x 8 responses a step, one update, DAPO's loss, AdamW),
and are evaluated by the same code on the same held-out problems. Only the random numbers and the order of the
problems differ. Trials are processes of their own; finished ones are kept in OUTPUT.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trainer.toy import (
    MAX_TOKENS,
    TRL_DAPO,
    character_tokenizer,
    make_problems,
    warm_model,
)
from curation.statistics import mean_interval
from verifiers import Problem

PROMPTS, GROUP, LEARNING_RATE, WARMUP = 32, 8, 1e-3, 5
WHO = ("ours", "trl")


def train_ours(model: Any, problems: Sequence[Problem], steps: int, seed: int) -> Any:
    from rollout.transformers_engine import TransformersEngine
    from trainer import TrainConfig, train

    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.model_validate(
            {
                "output": folder,
                "steps": steps,
                "seed": seed,
                "rollout": {"prompts_per_step": PROMPTS, "group_size": GROUP, "max_tokens": MAX_TOKENS},
                "dynamic_sampling": {"enabled": False},
                "reward": {"soft_overlong": False},
                "objective": {"importance": "off"},
                "advantage": {"eps": 1e-4},
                "learner": {
                    "mini_batch": PROMPTS * GROUP,
                    "learning_rate": LEARNING_RATE,
                    "warmup_steps": WARMUP,
                    "weight_decay": 0.0,
                },
                "checkpoint": {"every": 10_000},
                "verifier": {"workers": 1},
            }
        )
        train(config, engine=TransformersEngine(model, character_tokenizer()), problems=problems)
    return model


def train_trl(model: Any, problems: Sequence[Problem], steps: int, seed: int) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from verifiers import ExactMatchVerifier

    verifier = ExactMatchVerifier()

    def reward(completions: list[str], problem: list[int], **_: Any) -> list[float]:
        return [
            verifier.verify(text, problems[place]).reward
            for text, place in zip(completions, problem, strict=True)
        ]

    rows = {"prompt": [item.prompt for item in problems], "problem": list(range(len(problems)))}
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            processing_class=character_tokenizer(padding_side="left"),
            reward_funcs=reward,
            train_dataset=Dataset.from_dict(rows),
            args=GRPOConfig(
                output_dir=folder,
                seed=seed,
                per_device_train_batch_size=PROMPTS * GROUP,
                num_generations=GROUP,
                max_completion_length=MAX_TOKENS,
                max_steps=steps,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="constant_with_warmup",
                warmup_steps=WARMUP,
                weight_decay=0.0,
                max_grad_norm=1.0,
                **TRL_DAPO,
            ),
        )
        trainer.train()
    return trainer.model


def trial(who: str, folder: Path, steps: int, seed: int) -> dict[str, float]:
    """Train in this process; the held-out accuracy before and after."""
    import torch

    from rollout.transformers_engine import TransformersEngine
    from trainer import EvalOptions, evaluate

    torch.set_num_threads(1)
    model = warm_model(folder / f"warm-{seed}", seed)
    problems, held_out = make_problems(PROMPTS * steps, seed, "train"), make_problems(500, 0, "test")
    options = EvalOptions(k=4, top_p=1.0, max_tokens=MAX_TOKENS)
    found: dict[str, float] = {}
    for moment in ("before", "after"):
        if moment == "after":
            model = (train_ours if who == "ours" else train_trl)(model, problems, steps, seed)
        row = evaluate(TransformersEngine(model.eval(), character_tokenizer()), held_out, options).row(0)
        found |= {moment: row["avg_at_k"], f"greedy_{moment}": row["greedy_accuracy"]}
    return found


def start_trial(who: str, options: argparse.Namespace, seed: int) -> None:
    command = [sys.executable, "-m", "benchmarks.trainer.same_accuracy", str(options.output), "--trial", who]
    command += ["--steps", str(options.steps), "--seed", str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stderr[-3000:]}")
    (options.output / f"{who}-{seed}.json").write_text(done.stdout.splitlines()[-1])
    print(f"seed {seed}, {who}: {done.stdout.splitlines()[-1]}", flush=True)


def report(folder: Path, seeds: Sequence[int]) -> None:
    found = {who: [json.loads((folder / f"{who}-{seed}.json").read_text()) for seed in seeds] for who in WHO}
    print(f"means over {len(seeds)} seeds, 95 % (t); the difference is paired by seed")
    print(f"{'':18}{'before':>10}{'ours':>20}{'TRL':>20}{'ours - TRL':>28}")
    for label, name in (("avg@4", ""), ("greedy", "greedy_")):
        before = np.mean([item[f"{name}before"] for item in found["ours"]])
        after = {who: [item[f"{name}after"] for item in found[who]] for who in WHO}
        cells = "".join(f"{_interval(after[who]):>20}" for who in WHO)
        differences = np.subtract(after["ours"], after["trl"])
        low, high = mean_interval(differences)
        print(f"{label:18}{before:10.3f}{cells}{f'{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]':>28}")


def _interval(values: Sequence[float]) -> str:
    low, high = mean_interval(values)
    return f"{np.mean(values):.3f} ±{(high - low) / 2:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--report", action="store_true", help="only print what is there")
    parser.add_argument("--trial", choices=WHO, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trial:
        print(json.dumps(trial(options.trial, options.output, options.steps, options.seed)))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    for seed in () if options.report else options.seeds:
        for who in WHO:
            if not (options.output / f"{who}-{seed}.json").exists():
                start_trial(who, options, seed)
    report(options.output, options.seeds)


if __name__ == "__main__":
    main()
