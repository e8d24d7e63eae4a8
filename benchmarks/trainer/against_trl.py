"""CPU-seconds per training step and peak memory, ours against TRL's GRPOTrainer.

    python -m benchmarks.trainer.against_trl [--lengths fixed|varied|long-prompts] [--rounds 3] [--steps 8]

TRL is needed (`pip install trl`). Both train the same random 1.06M-parameter Qwen2 model with the DAPO loss on
the same prompts, 32 prompts x 8 responses a step, one update, one thread, and the same reward, which about half of
the responses earn, so that hardly a group is without a gradient. `fixed` has prompts of 6 to 12 tokens and
responses of about 48; `long-prompts` has prompts of 90 to 110; `varied` has responses from 1 to 128 tokens, as a
model that ends with probability 1/32 at each token gives them. TRL's part of a batch that goes through the model
at once is `--trl-batch`; the trainer here takes its own default. Trials are processes of their own and alternate.
The first two steps of each are left out. `--output FILE` adds the trials to those of earlier calls.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trainer.contains import ContainsVerifier
from benchmarks.trainer.toy import TRL_DAPO, make_model
from curation.statistics import mean_interval

PROMPTS, GROUP, WARM = 32, 8, 2
WIDTH, INNER, LAYERS = 128, 384, 5
LAYER_WEIGHTS = LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER)


@dataclass(frozen=True)
class Lengths:
    """What is sampled, and what makes a response right."""

    vocabulary: int
    prompt: tuple[int, int]
    """Fewest and most tokens."""
    response: int
    """Most tokens; the model ends with probability 1 / `vocabulary` at each."""
    gold: str
    """Regular expression that about half of the responses contain."""


LENGTHS = {
    "fixed": Lengths(512, (6, 12), 48, r"w10[0-6](?!\d)"),
    "long-prompts": Lengths(512, (90, 110), 48, r"w10[0-6](?!\d)"),
    "varied": Lengths(32, (6, 12), 128, r"w7(?!\d)"),
}


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


def make_prompts(count: int, lengths: Lengths) -> list[str]:
    generator = random.Random(0)
    return [
        " ".join(f"w{generator.randrange(2, lengths.vocabulary)}" for _ in range(tokens))
        for tokens in (generator.randint(*lengths.prompt) for _ in range(count))
    ]


def run_ours(model: Path, steps: int, lengths: Lengths) -> list[dict[str, float]]:
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
        # The last token of a response predicts nothing; a prompt is needed once.
        prompts = sum(map(len, {item.group: item.tokens.prompt for item in samples}.values()))
        layers = (prompts + count - len(samples)) * LAYER_WEIGHTS
        products = layers + count * lengths.vocabulary * WIDTH
        seconds.append(
            {
                "generation": began["generation"],
                "update": now - start,
                "all": now - began["all"],
                "tokens": count,
                "gflop_generation": 2e-9 * products,
                "gflop_update": 6e-9 * products,
                "without_gradient": sum(item.advantage == 0 for item in samples) / len(samples),
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
                "rollout": {"prompts_per_step": PROMPTS, "group_size": GROUP, "max_tokens": lengths.response},
                "dynamic_sampling": {"enabled": False},
                "reward": {"soft_overlong": False},
                "objective": {"importance": "off"},
                "learner": {"mini_batch": PROMPTS * GROUP, "warmup_steps": 0, "weight_decay": 0.0},
                "checkpoint": {"every": 10_000},
                "verifier": {"workers": 1},
            }
        )
        problems = [
            Problem(id=str(number), prompt=text, answer=lengths.gold, verifier=ContainsVerifier().name)
            for number, text in enumerate(make_prompts(PROMPTS * steps, lengths))
        ]
        engine = TransformersEngine(
            AutoModelForCausalLM.from_pretrained(model), PreTrainedTokenizerFast.from_pretrained(model)
        )
        train(config, engine=engine, problems=problems)
    return seconds


def run_trl(model: Path, steps: int, lengths: Lengths, batch: int) -> list[dict[str, float]]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds: list[dict[str, float]] = []
    clock = {"all": time.process_time(), "generation": 0.0, "tokens": 0.0}
    verifier = ContainsVerifier()

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        clock["tokens"] = float(sum(map(len, completion_ids)))
        return [verifier.verify(text, lengths.gold).reward for text in completions]

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
            train_dataset=Dataset.from_dict({"prompt": make_prompts(PROMPTS * steps, lengths)}),
            args=GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=PROMPTS * GROUP // batch,
                num_generations=GROUP,
                max_completion_length=lengths.response,
                max_steps=steps,
                learning_rate=1e-6,
                lr_scheduler_type="constant",
                **TRL_DAPO,
            ),
            callbacks=[Clock()],
        )
        trainer.train()
    return seconds


def trial(who: str, options: argparse.Namespace) -> None:
    """Run one trial in this process and print its result as JSON."""
    import torch

    torch.set_num_threads(1)
    lengths = LENGTHS[options.lengths]
    if who == "ours":
        found = run_ours(options.model, options.steps, lengths)
    else:
        found = run_trl(options.model, options.steps, lengths, options.trl_batch)
    steps = found[WARM:]
    result = {name: statistics.mean(step[name] for step in steps) for name in steps[0]}
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Worker processes verify; their CPU time belongs to the step.
    result["all"] += (children.ru_utime + children.ru_stime) / options.steps
    if who == "ours":
        rate = matrix_gflops()
        for phase in ("generation", "update"):
            result[f"products_{phase}"] = result.pop(f"gflop_{phase}") / rate
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
    parser.add_argument("--trl-batch", type=int, default=64, help="TRL's per_device_train_batch_size")
    parser.add_argument("--output", type=Path, help="JSONL file that the trials are added to")
    parser.add_argument("--trial", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trial:
        trial(options.trial, options)
        return
    setting = {"lengths": options.lengths, "steps": options.steps, "trl_batch": options.trl_batch}
    found: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    if options.output and options.output.exists():
        for row in map(json.loads, options.output.read_text().splitlines()):
            if row["setting"] == setting:
                found[row["who"]].append(row["result"])
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), LENGTHS[options.lengths].vocabulary)
        for _ in range(options.rounds):
            results = {who: start_trial(who, folder, options) for who in found}
            for who, result in results.items():
                found[who].append(result)
                if options.output:
                    with options.output.open("a") as file:
                        file.write(json.dumps({"setting": setting, "who": who, "result": result}) + "\n")
    report(found, options)


def start_trial(who: str, folder: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.trainer.against_trl", "--trial", who, "--model", folder]
    command += ["--lengths", options.lengths, "--steps", str(options.steps)]
    command += ["--trl-batch", str(options.trl_batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    print(
        f"{options.lengths}, {PROMPTS} prompts x {GROUP}, TRL with {options.trl_batch} responses at once; medians "
        f"over {len(found['ours'])} trials of {options.steps} steps each"
    )
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
    floors = {
        phase: statistics.median(item[f"products_{phase}"] for item in found["ours"])
        for phase in ("generation", "update")
    }
    floor = sum(floors.values())
    whole = {who: statistics.median(item["all"] for item in results) for who, results in found.items()}
    print(
        "matrix products that the step needs, at this machine's rate: "
        f"{floors['generation']:.3f} CPU-s for the generation, {floors['update']:.3f} for the update; "
        f"ours takes {whole['ours'] / floor:.2f} times these, TRL {whole['trl'] / floor:.2f} times"
    )
    silent = statistics.mean(item["without_gradient"] for item in found["ours"])
    print(f"samples in groups all right or all wrong, without a gradient: {silent:.1%}")
    for phase in ("generation", "update"):
        rates = [
            statistics.median(item["tokens"] / item[phase] for item in found[who]) for who in ("ours", "trl")
        ]
        print(f"{phase + ', tokens/CPU-s':24}{rates[0]:12.0f}{rates[1]:12.0f}{rates[0] / rates[1]:12.2f}")


if __name__ == "__main__":
    main()
