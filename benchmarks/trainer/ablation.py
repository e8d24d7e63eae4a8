"""The DAPO paper's ladder at toy scale: what each part does, by hypotheses that were named before the runs.

    python -m benchmarks.trainer.ablation OUTPUT [--seeds 0 1 2 3 4 5 6 7] [--steps 30] [--left-out]
        [--report]

GRPO; + overlong filtering; + clip-higher; + soft overlong punishment; + token-level loss; + dynamic sampling,
each rung on top of the one before (Yu et al. 2025, table 1), on the task of `benchmarks.trainer.signs`. The soft
punishment takes the filter's place, as truncated responses could not be punished otherwise. No rung has a KL.

All runs start from the same warm-started model, as in the paper; seeds differ in the problems, their order and
all sampling. The rungs of a seed see the same problems in the same order, so rungs are compared in pairs. Each
rung has the metric that the paper says it moves (`HYPOTHESES`); Holm's correction is over these. All else that is
printed is to look at, not to conclude from: among it, with `--left-out`, DAPO without each of its parts.

A finished run is kept as a small file and a stopped one goes on, so the command may be stopped at any time;
`--report` prints the tables of what is there. It also writes `ablation.json`, and `ablation.png`, for which
matplotlib is needed (`pip install matplotlib`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.trainer.ablation_report import plot_ladder, report
from benchmarks.trainer.kept import collect, kept_result, metric_rows
from benchmarks.trainer.paired import Hypothesis, Result
from benchmarks.trainer.signs import (
    CHARACTERS,
    MAX_TOKENS,
    make_problems,
    warm_model,
    wasted_characters,
)
from benchmarks.trainer.toy import character_tokenizer

LADDER: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
    ("GRPO", {}),
    ("+ overlong filtering", {"reward": {"filter_truncated": True}}),
    ("+ clip-higher", {"objective": {"clip_high": 0.28}}),
    ("+ soft overlong punishment", {"reward": {"filter_truncated": False, "soft_overlong": True}}),
    ("+ token-level loss", {"objective": {"aggregation": "token_mean"}}),
    ("+ dynamic sampling (DAPO)", {"dynamic_sampling": {"enabled": True}}),
)
LEFT_OUT: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
    ("clip-higher", {"objective": {"clip_high": 0.2}}),
    ("soft overlong punishment", {"reward": {"soft_overlong": False}}),
    ("token-level loss", {"objective": {"aggregation": "sequence_mean"}}),
)
"""What takes a part out of DAPO; without dynamic sampling it is the rung before the last."""
VARIANTS = len(LADDER) + len(LEFT_OUT)
HYPOTHESES = (
    Hypothesis(0, 1, "mean", +1, "long responses are the reliable ones; cut ones unpunished, they spread"),
    Hypothesis(1, 2, "entropy", +1, "rare tokens may grow faster, so entropy falls less"),
    Hypothesis(1, 2, "pass", +1, "with the entropy, the chance that one of eight is right stays up"),
    Hypothesis(2, 3, "truncated", -1, "fewer responses are cut off"),
    Hypothesis(
        3, 4, "wasted", -1, "junk in long responses is punished by its length, so there is less of it"
    ),
    Hypothesis(4, 5, "mean", +1, "every group teaches, so accuracy rises in fewer steps"),
    Hypothesis(0, 5, "final", +1, "the whole ladder ends higher"),
)
"""Named, with the metric and the sign that the paper leads to expect, before the seeds of the table were run."""
EVALUATE_EVERY = 5
HELD_OUT = 100
WARM_SEED = 0


def rung_settings(rung: int) -> dict[str, Any]:
    """Settings of a rung: GRPO's, and every change up to it; beyond the ladder, DAPO's with a part left out.

    8 updates on each rollout, so that ratios move.
    """
    settings: dict[str, Any] = {
        "preset": "grpo",
        "objective": {"kl_coefficient": 0.0},
        "rollout": {"prompts_per_step": 32, "group_size": 8, "max_tokens": MAX_TOKENS},
        "learner": {"learning_rate": 2e-4, "warmup_steps": 5, "mini_batch": 32, "weight_decay": 0.0},
        "evaluation": {"every": EVALUATE_EVERY, "k": 8, "greedy": False, "top_p": 1.0},
        "checkpoint": {"every": 20, "keep": 1},
        "verifier": {"workers": 1},
    }
    left_out = LEFT_OUT[rung - len(LADDER) :][:1] if rung >= len(LADDER) else ()
    for _, changes in (*LADDER[: rung + 1], *left_out):
        for section, values in changes.items():
            settings[section] = {**settings.get(section, {}), **values}
    return settings


def name_of(rung: int) -> str:
    return LADDER[rung][0] if rung < len(LADDER) else f"DAPO without {LEFT_OUT[rung - len(LADDER)][0]}"


def run(folder: Path, rung: int, seed: int, steps: int) -> Result:
    """The result of one rung with one seed: read where it is there, otherwise by a run (which goes on)."""

    def result(output: Path) -> dict[str, Any]:
        train_rung(folder, output, rung, seed, steps)
        wasted = [wasted_in(path) for path in sorted((output / "rollouts").glob("step-*.parquet"))]
        return result_of(metric_rows(output), wasted, steps)

    return kept_result(folder, rung, seed, result, kind="rung")


def train_rung(folder: Path, output: Path, rung: int, seed: int, steps: int) -> None:
    """Train one rung with one seed in `output`; the warm-started model is kept in `folder`."""
    from rollout.transformers_engine import TransformersEngine
    from trainer import TrainConfig, train
    from trainer.sampler import SamplingError

    settings = {**rung_settings(rung), "output": output, "steps": steps, "seed": seed}
    try:
        train(
            TrainConfig.model_validate(settings),
            engine=TransformersEngine(
                warm_model(folder / "warm", WARM_SEED), character_tokenizer(CHARACTERS)
            ),
            problems=make_problems(4000, seed, "train"),
            eval_sets={"held-out": make_problems(HELD_OUT, 0, "test")},
        )
    except SamplingError as error:
        # Hardly a group is mixed any more. The run stays where it is; the report says how often that was.
        print(f"seed {seed}: {name_of(rung)}: {error}", file=sys.stderr)


def wasted_in(path: Path) -> float:
    """Share of a step's sampled characters that is junk."""
    import pyarrow.parquet as pq

    responses = pq.read_table(path, columns=["response"])["response"].to_pylist()
    return sum(map(wasted_characters, responses)) / max(1, sum(map(len, responses)))


