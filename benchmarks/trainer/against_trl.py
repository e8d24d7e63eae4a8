"""CPU-seconds per training step and peak memory, ours against TRL's GRPOTrainer.

    python -m benchmarks.trainer.against_trl [--lengths fixed|varied] [--rounds 3] [--steps 8]

TRL is needed (`pip install trl`). Both train the same random 1.06M-parameter Qwen2 model with the DAPO loss on
the same prompts, 32 prompts x 8 responses a step, one update, one thread. `fixed` has responses of about 48
tokens; `varied` has lengths from 1 to 128, as a model that ends with probability 1/32 at each token gives them.
Trials are processes of their own and alternate. The first two steps of each are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trainer.toy import TRL_DAPO, make_model
from curation.statistics import mean_interval

PROMPTS, GROUP, WARM = 32, 8, 2
WIDTH, INNER, LAYERS = 128, 384, 5
LAYER_WEIGHTS = LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER)
LENGTHS = {"fixed": (512, 48), "varied": (32, 128)}
"""Size of the vocabulary and most tokens of a response."""


def save_model(folder: Path, vocabulary: int) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model = make_model(
        0,
        vocabulary,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        max_position_embeddings=512,
    )
    model.save_pretrained(folder)
    words = {"<pad>": 0, "<eos>": 1, **{f"w{number}": number for number in range(2, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w2"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.save_pretrained(folder)


def make_prompts(count: int, vocabulary: int) -> list[str]:
    generator = random.Random(0)
    return [
        " ".join(f"w{generator.randrange(2, vocabulary)}" for _ in range(generator.randint(6, 12)))
        for _ in range(count)
    ]


def run_ours(model: Path, steps: int, vocabulary: int, tokens: int) -> list[dict[str, float]]:
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from rollout.transformers_engine import TransformersEngine
    from trainer import TrainConfig, train
    from trainer.run import Run
    from verifiers import Problem

    seconds: list[dict[str, float]] = []
    began = {"all": time.process_time()}
    sample, update = Run.sample, Run.update

    def timed_sample(self: Run, step: int) -> Any:
        start = time.process_time()
        result = sample(self, step)
        began["generation"] = time.process_time() - start
        return result

    def timed_update(self: Run, samples: Any, step: int) -> Any:
        start = time.process_time()
        result = update(self, samples, step)
        now = time.process_time()
        count = sum(len(item.tokens.response) for item in samples)
        read = sum(len(item.tokens) for item in samples)
        seconds.append(
            {
                "generation": began["generation"],
                "update": now - start,
                "all": now - began["all"],
                "tokens": count,
                "gflop": 6e-9 * (read * LAYER_WEIGHTS + count * vocabulary * WIDTH),
            }
        )
        began["all"] = now
        return result

    Run.sample, Run.update = timed_sample, timed_update  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.model_validate(
            {
                "output": folder,
                "steps": steps,
                "rollout": {"prompts_per_step": PROMPTS, "group_size": GROUP, "max_tokens": tokens},
                "dynamic_sampling": {"enabled": False},
                "reward": {"soft_overlong": False},
                "objective": {"importance": "off"},
                "learner": {"mini_batch": PROMPTS * GROUP, "warmup_steps": 0, "weight_decay": 0.0},
                "checkpoint": {"every": 10_000},
                "verifier": {"workers": 1},
            }
        )
        problems = [
            Problem(id=str(number), prompt=text, answer="w3", verifier="exact")
            for number, text in enumerate(make_prompts(PROMPTS * steps, vocabulary))
        ]
        engine = TransformersEngine(
            AutoModelForCausalLM.from_pretrained(model), PreTrainedTokenizerFast.from_pretrained(model)
        )
        train(config, engine=engine, problems=problems)
    return seconds


def run_trl(model: Path, steps: int, vocabulary: int, tokens: int) -> list[dict[str, float]]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds: list[dict[str, float]] = []
    clock = {"all": time.process_time(), "generation": 0.0, "tokens": 0.0}

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        clock["tokens"] = float(sum(map(len, completion_ids)))
        return [1.0 if "w3" in text else -1.0 for text in completions]

    class Timed(GRPOTrainer):  # type: ignore[misc]
        def _generate(self, *arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            result = super()._generate(*arguments, **named)
            clock["generation"] = time.process_time() - start
            return result

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            now = time.process_time()
            whole = now - clock["all"]
            seconds.append(
                {
                    "generation": clock["generation"],
                    "update": whole - clock["generation"],
                    "all": whole,
                    "tokens": clock["tokens"],
                }
            )
            clock["all"] = now

    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            model=AutoModelForCausalLM.from_pretrained(model),
            processing_class=PreTrainedTokenizerFast.from_pretrained(model, padding_side="left"),
            reward_funcs=reward,
            train_dataset=Dataset.from_dict({"prompt": make_prompts(PROMPTS * steps, vocabulary)}),
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=PROMPTS * GROUP,
                num_generations=GROUP,
                max_completion_length=tokens,
                max_steps=steps,
                learning_rate=1e-6,
                lr_scheduler_type="constant",
                **TRL_DAPO,
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    return seconds


def trial(who: str, model: Path, steps: int, vocabulary: int, tokens: int) -> None:
    """Run one trial in this process and print its result as JSON."""
    import torch

    torch.set_num_threads(1)
    run = run_ours if who == "ours" else run_trl
    steps_seconds = run(model, steps, vocabulary, tokens)[WARM:]
    result = {name: statistics.mean(step[name] for step in steps_seconds) for name in steps_seconds[0]}
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Worker processes verify; their CPU time belongs to the step.
    result["all"] += (children.ru_utime + children.ru_stime) / steps
    if who == "ours":
        result["products"] = result.pop("gflop") / matrix_gflops()
    print(json.dumps(result))


def matrix_gflops() -> float:
    """What this machine's matrix product does on one thread, with the model's largest layer."""
    import torch

    inputs, weights, times = torch.randn(4096, WIDTH), torch.randn(WIDTH, INNER), []
    for _ in range(50):
        start = time.process_time()
        inputs @ weights
        times.append(time.process_time() - start)
    return 2e-9 * inputs.numel() * INNER / statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", choices=sorted(LENGTHS), default="fixed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--trial", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    vocabulary, tokens = LENGTHS[options.lengths]
    if options.trial:
        trial(options.trial, options.model, options.steps, vocabulary, tokens)
        return
    found: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), vocabulary)
        for _ in range(options.rounds):
            for who, results in found.items():
                results.append(start_trial(who, folder, options))
    report(found, options.lengths)


def start_trial(who: str, folder: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.trainer.against_trl", "--trial", who, "--model", folder]
    command += ["--lengths", options.lengths, "--steps", str(options.steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(found: dict[str, list[dict[str, float]]], lengths: str) -> None:
    print(f"{lengths} lengths, {PROMPTS} prompts x {GROUP}; medians over {len(found['ours'])} trials each")
    print(f"{'':24}{'ours':>12}{'TRL':>12}{'TRL/ours':>12}   95 % (t, pairs of trials)")
    rows = {
        "generation, CPU-s/step": ("generation", 1.0),
        "update, CPU-s/step": ("update", 1.0),
        "all, CPU-s/step": ("all", 1.0),
        "tokens per step": ("tokens", 1.0),
        "peak memory, MB": ("memory", 1e-6),
    }
    for label, (name, scale) in rows.items():
        ours, theirs = ([item[name] * scale for item in found[who]] for who in ("ours", "trl"))
        logs = np.log(theirs) - np.log(ours)
        interval = "[{:.2f}, {:.2f}]".format(*np.exp(mean_interval(logs))) if len(logs) > 1 else ""
        print(
            f"{label:24}{statistics.median(ours):12.3f}{statistics.median(theirs):12.3f}"
            f"{np.exp(logs.mean()):12.2f}   {interval}"
        )
    products = statistics.median(item["products"] for item in found["ours"])
    print(f"the update's matrix products alone, at this machine's rate: {products:.3f} CPU-s/step")
    for phase in ("generation", "update"):
        rates = [
            statistics.median(item["tokens"] / item[phase] for item in found[who]) for who in ("ours", "trl")
        ]
        print(f"{phase + ', tokens/CPU-s':24}{rates[0]:12.0f}{rates[1]:12.0f}{rates[0] / rates[1]:12.2f}")


if __name__ == "__main__":
    main()
