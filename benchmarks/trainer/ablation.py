"""The DAPO paper's ladder at toy scale: what each part adds, with intervals over seeds.

    python -m benchmarks.trainer.ablation OUTPUT [--seeds 5] [--steps 80]

GRPO; + overlong filtering; + clip-higher; + soft overlong punishment; + token-level loss; + dynamic sampling,
each rung on top of the one before (Yu et al. 2025, table 1). The task: running sums of 3 to 7 numbers, answered
by a bare guess, by careful work, or by work that rambles on beyond the limit; a warm-started model of 135k
parameters does all three, so that correctness, length and truncation pull at once. A run that was stopped goes
on; the table (also of the runs done so far) and `ablation.png` come from the run folders.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from curation.statistics import mean_interval
from verifiers import Problem

CHARACTERS = "0123456789+-=;#~ "
MAX_TOKENS = 44
TARGET = 0.8
LADDER: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
    ("GRPO", {}),
    ("+ overlong filtering", {"reward": {"filter_truncated": True}}),
    ("+ clip-higher", {"objective": {"clip_high": 0.28}}),
    ("+ soft overlong punishment", {"reward": {"filter_truncated": False, "soft_overlong": True}}),
    ("+ token-level loss", {"objective": {"aggregation": "token_mean"}}),
    ("+ dynamic sampling (DAPO)", {"dynamic_sampling": {"enabled": True}}),
)


def make_problem(generator: random.Random) -> tuple[str, list[int]]:
    """A sum and its running totals."""
    numbers = [generator.randrange(10) for _ in range(generator.randint(3, 7))]
    signs = [generator.choice((1, -1)) for _ in numbers[1:]]
    text, totals = str(numbers[0]), []
    value = numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        text += ("+" if sign > 0 else "-") + str(number)
        value += sign * number
        totals.append(value)
    return text + "=", totals


def make_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    generator = random.Random(seed)
    pairs = []
    for _ in range(count):
        prompt, totals = make_problem(generator)
        work = "".join(f"{total};" for total in totals)
        manner = generator.random()
        if manner < 0.5:
            response = f"####{generator.randint(-15, 25)}"
        elif manner < 0.8:
            response = f"{work}####{totals[-1]}"
        else:
            response = work + "~" * generator.randint(5, 40) + f"####{totals[-1]}"
        pairs.append((prompt, response))
    return pairs


def make_problems(count: int, seed: int, name: str) -> list[Problem]:
    generator = random.Random(f"{name}:{seed}")
    problems = []
    for number in range(count):
        prompt, totals = make_problem(generator)
        problems.append(
            Problem(id=f"{name}-{number}", prompt=prompt, answer=str(totals[-1]), verifier="exact")
        )
    return problems


def make_model_and_tokenizer(seed: int) -> tuple[Any, Any]:
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = {"<pad>": 0, "<eos>": 1, **{text: number + 2 for number, text in enumerate(CHARACTERS)}}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    return Qwen2ForCausalLM(config), fast


def warm_model(folder: Path, seed: int, console: Console) -> tuple[Any, Any]:
    """The seed's warm-started model, made once."""
    from transformers import AutoModelForCausalLM

    from trainer import WarmStartConfig, warm_start

    model, tokenizer = make_model_and_tokenizer(seed)
    if (folder / "model.safetensors").exists():
        return AutoModelForCausalLM.from_pretrained(folder), tokenizer
    result = warm_start(model, tokenizer, make_pairs(60_000, seed), WarmStartConfig(seed=seed))
    console.print(f"seed {seed}: warm start in {result.seconds:.0f} s, loss {result.losses[-1]:.3f}")
    model.save_pretrained(folder)
    return model, tokenizer


def rung_settings(rung: int) -> dict[str, Any]:
    """Settings of a rung: GRPO's, and every change up to it."""
    settings: dict[str, Any] = {
        "preset": "grpo",
        "objective": {"kl_coefficient": 0.0},
        "rollout": {"prompts_per_step": 32, "group_size": 8, "max_tokens": MAX_TOKENS},
        "learner": {"learning_rate": 3e-4, "warmup_steps": 5, "mini_batch": 128, "weight_decay": 0.0},
        "evaluation": {"every": 5, "k": 4},
        "checkpoint": {"every": 20},
        "verifier": {"workers": 1},
    }
    for _, changes in LADDER[: rung + 1]:
        for section, values in changes.items():
            settings[section] = {**settings.get(section, {}), **values}
    return settings


def run(folder: Path, rung: int, seed: int, steps: int, console: Console) -> None:
    from rollout.transformers_engine import TransformersEngine
    from trainer import TrainConfig, train

    model, tokenizer = warm_model(folder / f"warm-{seed}", seed, console)
    config = TrainConfig.model_validate(
        {**rung_settings(rung), "output": folder / f"rung-{rung}-seed-{seed}", "steps": steps, "seed": seed}
    )
    train(
        config,
        engine=TransformersEngine(model, tokenizer),
        problems=make_problems(4000, seed, "train"),
        eval_sets={"held-out": make_problems(300, 0, "test")},
    )


