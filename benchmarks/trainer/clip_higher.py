"""Clip-higher where the clip binds: does the symmetric clip hold rare right answers back, as the paper says?

    python -m benchmarks.trainer.clip_higher OUTPUT [--seeds 0 1 ... 15] [--steps 30] [--report]
        [--follow-up | --confirm]

Section 3.1 of DAPO (Yu et al. 2025): with ratios clipped at 1.2, a token of probability 0.01 comes to 0.012 at
most in the updates on a rollout, while one of 0.9 is never held back. So exploration is lost and entropy
collapses; an upper bound of 1.28 leaves rare tokens more room. Three runs of each seed differ in that bound
alone: 0.2, 0.28, and none as a bracket. The task is that of `benchmarks.trainer.habit`; all its prompts come in
every step with 16 samples each, and each rollout is gone through 16 times, an update each, so that ratios move
up to the bound in small steps. All else is GRPO without KL, to which the paper adds clip-higher. Responses have
one token, so how token losses are aggregated makes no difference; without dynamic sampling all runs learn from
the same prompts.

The regime was chosen by symmetric runs of one seed alone (100, in no table): of those that learnt steadily, that
with the largest share of tokens at the upper bound. `HYPOTHESES` were written down before any run with another
bound. Seeds differ in the model, the right answers and all sampling; Holm's correction is over the hypotheses.
With `--follow-up` those two that came closest on seeds 0 to 15 are put to seeds of their own, without the bracket;
with `--confirm` the one that came closest in both tables is put to 48 others. Each needs an OUTPUT of its own.

A finished run is kept as a small file and a stopped one goes on, so the command may be stopped at any time;
`--report` prints the tables of what is there. It also writes `clip_higher.json`, and `clip_higher.png`, for
which matplotlib is needed (`pip install matplotlib`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.trainer.habit import CHARACTERS, HABIT, MAX_TOKENS, PROMPTS, make_problems, warm_model
from benchmarks.trainer.kept import collect, kept_result, metric_rows
from benchmarks.trainer.paired import (
    Hypothesis,
    Panel,
    Result,
    Runs,
    first_reached,
    judge,
    plot,
    print_differences,
    print_hypotheses,
    print_means,
)
from benchmarks.trainer.toy import character_tokenizer
from curation.statistics import pass_at_k

ARMS: tuple[tuple[str, float], ...] = (("0.2 (symmetric)", 0.2), ("0.28 (clip-higher)", 0.28), ("none", 1e9))
"""Upper bounds: title and `clip_high`."""
TITLES = [title for title, _ in ARMS]
PAIRS = {(0, 1): "0.28 - 0.2", (0, 2): "none - 0.2", (1, 2): "none - 0.28"}
GROUP = 16
FINAL = 5
"""Last steps whose mean is called final."""
LEVELS = 20
"""Accuracies at which entropies are compared."""
COLUMNS = {
    "final": ("final avg@16", 3),
    "mean": ("mean avg@16", 3),
    "pass": ("final pass@8", 3),
    "distinct": ("final distinct right", 3),
    "rare": ("mean rare right", 3),
    "entropy": ("entropy", 3),
    "matched": ("entropy, same accuracy", 3),
    "clipped": ("at upper bound", 4),
    "clipped_low": ("at lower bound", 4),
}
"""Figures of a run: heading and digits."""
HYPOTHESES = (
    Hypothesis(0, 1, "entropy", +1, "rare tokens may grow faster, so entropy falls less"),
    Hypothesis(0, 1, "matched", +1, "not only because less has been learnt"),
    Hypothesis(0, 1, "pass", +1, "with the entropy, the chance that one of eight is right stays up"),
    Hypothesis(0, 1, "final", +1, "what exploration finds is learnt"),
    Hypothesis(0, 1, "distinct", +1, "more than one way stays alive"),
    Hypothesis(0, 1, "rare", +1, "rare right answers grow faster"),
)
FOLLOW_UP = tuple(item for item in HYPOTHESES if item.metric in ("rare", "matched"))
"""Named after the table of the first seeds and before any run of `FOLLOW_UP_SEEDS`."""
CONFIRM = tuple(item for item in HYPOTHESES if item.metric == "rare")
"""Named after the tables of the first seeds and of the follow-up, before any run of `CONFIRM_SEEDS`."""
SEEDS, FOLLOW_UP_SEEDS, CONFIRM_SEEDS = range(16), range(16, 36), range(36, 84)


def arm_settings(arm: int) -> dict[str, Any]:
    return {
        "preset": "grpo",
        "objective": {"kl_coefficient": 0.0, "clip_high": ARMS[arm][1]},
        "rollout": {"prompts_per_step": PROMPTS, "group_size": GROUP, "max_tokens": MAX_TOKENS},
        "learner": {
            "learning_rate": 5e-4,
            "warmup_steps": 0,
            "mini_batch": PROMPTS * GROUP,
            "epochs": 16,
            "weight_decay": 0.0,
        },
        "checkpoint": {"every": 10, "keep": 1},
        "verifier": {"workers": 1},
    }


def run(folder: Path, arm: int, seed: int, steps: int) -> Result:
    """The result of one arm with one seed: read where it is there, otherwise by a run (which goes on)."""

    def result(output: Path) -> dict[str, Any]:
        from rollout.transformers_engine import TransformersEngine
        from trainer import TrainConfig, train

        train(
            TrainConfig.model_validate({**arm_settings(arm), "output": output, "steps": steps, "seed": seed}),
            engine=TransformersEngine(
                warm_model(folder / f"warm-{seed}", seed), character_tokenizer(CHARACTERS)
            ),
            problems=make_problems(seed),
        )
        sampled = [sampled_in(path) for path in sorted((output / "rollouts").glob("step-*.parquet"))]
        return result_of(metric_rows(output), sampled)

    return kept_result(folder, arm, seed, result, kind="arm")


def sampled_in(path: Path) -> dict[str, float]:
    """What a step's samples say of the policy before its updates; every prompt is in every step."""
    import pyarrow.parquet as pq

    groups: dict[str, list[str | None]] = {}
    for row in pq.read_table(path, columns=["problem_id", "response", "reward"]).to_pylist():
        right = row["response"] if row["reward"] > 0 else None
        groups.setdefault(row["problem_id"], []).append(right)
    return figures_of(list(groups.values()))