def result_of(rows: Sequence[Mapping[str, Any]], wasted: Sequence[float], steps: int) -> dict[str, Any]:
    """A run in a few figures, and its curves; a run that ended early stays where it was."""
    trained = [row for row in rows if row["kind"] == "train"]
    evaluated = {row["step"]: row for row in rows if row["kind"] == "eval"}
    tokens = np.cumsum([0, *(row["tokens_sampled"] for row in trained)])
    places = range(0, steps + 1, EVALUATE_EVERY)
    held = [evaluated.get(step, evaluated[max(evaluated)]) for step in places]
    accuracy, passed = ([row[name] for row in held] for name in ("avg_at_k", "pass_at_k"))
    curves = {name: [row[name] for row in trained] for name in ("entropy", "length_mean", "truncated_share")}
    clipped = [row["clip_fraction_high"] for row in trained]
    return {
        "final": float(np.mean(accuracy[-2:])),
        "mean": float(np.mean(accuracy)),
        "pass": float(np.mean(passed[-2:])),
        "entropy": float(np.mean(curves["entropy"])),
        "length": float(np.mean(curves["length_mean"])),
        "truncated": float(np.mean(curves["truncated_share"])),
        "wasted": float(np.mean(wasted)),
        "clipped": float(np.mean(clipped)),
        "mixed": sum(row["groups_mixed"] for row in trained) / sum(row["prompts_sampled"] for row in trained),
        "evaluated": list(places),
        "accuracy": accuracy,
        "passed": passed,
        "tokens": [int(tokens[min(step, len(trained))]) for step in places],
        "entropies": curves["entropy"] + curves["entropy"][-1:] * (steps - len(trained)),
        "steps": len(trained),
        "ended_early": len(trained) < steps,
    }


def main() -> None:
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--left-out", action="store_true", help="also DAPO with each of its parts left out")
    parser.add_argument("--report", action="store_true", help="only print what is there")
    options = parser.parse_args()
    if find_spec("matplotlib") is None:
        sys.exit("the picture needs matplotlib: `pip install matplotlib`")
    console = Console() if sys.stdout.isatty() else Console(width=120)
    rungs = range(VARIANTS if options.left_out else len(LADDER))
    for seed in () if options.report else options.seeds:
        for rung in rungs:
            result = run(options.output, rung, seed, options.steps)
            console.print(
                f"seed {seed}: {name_of(rung)}: final {result['final']:.3f}, entropy {result['entropy']:.3f}, "
                f"truncated {result['truncated']:.3f}, {result['cpu_seconds']:.0f} CPU-s"
            )
    found, titles = collect(options.output, VARIANTS, kind="rung"), [title for title, _ in LADDER]
    report(options.output, found, titles, [part for part, _ in LEFT_OUT], HYPOTHESES, console)
    plot_ladder(options.output / "ablation.png", found, titles)


if __name__ == "__main__":
    main()
