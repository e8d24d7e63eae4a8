"""Advantages, losses and gradients equal what the peers' own code (verl, TRL, SkyRL, oat, slime, ...) gives.

Values that a peer computed in float32 are held to 1e-6, the others to 1e-9.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from curation import pass_at_k
from tests.shared_data import shared_path
from trainer.advantages import (
    generalized_advantage_estimation,
    group_advantages,
    leave_one_out_advantages,
    whiten,
)
from trainer.logprobs import logprobs_from_logits, token_logprobs
from trainer.objective import (
    LossInputs,
    ObjectiveOptions,
    aggregate,
    importance_weights,
    kl_estimate,
    policy_loss,
    sequence_weights,
)
from trainer.rewards import kimi_length_rewards, soft_overlong_punishment


def oracle(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(shared_path(f"trainer_oracles/{name}.json").read_text())
    return values


def matrix(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_equal(ours: Tensor, theirs: Any, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(ours.double(), matrix(theirs), rtol=tolerance, atol=tolerance)


# -- advantages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_group_advantages(number: int) -> None:
    case = oracle("group_advantages")["cases"][number]
    rewards, out = matrix(case["rewards"]), case["out"]
    assert_equal(group_advantages(rewards), out["verl.grpo(norm_by_std=True, eps=1e-6, ddof=1)"])
    assert_equal(group_advantages(rewards, scale="none"), out["verl.grpo(norm_by_std=False) = Dr.GRPO"])
    assert_equal(leave_one_out_advantages(rewards), out["verl.rloo"])
    single = rewards.float()
    assert_equal(group_advantages(single, eps=1e-4), out["trl.group(eps=1e-4, ddof=1, float32)"], 1e-6)
    assert_equal(group_advantages(single, scale="none"), out["trl.none = Dr.GRPO (float32)"], 1e-6)
    assert_equal(group_advantages(single, scale="batch_std", eps=1e-4), out["trl.batch (float32)"], 1e-6)


@pytest.mark.parametrize("number", range(3))
def test_generalized_advantage_estimation(number: int) -> None:
    values = oracle("gae")
    case = values["cases"][number]
    rewards, critic, mask = (matrix(values[name]) for name in ("rewards", "values", "mask"))
    # verl holds gamma and lambda, and multiplies them, in float32.
    gamma, both = torch.tensor(case["gamma"]), torch.tensor(case["gamma"]) * torch.tensor(case["lambda"])
    advantages, returns = generalized_advantage_estimation(
        rewards, critic, mask, gamma=gamma.item(), lambda_=both.item() / gamma.item()
    )
    assert_equal(whiten(advantages, mask), case["verl.advantages_whitened"])
    assert_equal(returns, case["verl.returns"])
    row = case["slime.vanilla_gae row0 (no whitening)"]
    real = mask[0].bool()
    assert_equal(advantages[0][real], matrix(row["advantages"])[0][real].tolist(), 1e-6)


# -- losses -------------------------------------------------------------------------------------------------

TOKEN, SEQUENCE = ("token_mean", 1.0), ("sequence_mean", 1.0)
TIS = {"cap": 2.0}
LOSSES: dict[str, tuple[tuple[str, float], dict[str, Any]]] = {
    "trl.grpo(eps=.2/.28)": (SEQUENCE, {}),
    "trl.bnpo(eps=.2/.28)": (TOKEN, {}),
    "trl.dr_grpo(eps=.2/.28)": (("constant", 0.0), {}),
    "trl.dapo(eps=.2/.28)": (TOKEN, {}),
    "trl.dapo(beta=.04,k3,use_bias_correction_kl=False)": (TOKEN, {"kl_coefficient": 0.04}),
    "trl.grpo(gspo: level=sequence,eps=3e-4/4e-4)": (
        SEQUENCE,
        {"ratio_level": "sequence", "clip_low": 3e-4, "clip_high": 4e-4},
    ),
    "trl.cispo(eps_high=5)": (TOKEN, {"surrogate": "cispo", "clip_high": 5.0}),
    "trl.dapo(delta=4)": (TOKEN, {"dual_clip": 4.0}),
    "trl.dr_grpo(max_completion_length=64)": (("constant", 64.0), {}),
    "verl.vanilla(token-mean,c=3)": (TOKEN, {"dual_clip": 3.0}),
    "verl.vanilla(token-mean,c=10)": (TOKEN, {"dual_clip": 10.0}),
    "verl.vanilla(seq-mean-token-mean,c=3)": (SEQUENCE, {"dual_clip": 3.0}),
    "verl.vanilla(seq-mean-token-mean,c=10)": (SEQUENCE, {"dual_clip": 10.0}),
    "verl.vanilla(seq-mean-token-sum,c=3)": (("constant", 1.0), {"dual_clip": 3.0}),
    "verl.vanilla(seq-mean-token-sum,c=10)": (("constant", 1.0), {"dual_clip": 10.0}),
    "verl.vanilla(seq-mean-token-sum-norm,c=3,scale=64)": (("constant", 64.0), {"dual_clip": 3.0}),
    "verl.vanilla(seq-mean-token-sum-norm,c=10,scale=64)": (("constant", 64.0), {"dual_clip": 10.0}),
    "verl.vanilla(token-mean,c=10)+TIS(token,2.0)": (TOKEN, {"dual_clip": 10.0, "tis": TIS}),
    "trl.dapo+token_truncate TIS(clip_max=2)": (TOKEN, {"tis": TIS}),
}


def run_loss(case: dict[str, Any], name: str) -> tuple[Tensor, Tensor, dict[str, float]]:
    (aggregation, constant), settings = LOSSES[name]
    settings = dict(settings)
    tis = settings.pop("tis", None)
    logprobs = matrix(case["logp"]).requires_grad_()
    mask = matrix(case["mask"]).bool()
    old = matrix(case["old_logp"])
    weights = sequence_weights(
        mask.sum(-1),
        aggregation,  # type: ignore[arg-type]
        constant=constant or case["L"],
        # TRL divides by the number of rows, whether or not they have tokens.
        count_empty=name.startswith("trl."),
        eps=1e-8 if name.startswith("verl.") else 0.0,
    )
    importance = None
    if tis:
        importance = importance_weights(old, matrix(case["rollout_logp"]), mask, **tis)
    outputs = policy_loss(
        LossInputs(
            logprobs=logprobs,
            old_logprobs=old,
            advantages=matrix(case["advantages"]),
            mask=mask,
            weights=weights,
            importance=importance,
            reference_logprobs=matrix(case["ref_logp"]),
        ),
        ObjectiveOptions(**settings),
    )
    outputs.loss.backward()
    assert logprobs.grad is not None
    return outputs.loss, logprobs.grad, outputs.sums


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("number", range(3))
def test_loss_and_gradient(name: str, number: int) -> None:
    case = oracle("policy_losses")["cases"][number]
    expected = case["out"][name]
    loss, gradient, sums = run_loss(case, name)
    tolerance = 1e-9 if name.startswith("verl.") else 1e-6
    assert_equal(loss, expected["loss"], tolerance)
    assert_equal(gradient, expected["grad_wrt_logp"], tolerance)
    metrics = expected.get("metrics", {})
    tokens = sums["tokens"]
    # TRL counts responses where the ratio is a response's; we always count tokens.
    if "clip_ratio/low_mean" in metrics and "gspo" not in name:
        assert sums["clipped_low"] / tokens == pytest.approx(metrics["clip_ratio/low_mean"], abs=1e-6)
        assert sums["clipped_high"] / tokens == pytest.approx(metrics["clip_ratio/high_mean"], abs=1e-6)
    if "kl" in metrics:
        assert sums["kl_reference"] / tokens == pytest.approx(metrics["kl"], abs=1e-6)


@pytest.mark.parametrize("number", range(3))
def test_every_named_loss_is_compared(number: int) -> None:
    case = oracle("policy_losses")["cases"][number]
    per_token = {name for name, values in case["out"].items() if "per_token" in values}
    assert set(case["out"]) == set(LOSSES) | per_token


@pytest.mark.parametrize(
    ("name", "dual_clip"),
    [
        ("slime.compute_policy_loss per-token(.2/.28)", None),
        ("slime.compute_policy_loss per-token(.2/.28,c=10)", 10.0),
        ("open_instruct.compute_grpo_loss per-token(dapo .2/.28)", None),
    ],
)
@pytest.mark.parametrize("number", range(3))
def test_loss_of_each_token(name: str, dual_clip: float | None, number: int) -> None:
    """The loss of one token at a time, read off by giving every other weight 0."""
    case = oracle("policy_losses")["cases"][number]
    expected = matrix(case["out"][name]["per_token"])
    real = matrix(case["mask"]).bool()
    for column in range(case["L"]):
        mask = torch.zeros_like(real)
        mask[:, column] = real[:, column]
        for row in real[:, column].nonzero().flatten().tolist():
            weights = torch.zeros(case["B"], dtype=torch.float64)
            weights[row] = 1.0
            outputs = policy_loss(
                LossInputs(
                    logprobs=matrix(case["logp"]),
                    old_logprobs=matrix(case["old_logp"]),
                    advantages=matrix(case["advantages"]),
                    mask=mask,
                    weights=weights,
                ),
                ObjectiveOptions(dual_clip=dual_clip),
            )
            assert outputs.loss.item() == pytest.approx(expected[row, column].item(), abs=1e-6, rel=1e-6)


AGGREGATIONS: dict[str, tuple[str, bool, float]] = {
    "verl-pypi.token-mean": ("token_mean", False, 1.0),
    "verl-pypi.seq-mean-token-sum": ("constant", False, 1.0),
    "verl-pypi.seq-mean-token-mean": ("sequence_mean", False, 1.0),
    "verl-pypi.seq-mean-token-sum-norm": ("constant", False, 64.0),
    "skyrl.token_mean": ("token_mean", False, 1.0),
    "skyrl.sequence_mean": ("sequence_mean", True, 1.0),
    "skyrl.seq_mean_token_sum_norm": ("constant", True, 64.0),
    "skyrl.prompt_mean": ("group_token_mean", False, 1.0),
    "oat.drgrpo masked_sum/64 then mean": ("constant", True, 64.0),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregation(name: str) -> None:
    values = oracle("loss_aggregation")
    aggregation, count_empty, constant = AGGREGATIONS[name]
    mask = matrix(values["mask"])
    weights = sequence_weights(
        mask.sum(-1),
        aggregation,  # type: ignore[arg-type]
        groups_B=torch.tensor([0, 0, 0, 1, 1, 1]),
        constant=constant,
        count_empty=count_empty,
    )
    assert_equal(aggregate(matrix(values["loss_mat"]), mask, weights), values["out"][name])


def test_aggregation_with_the_eps_of_oat_and_the_missing_division_of_old_verl() -> None:
    """Two peers' values differ by what they add or leave out; both follow from ours."""
    values = oracle("loss_aggregation")
    loss, mask = matrix(values["loss_mat"]), matrix(values["mask"])
    mean = aggregate(loss, mask, sequence_weights(mask.sum(-1), "sequence_mean"))
    assert_equal(mean, values["out"]["oat.grpo masked_mean then mean (rows with tokens only)"], 1e-7)
    constant = aggregate(loss, mask, sequence_weights(mask.sum(-1), "constant", constant=64.0)) * 5
    name = "verl@2026-01-29.seq-mean-token-sum-norm (no division by batch)"
    assert_equal(constant, values["out"][name])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_gradient_does_not_depend_on_the_micro_batches(size: int) -> None:
    values = oracle("microbatch_invariance")
    logprobs = matrix(values["logp"]).requires_grad_()
    mask = matrix(values["mask"]).bool()
    old, advantages = matrix(values["old_logp"]), matrix(values["advantages"])
    weights = sequence_weights(mask.sum(-1), "token_mean")
    loss, tokens, low = 0.0, 0.0, 0.0
    for start in range(0, len(mask), size):
        rows = slice(start, start + size)
        outputs = policy_loss(
            LossInputs(
                logprobs=logprobs[rows],
                old_logprobs=old[rows],
                advantages=advantages[rows],
                mask=mask[rows],
                weights=weights[rows],
            ),
            ObjectiveOptions(),
        )
        outputs.loss.backward()
        loss += outputs.loss.item()
        tokens += outputs.sums["tokens"]
        low += outputs.sums["clipped_low"]
    full = values["full"]
    assert loss == pytest.approx(full["loss"], abs=1e-6)
    assert_equal(logprobs.grad, full["grad_wrt_logp"], 1e-6)  # type: ignore[arg-type]
    assert low / tokens == pytest.approx(full["metrics"]["clip_ratio/low_mean"], abs=1e-6)


