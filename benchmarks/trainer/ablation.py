"""The DAPO paper's ladder at toy scale: what each part adds, with intervals over seeds.

    python -m benchmarks.trainer.ablation OUTPUT [--seeds 0 1 2 3] [--steps 60] [--report]

GRPO; + overlong filtering; + clip-higher; + soft overlong punishment; + token-level loss; + dynamic sampling,
each rung on top of the one before (Yu et al. 2025, table 1), on the task of `benchmarks.trainer.toy`. All rungs
of a seed start from the same warm-started model and see the same problems in the same order, so rungs are
compared in pairs. With dynamic sampling a run may end early, when nearly all groups are all right. A finished
run is kept as a small file and a stopped one goes on, so the command may be stopped at any time; `--report`
prints the table of what is there. It also writes `ablation.json` and `ablation.png`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.trainer.toy import MAX_TOKENS, character_tokenizer, make_problems, warm_model
from curation.statistics import mean_interval

LADDER: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
    ("GRPO", {}),
    ("+ overlong filtering", {"reward": {"filter_truncated": True}}),
    ("+ clip-higher", {"objective": {"clip_high": 0.28}}),
    ("+ soft overlong punishment", {"reward": {"filter_truncated": False, "soft_overlong": True}}),
    ("+ token-level loss", {"objective": {"aggregation": "token_mean"}}),
    ("+ dynamic sampling (DAPO)", {"dynamic_sampling": {"enabled": True}}),
)
EVALUATE_EVERY = 10
LAST = 10
"""Training steps over whose means entropy, length and truncation at the end are taken."""
COLUMNS = {"final": 3, "mean": 3, "entropy": 3, "length": 1, "truncated": 3}

Result = Mapping[str, Any]


def rung_settings(rung: int) -> dict[str, Any]:
    """Settings of a rung: GRPO's, and every change up to it. 8 updates on each rollout, so that ratios move."""
    settings: dict[str, Any] = {
        "preset": "grpo",
        "objective": {"kl_coefficient": 0.0},
        "rollout": {"prompts_per_step": 32, "group_size": 8, "max_tokens": MAX_TOKENS},
        "learner": {"learning_rate": 4e-4, "warmup_steps": 5, "mini_batch": 32, "weight_decay": 0.0},
        "evaluation": {"every": EVALUATE_EVERY, "k": 4, "greedy": False, "top_p": 1.0},
        "checkpoint": {"every": 20, "keep": 1},
        "verifier": {"workers": 1},
    }
    for _, changes in LADDER[: rung + 1]:
        for section, values in changes.items():
            settings[section] = {**settings.get(section, {}), **values}
    return settings


def run(folder: Path, rung: int, seed: int, steps: int) -> Result:
    """The result of one rung with one seed: read where it is there, otherwise by a run (which goes on)."""
    from rollout.transformers_engine import TransformersEngine
    from trainer import TrainConfig, train
    from trainer.sampler import SamplingError

    kept = folder / f"rung-{rung}-seed-{seed}.json"
    if kept.exists():
        found: Result = json.loads(kept.read_text())
        return found
    model = warm_model(folder / f"warm-{seed}", seed)
    output = folder / f"rung-{rung}-seed-{seed}"
    began = time.process_time()
    solved = False
    try:
        train(
            TrainConfig.model_validate(
                {**rung_settings(rung), "output": output, "steps": steps, "seed": seed}
            ),
            engine=TransformersEngine(model, character_tokenizer()),
            problems=make_problems(4000, seed, "train"),
            eval_sets={"held-out": make_problems(300, 0, "test")},
        )
    except SamplingError as error:
        solved = "most groups are all right" in str(error)
        if not solved:
            raise
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    result = {**result_of(rows, steps), "solved": solved, "cpu_seconds": time.process_time() - began}
    kept.write_text(json.dumps(result))
    shutil.rmtree(output)
    return result