def figures_of(groups: Sequence[Sequence[str | None]]) -> dict[str, float]:
    """Figures of the groups' right responses (None: a wrong one)."""
    right = [[response for response in group if response is not None] for group in groups]
    return {
        "accuracy": float(
            np.mean([len(kept) / len(group) for kept, group in zip(right, groups, strict=True)])
        ),
        "passed": float(
            np.mean(pass_at_k([len(group) for group in groups], [len(kept) for kept in right], 8))
        ),
        "distinct": float(np.mean([len(set(kept)) for kept in right])),
        "rare": float(np.mean([response not in (None, HABIT) for group in groups for response in group])),
    }


def result_of(rows: Sequence[Mapping[str, Any]], sampled: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A run in a few figures, and its curves."""
    trained = [row for row in rows if row["kind"] == "train"]
    curves = {name: [step[name] for step in sampled] for name in ("accuracy", "passed", "distinct", "rare")}
    entropies = [row["entropy"] for row in trained]
    clipped = [row["clip_fraction_high"] for row in trained]
    return {
        "final": float(np.mean(curves["accuracy"][-FINAL:])),
        "mean": float(np.mean(curves["accuracy"])),
        "pass": float(np.mean(curves["passed"][-FINAL:])),
        "distinct": float(np.mean(curves["distinct"][-FINAL:])),
        "rare": float(np.mean(curves["rare"])),
        "entropy": float(np.mean(entropies)),
        "clipped": float(np.mean(clipped)),
        "clipped_low": float(np.mean([row["clip_fraction_low"] for row in trained])),
        "accuracies": curves["accuracy"],
        "passes": curves["passed"],
        "entropies": entropies,
        "clips": clipped,
    }


def with_matched_entropy(found: Runs) -> dict[int, dict[int, Result]]:
    """The runs of the seeds that all arms have, with `matched`: the mean entropy at the same accuracies.

    These are `LEVELS` evenly spaced ones, from the highest start of the seed's runs to their lowest best. A run's
    entropy at an accuracy is that at the step, or between the two, where it is first reached.
    """
    seeds = sorted(set.intersection(*(set(runs) for runs in found.values())))
    matched: dict[int, dict[int, Result]] = {arm: {} for arm in found}
    for seed in seeds:
        accuracies = [runs[seed]["accuracies"] for runs in found.values()]
        low, high = max(curve[0] for curve in accuracies), min(max(curve) for curve in accuracies)
        levels = np.linspace(low, high, LEVELS + 1)[1:]
        for arm, runs in found.items():
            matched[arm][seed] = {**runs[seed], "matched": entropy_at(runs[seed], levels.tolist())}
    return matched


def entropy_at(result: Result, levels: Sequence[float]) -> float:
    """Mean of the entropies where the run first reaches these accuracies."""
    steps = list(range(len(result["entropies"])))
    reached = [first_reached(steps, result["accuracies"], level) for level in levels]
    return float(np.mean(np.interp(reached, steps, result["entropies"])))


def report(folder: Path, found: Runs, hypotheses: Sequence[Hypothesis], console: Console) -> None:
    """Print the tables of these runs, of all arms or of the first two, and write them as JSON."""
    titles = TITLES[: len(found)]
    pairs = {pair: title for pair, title in PAIRS.items() if max(pair) < len(found)}
    print_means(found, titles, COLUMNS, console)
    judged = judge(found, hypotheses)
    print_hypotheses(judged, pairs, COLUMNS, console)
    explored = print_differences(found, pairs, COLUMNS, console)
    written = {
        "runs": dict(zip(titles, found.values(), strict=True)),
        "hypotheses": judged,
        "differences": explored,
    }
    (folder / "clip_higher.json").write_text(json.dumps(written, indent=1))


def plot_arms(path: Path, found: Runs) -> None:
    """What the arms' policies do over the steps."""
    arms = tuple(found)
    panels = (
        Panel("avg@16 over all prompts", arms, "accuracies"),
        Panel("pass@8 over all prompts", arms, "passes"),
        Panel("entropy (nats)", arms, "entropies", is_share=False),
        Panel("share of tokens at the upper bound", arms, "clips"),
    )
    plot(path, found, TITLES, panels)


def main() -> None:
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--report", action="store_true", help="only print what is there")
    looks = parser.add_mutually_exclusive_group()
    looks.add_argument("--follow-up", action="store_true", help="the first two arms on seeds of their own")
    looks.add_argument("--confirm", action="store_true", help="one hypothesis on 48 further seeds")
    options = parser.parse_args()
    if find_spec("matplotlib") is None:
        sys.exit("the picture needs matplotlib: `pip install matplotlib`")
    console = Console() if sys.stdout.isatty() else Console(width=120)
    hypotheses, seeds, arms = (
        (FOLLOW_UP, FOLLOW_UP_SEEDS, 2)
        if options.follow_up
        else (CONFIRM, CONFIRM_SEEDS, 2)
        if options.confirm
        else (HYPOTHESES, SEEDS, len(ARMS))
    )
    for seed in () if options.report else options.seeds or seeds:
        for arm, (title, _) in enumerate(ARMS[:arms]):
            result = run(options.output, arm, seed, options.steps)
            console.print(
                f"seed {seed}: {title}: final {result['final']:.3f}, entropy {result['entropy']:.3f}, "
                f"at upper bound {result['clipped']:.4f}, {result['cpu_seconds']:.0f} CPU-s"
            )
    found = with_matched_entropy(collect(options.output, arms, kind="arm"))
    report(options.output, found, hypotheses, console)
    plot_arms(options.output / "clip_higher.png", found)


if __name__ == "__main__":
    main()