# -- KL, importance, log-probabilities ----------------------------------------------------------------------


def test_kl_estimators() -> None:
    values = oracle("kl_estimators")
    logp, ref = matrix(values["logp"]), matrix(values["ref_logp"])
    mask, out = matrix(values["mask"]).bool(), values["out"]
    assert_equal(kl_estimate(logp, ref, "k1"), out["verl.k1"])
    assert_equal(kl_estimate(logp, ref, "k2"), out["verl.k2"])
    assert_equal(kl_estimate(logp, ref, "k3"), out["verl.k3"])
    assert_equal(kl_estimate(logp, ref, "k1").abs(), out["verl.abs"])
    free = kl_estimate(logp, ref, "k3", largest_log_ratio=None, largest_k3=None)
    assert_equal(kl_estimate(logp, ref, "k1")[mask], matrix(out["nemo_rl.k1(no clamp)"])[mask].tolist())
    assert_equal(kl_estimate(logp, ref, "k2")[mask], matrix(out["nemo_rl.k2(no clamp)"])[mask].tolist())
    assert_equal(free[mask], matrix(out["nemo_rl.k3(no clamp)"])[mask].tolist())
    assert_equal(kl_estimate(logp, ref, "k3")[mask], matrix(out["nemo_rl.k3(20,10)"])[mask].tolist())
    plain = matrix(values["ref_logp_plain"])
    k3 = kl_estimate(logp, plain, "k3")[mask].mean()
    assert_equal(k3, out["trl.k3 token-mean metric (no extreme tokens)"], 1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_estimators_of_slime(estimator: Any) -> None:
    """slime casts to float32 and does not clamp k1 and k2; its k3 is compared off the two extreme tokens."""
    values = oracle("kl_estimators")
    logp, ref = matrix(values["logp"]), matrix(values["ref_logp"])
    theirs = matrix(values["out"][f"slime.{estimator}"])
    ordinary = torch.ones_like(theirs, dtype=torch.bool)
    ordinary[0, :2] = False
    assert_equal(kl_estimate(logp, ref, estimator)[ordinary], theirs[ordinary].tolist(), 1e-6)
    low_variance = matrix(values["out"]["slime.low_var_kl"])
    assert_equal(kl_estimate(logp, ref, "k3")[ordinary], low_variance[ordinary].tolist(), 1e-6)


@pytest.mark.parametrize("threshold", ["2", "1.5"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("normalize", [False, True])
def test_importance_weights_of_verl(threshold: str, level: Any, normalize: bool) -> None:
    values = oracle("mismatch_weights")
    old, sampler = matrix(values["old_logp"]), matrix(values["rollout_logp"])
    mask = matrix(values["mask"])
    ours = importance_weights(
        old, sampler, mask, level=level, cap=float(threshold), normalize=normalize, eps=1e-8
    )
    assert_equal(ours, values["out"][f"verl.{level}(thr={threshold},batch_norm={normalize})"])


@pytest.mark.parametrize("mode", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize(("cap", "floor"), [("2", "None"), ("3", "None"), ("2", "0.5")])
def test_importance_weights_of_trl(mode: Any, level: Any, cap: str, floor: str) -> None:
    values = oracle("mismatch_weights")
    old, sampler = matrix(values["old_logp"]), matrix(values["rollout_logp"])
    mask = matrix(values["mask"])
    ours = importance_weights(
        old,
        sampler,
        mask,
        level=level,
        mode=mode,
        cap=float(cap),
        floor=None if floor == "None" else float(floor),
    )
    theirs = matrix(values["out"][f"trl.{level}_{mode}(max={cap},min={floor}) float32"])
    assert_equal(ours, (theirs * mask).tolist(), 1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("slime.vanilla_tis(0,2) on pg_loss=1", {"cap": 2.0}),
        ("slime.icepop(.5,2) on pg_loss=1", {"mode": "mask", "cap": 2.0, "floor": 0.5}),
        ("open_instruct.rho(clamp<=2)", {"cap": 2.0}),
        ("open_instruct.rho(icepop .5..2)", {"mode": "mask", "cap": 2.0, "floor": 0.5}),
    ],
)
def test_importance_weights_of_slime_and_open_instruct(name: str, options: dict[str, Any]) -> None:
    values = oracle("mismatch_weights")
    old, sampler = matrix(values["old_logp"]), matrix(values["rollout_logp"])
    mask = matrix(values["mask"])
    ours = importance_weights(old, sampler, mask, **options)
    assert_equal(ours, (matrix(values["out"][name]) * mask).tolist(), 1e-6)


def test_mismatch_kl_of_verl() -> None:
    values = oracle("mismatch_weights")
    old, sampler = matrix(values["old_logp"]), matrix(values["rollout_logp"])
    mask = matrix(values["mask"]).bool()
    theirs = values["verl.offpolicy_metrics"]
    assert_equal(kl_estimate(sampler, old, "k1")[mask].mean(), theirs["kl"], 1e-6)
    k3 = kl_estimate(sampler, old, "k3", largest_log_ratio=None, largest_k3=None)[mask].mean()
    assert_equal(k3, theirs["k3_kl"], 1e-6)


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_logprobs_and_entropy(chunk: int) -> None:
    """Ours from hidden states: with the identity as output layer, these are the logits."""
    values = oracle("logprobs_entropy")
    logits = matrix(values["logits"]).flatten(0, 1)
    labels = torch.tensor(values["labels"]).flatten()
    identity = torch.eye(logits.shape[1], dtype=torch.float64)
    for logprobs, entropies in (
        token_logprobs(logits, identity, None, labels, logits_at_once=chunk * logits.shape[1]),
        logprobs_from_logits(logits, labels),
    ):
        assert_equal(logprobs, matrix(values["verl.logprobs_from_logits_naive"]).flatten().tolist())
        assert_equal(entropies, matrix(values["verl.entropy_from_logits"]).flatten().tolist())
        assert_equal(logprobs, matrix(values["trl.selective_log_softmax"]).flatten().tolist(), 1e-6)
        assert_equal(entropies, matrix(values["trl.entropy_from_logits"]).flatten().tolist(), 1e-6)
    cooler, _ = token_logprobs(logits, identity, None, labels, 0.6)
    theirs = values["temperature_0.6"]["trl.selective_log_softmax(logits/0.6)"]
    assert_equal(cooler, matrix(theirs).flatten().tolist(), 1e-6)


# -- rewards and pass@k -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(5))
def test_soft_overlong_punishment(number: int) -> None:
    case = oracle("soft_overlong")["cases"][number]
    ours = [soft_overlong_punishment(length, case["L_max"], case["L_cache"]) for length in case["lengths"]]
    assert ours == pytest.approx(case["out"]["trl.get_soft_overlong_punishment"], abs=1e-9)
    inside = [length for length in case["lengths_inside"] if length <= case["L_max"]]
    ours = [soft_overlong_punishment(length, case["L_max"], case["L_cache"]) for length in inside]
    assert ours == pytest.approx(case["out"]["areal.reward_overlong_penalty (len<=Lmax only)"], abs=1e-6)
    # NeMo-RL goes on falling beyond L_max; DAPO's eq. 13 stays at -1.
    unbounded = case["out"]["nemo_rl.apply_reward_shaping"]
    ours = [soft_overlong_punishment(length, case["L_max"], case["L_cache"]) for length in case["lengths"]]
    assert ours == pytest.approx([max(-1.0, value) for value in unbounded], abs=1e-6)


@pytest.mark.parametrize("number", range(3))
def test_kimi_length_reward(number: int) -> None:
    case = oracle("kimi_length_reward")["cases"][number]
    ours = kimi_length_rewards(case["lengths"], [bool(value) for value in case["correct"]])
    assert ours == pytest.approx(case["reward"], abs=1e-9)


@pytest.mark.parametrize("number", range(8))
def test_pass_at_k(number: int) -> None:
    case = oracle("pass_at_k")["cases"][number]
    ours = pass_at_k(case["n"], case["c"], case["k"])
    assert ours.tolist() == pytest.approx(case["pass_at_k"], abs=1e-9)