def result_of(rows: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    """A run in a few figures, and its curves.

    A run with dynamic sampling ends when hardly a group is mixed any more; it stays where it was then.
    """
    trained = [row for row in rows if row["kind"] == "train"]
    evaluated = {row["step"]: row["avg_at_k"] for row in rows if row["kind"] == "eval"}
    tokens = np.cumsum([0, *(row["tokens_sampled"] for row in trained)])
    places = range(0, steps + 1, EVALUATE_EVERY)
    accuracy = [evaluated.get(step, evaluated[max(evaluated)]) for step in places]
    end = trained[-LAST:]
    entropies = [row["entropy"] for row in trained]
    return {
        "final": float(np.mean(accuracy[-2:])),
        "mean": float(np.mean(accuracy)),
        "entropy": float(np.mean(entropies[-LAST:])),
        "length": float(np.mean([row["length_mean"] for row in end])),
        "truncated": float(np.mean([row["truncated_share"] for row in end])),
        "evaluated": list(places),
        "accuracy": accuracy,
        "tokens": [int(tokens[min(step, len(trained))]) for step in places],
        "entropies": entropies + entropies[-1:] * (steps - len(trained)),
        "steps": len(trained),
    }


def collect(folder: Path) -> dict[int, dict[int, Result]]:
    """All finished runs: by rung, then by seed."""
    found: dict[int, dict[int, Result]] = {rung: {} for rung in range(len(LADDER))}
    for path in sorted(folder.glob("rung-*-seed-*.json")):
        _, rung, _, seed = path.stem.split("-")
        found[int(rung)][int(seed)] = json.loads(path.read_text())
    return found


def paired(first: Mapping[int, Result], second: Mapping[int, Result], column: str) -> list[float]:
    """Second minus first, for the seeds that both have."""
    return [second[seed][column] - first[seed][column] for seed in first if seed in second]


def p_value(differences: Sequence[float]) -> float:
    """Two-sided, of a paired t-test; 1 where nothing can be said."""
    from scipy.stats import ttest_1samp

    if len(differences) < 2 or np.ptp(differences) == 0:
        return 1.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare(found: Mapping[int, Mapping[int, Result]], column: str) -> list[dict[str, Any]]:
    """Each rung against the one above it, and the whole ladder; p-values corrected for all of them."""
    pairs = [(rung - 1, rung) for rung in range(1, len(LADDER))] + [(0, len(LADDER) - 1)]
    compared = []
    for first, second in pairs:
        differences = paired(found[first], found[second], column)
        if len(differences) > 1:
            low, high = mean_interval(differences)
            compared.append(
                {
                    "from": first,
                    "to": second,
                    "difference": float(np.mean(differences)),
                    "low": low,
                    "high": high,
                    "p": p_value(differences),
                }
            )
    for item, p in zip(compared, holm([item["p"] for item in compared]), strict=True):
        item["p_holm"] = p
    return compared


def cost_of_same_accuracy(slow: Mapping[int, Result], fast: Mapping[int, Result]) -> list[dict[str, float]]:
    """Steps and tokens until both runs of a seed first reach the best accuracy that both reach."""
    rows = []
    for seed in slow:
        if seed not in fast:
            continue
        target = min(max(slow[seed]["accuracy"]), max(fast[seed]["accuracy"]))
        row: dict[str, float] = {"seed": seed, "accuracy": target}
        for name, result in (("without", slow[seed]), ("with", fast[seed])):
            place = next(place for place, value in enumerate(result["accuracy"]) if value >= target)
            row[f"steps_{name}"] = result["evaluated"][place]
            row[f"tokens_{name}"] = result["tokens"][place]
        rows.append(row)
    return rows


def interval_text(values: Sequence[float], digits: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "-"
    low, high = mean_interval(values)
    return f"{np.mean(values):.{digits}f} ±{(high - low) / 2:.{digits}f}"


def difference_text(item: Mapping[str, Any]) -> str:
    verdict = "significant" if item["p_holm"] < 0.05 else "not significant"
    interval = f"{item['difference']:+.3f} [{item['low']:+.3f}, {item['high']:+.3f}]"
    return f"{interval}, p {item['p_holm']:.3f}: {verdict}"


def report(folder: Path, console: Console) -> None:
    """Print the tables of the runs that are done, and write them as JSON."""
    found = collect(folder)
    seeds = {len(runs) for runs in found.values()}
    table = Table(title=f"means ± 95 % (t) over {'-'.join(map(str, sorted(seeds)))} seeds")
    for heading in ("", "final avg@4", "mean avg@4", "entropy", "length", "truncated"):
        table.add_column(heading)
    for rung, (title, _) in enumerate(LADDER):
        values = list(found[rung].values())
        cells = [interval_text([run[name] for run in values], digits) for name, digits in COLUMNS.items()]
        table.add_row(title, *cells)
    console.print(table)
    written: dict[str, Any] = {"runs": {LADDER[rung][0]: runs for rung, runs in found.items()}}
    for column in ("final", "mean", "entropy", "truncated"):
        written[column] = compare(found, column)
        console.print(f"{column}: paired difference, 95 % interval, p corrected by Holm")
        for item in written[column]:
            title = LADDER[item["to"]][0] if item["from"] + 1 == item["to"] else "whole ladder: DAPO - GRPO"
            console.print(f"  {title:28}{difference_text(item)}")
    costs = cost_of_same_accuracy(found[len(LADDER) - 2], found[len(LADDER) - 1])
    written["same_accuracy"] = costs
    console.print("without -> with dynamic sampling, until the best accuracy that both runs of a seed reach")
    for row in costs:
        console.print(
            f"  seed {row['seed']}: avg@4 {row['accuracy']:.3f}: {row['steps_without']} -> {row['steps_with']} "
            f"steps, {row['tokens_without']:,} -> {row['tokens_with']:,} tokens"
        )
    for name in ("steps", "tokens"):
        logs = [np.log(max(1, row[f"{name}_with"]) / max(1, row[f"{name}_without"])) for row in costs]
        if len(logs) > 1:
            low, high = mean_interval(logs)
            console.print(
                f"  {name}, with / without: {np.exp(np.mean(logs)):.2f} [{np.exp(low):.2f}, {np.exp(high):.2f}]"
            )
    (folder / "ablation.json").write_text(json.dumps(written, indent=1))
    plot(folder, found)


def plot(folder: Path, found: Mapping[int, Mapping[int, Result]]) -> None:
    """Held-out avg@4 and entropy over the steps, mean over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    picture, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    for rung, (title, _) in enumerate(LADDER):
        runs = list(found[rung].values())
        if runs:
            left.plot(runs[0]["evaluated"], np.mean([run["accuracy"] for run in runs], 0), label=title)
            entropies = np.mean([run["entropies"] for run in runs], 0)
            right.plot(np.arange(1, len(entropies) + 1), entropies)
    left.set_title("held-out avg@4, mean over seeds")
    right.set_title("entropy, nats per token")
    for axis in (left, right):
        axis.set_xlabel("step")
    left.legend(fontsize=7)
    picture.tight_layout()
    picture.savefig(folder / "ablation.png", dpi=120)
    pyplot.close(picture)


def main() -> None:
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--report", action="store_true", help="only print what is there")
    options = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    for seed in () if options.report else options.seeds:
        for rung, (title, _) in enumerate(LADDER):
            result = run(options.output, rung, seed, options.steps)
            console.print(
                f"seed {seed}: {title}: final {result['final']:.3f}, entropy {result['entropy']:.3f}, "
                f"truncated {result['truncated']:.3f}, {result['cpu_seconds']:.0f} CPU-s"
            )
    report(options.output, console)


if __name__ == "__main__":
    main()