def figures(folder: Path) -> dict[str, float] | None:
    """The end of a finished run, and what it took to reach the target accuracy."""
    if not (folder / "metrics.jsonl").exists():
        return None
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if row["kind"] == "train"]
    evaluated = [row for row in rows if row["kind"] == "eval"]
    if not trained or evaluated[-1]["step"] != trained[-1]["step"]:
        return None
    tokens = np.cumsum([row["tokens_sampled"] for row in trained])
    reached = next((row["step"] for row in evaluated if row["avg_at_k"] >= TARGET and row["step"]), None)
    return {
        "avg@4": evaluated[-1]["avg_at_k"],
        "greedy": evaluated[-1]["greedy_accuracy"],
        "entropy": trained[-1]["entropy"],
        "length": evaluated[-1]["length_mean"],
        "truncated": trained[-1]["truncated_share"],
        "steps": float("nan") if reached is None else reached,
        "tokens": float("nan") if reached is None else float(tokens[reached - 1]),
    }


def interval_text(values: list[float], digits: int = 3) -> str:
    known = [value for value in values if not np.isnan(value)]
    if len(known) < 2:
        return f"{known[0]:.{digits}f}" if known else "-"
    low, high = mean_interval(known)
    missing = f" ({len(known)}/{len(values)})" if len(known) < len(values) else ""
    return f"{np.mean(known):.{digits}f} ±{(high - low) / 2:.{digits}f}{missing}"


def report(folder: Path, seeds: int, console: Console) -> None:
    """Print the table of the runs that are done."""
    names = ("avg@4", "greedy", "entropy", "length", "truncated", "steps", "tokens")
    table = Table(title=f"means ± 95 % over seeds; steps and tokens until avg@4 >= {TARGET}")
    for heading in ("", *names, "avg@4 against the rung above"):
        table.add_column(heading)
    before: dict[int, dict[str, float]] = {}
    for rung, (title, _) in enumerate(LADDER):
        found = {
            seed: values
            for seed in range(seeds)
            if (values := figures(folder / f"rung-{rung}-seed-{seed}")) is not None
        }
        if not found:
            continue
        cells = [
            interval_text([item[name] for item in found.values()], 0 if name in ("steps", "tokens") else 3)
            for name in names
        ]
        gains = [found[seed]["avg@4"] - before[seed]["avg@4"] for seed in found if seed in before]
        table.add_row(title, *cells, difference_text(gains))
        before = found
    console.print(table)


def difference_text(gains: list[float]) -> str:
    """Paired over seeds: the same warm start and problems."""
    if len(gains) < 2:
        return ""
    low, high = mean_interval(gains)
    verdict = "significant" if low > 0 or high < 0 else "not significant"
    return f"{np.mean(gains):+.3f} [{low:+.3f}, {high:+.3f}] {verdict}"


def plot(folder: Path, seeds: int) -> None:
    """Held-out avg@4 and entropy over the steps, mean over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(1, 2, figsize=(11, 4))
    for rung, (title, _) in enumerate(LADDER):
        curves: dict[str, list[list[tuple[int, float]]]] = {"eval": [], "train": []}
        for seed in range(seeds):
            path = folder / f"rung-{rung}-seed-{seed}" / "metrics.jsonl"
            rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            for kind, column in (("eval", "avg_at_k"), ("train", "entropy")):
                points = [(row["step"], row[column]) for row in rows if row["kind"] == kind]
                if points:
                    curves[kind].append(points)
        for axis, kind in zip(axes, ("eval", "train"), strict=True):
            if curves[kind]:
                length = min(map(len, curves[kind]))
                values = np.array([[value for _, value in points[:length]] for points in curves[kind]])
                axis.plot([step for step, _ in curves[kind][0][:length]], values.mean(0), label=title)
    for axis, title in zip(axes, ("held-out avg@4", "entropy, nats per token"), strict=True):
        axis.set_title(title)
        axis.set_xlabel("step")
    axes[0].legend(fontsize=7)
    picture.tight_layout()
    picture.savefig(folder / "ablation.png", dpi=120)


def main() -> None:
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=80)
    options = parser.parse_args()
    console = Console()
    for seed in range(options.seeds):
        for rung, (title, _) in enumerate(LADDER):
            run(options.output, rung, seed, options.steps, console)
            console.print(f"seed {seed}: {title}: {figures(options.output / f'rung-{rung}-seed-{seed}')}")
    report(options.output, options.seeds, console)
    plot(options.output, options.seeds)


if __name__ == "__main__":
    main()
