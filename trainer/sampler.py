"""Dynamic sampling (DAPO, section 3.2): sample until a step has its constant number of mixed groups.

Generation is a stream. Responses go to the verifier as they finish, while others are still generated; a
group is decided on `verify_ahead` groups after it was finished, so that generation waits for verdicts only
when they are far behind, and what is accepted does not depend on the verifier's speed. When the step is full
the stream is closed: finished mixed groups that are too many wait for the next step with the policy version
that drew them, prompts that were not finished go back to the front of the queue.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rollout.types import Engine, Sampling
from trainer.bands import BandOrder
from trainer.config import DynamicSamplingConfig, RolloutConfig
from trainer.groups import Account, Group, describe_histogram
from trainer.order import PromptOrder
from trainer.stream import GroupStream
from verifiers import InputError, Problem, VerifierPool


class SamplingError(InputError):
    """A step could not be filled; the message is one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a step sampled."""

    step: int
    groups: tuple[Group, ...]
    """Groups to learn from."""
    left_out: tuple[Group, ...]
    """Groups sampled now that are all right, all wrong, or could not be judged."""
    pending: tuple[Group, ...]
    """Mixed groups that wait for the next step."""
    account: Account
    seconds: float
    """Wall time of the collection."""


class DynamicSampler:
    """Fills steps with groups; see the module's text."""

    def __init__(
        self,
        engine: Engine,
        problems: Sequence[Problem],
        pool: VerifierPool,
        rollout: RolloutConfig,
        dynamic: DynamicSamplingConfig,
        seed: int,
        bands: Sequence[str | None] | None = None,
    ) -> None:
        name, times = Counter(problem.id for problem in problems).most_common(1)[0] if problems else ("", 0)
        if times > 1:
            raise InputError(f"{times} problems have the id {name!r}; give every problem its own")
        self.engine = engine
        self.problems = problems
        self.pool = pool
        self.rollout = rollout
        self.dynamic = dynamic
        self.seed = seed
        self.order: PromptOrder | BandOrder = PromptOrder(len(problems), seed)
        if rollout.bands:
            self.order = BandOrder(bands or [None] * len(problems), rollout.bands, seed)
        self.pending: list[Group] = []
        self._mixed_share = 0.5
        """Running mean of the share of mixed groups, by which the size of a round is chosen."""

    def collect(self, step: int) -> Rollout:
        """Sample, verify and filter until `prompts_per_step` groups are there.

        Raises:
            SamplingError: `max_rounds` rounds did not fill the step.
        """
        began = time.monotonic()
        account = Account()
        accepted, left_out = self._unexpired_pending(step, account), list[Group]()
        while len(accepted) < self.rollout.prompts_per_step:
            if account.rounds == self.dynamic.max_rounds:
                raise SamplingError(self._explain(step, accepted, account))
            self._run_round(step, accepted, left_out, account)
        used, surplus = accepted[: self.rollout.prompts_per_step], accepted[self.rollout.prompts_per_step :]
        self.pending = surplus if self.dynamic.enabled and self.dynamic.max_age else []
        account.surplus_used = sum(group.step < step for group in used)
        account.surplus_kept = len(self.pending)
        account.surplus_dropped += len(surplus) - len(self.pending)
        account.tokens_used = sum(group.tokens for group in used)
        return Rollout(
            step, tuple(used), tuple(left_out), tuple(self.pending), account, time.monotonic() - began
        )

    def state(self) -> dict[str, Any]:
        """Position and memory as plain JSON values; `pending` groups are apart."""
        return {"order": self.order.state(), "mixed_share": self._mixed_share}

    def restore(self, state: dict[str, Any], pending: Sequence[Group]) -> None:
        """Go on where `state` was taken."""
        self.order.restore(state["order"])
        self._mixed_share = state["mixed_share"]
        self.pending = list(pending)

    def _unexpired_pending(self, step: int, account: Account) -> list[Group]:
        fresh = [group for group in self.pending if step - group.step <= self.dynamic.max_age]
        account.surplus_dropped += len(self.pending) - len(fresh)
        return fresh

    def _run_round(self, step: int, accepted: list[Group], left_out: list[Group], account: Account) -> None:
        """Ask for one round of prompts, and take its groups in the order in which they were finished."""
        asked = self.order.take(self._round_size(len(accepted)))
        account.prompts_asked += len(asked)
        stream = GroupStream(
            self.engine,
            self.pool,
            [self.problems[index] for index in asked],
            self.rollout.group_size,
            self._sampling(step, account.rounds),
            step=step,
            verify_ahead=self.dynamic.verify_ahead,
            account=account,
        )
        account.rounds += 1
        unfinished = dict(enumerate(asked))
        mixed = 0
        for position, group in stream:
            index = unfinished.pop(position)
            account.count_group(group)
            mixed += group.kind == "mixed"
            if not self.dynamic.enabled or group.kind == "mixed":
                accepted.append(group)
            else:
                left_out.append(group)
            if group.kind == "correct":
                self.order.rest(index, self.dynamic.rest_epochs)
            if len(accepted) >= self.rollout.prompts_per_step:
                stream.stop()
        self.order.give_back(list(unfinished.values()))
        account.prompts_returned += len(unfinished)
        sampled = len(asked) - len(unfinished)
        self._mixed_share += 0.5 * (mixed / max(1, sampled) - self._mixed_share)

    def _round_size(self, have: int) -> int:
        missing = self.rollout.prompts_per_step - have
        if not self.dynamic.enabled:
            return missing
        if self.dynamic.round_prompts is not None:
            return self.dynamic.round_prompts
        # One deviation more than the expected number: a second round costs more than a few groups too many.
        return math.ceil((missing + math.sqrt(missing)) / max(self._mixed_share, 0.1))

    def _sampling(self, step: int, number: int) -> Sampling:
        """Every round draws from a seed of its own: a prompt that comes again gets other responses."""
        text = f"{self.seed}:{step}:{number}"
        return Sampling(
            temperature=self.rollout.temperature,
            top_p=self.rollout.top_p,
            top_k=self.rollout.top_k,
            max_tokens=self.rollout.max_tokens,
            stop=self.rollout.stop,
            seed=int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) >> 1,
        )

    def _explain(self, step: int, accepted: Sequence[Group], account: Account) -> str:
        histogram = describe_histogram(account.histogram, self.rollout.group_size)
        if account.groups_correct > account.groups_wrong:
            advice = "most groups are all right: give harder problems or set dynamic_sampling.rest_epochs"
        else:
            advice = "most groups are all wrong: give easier problems, more max_tokens or a warm start"
        return (
            f"step {step}: only {len(accepted)} of {self.rollout.prompts_per_step} groups were mixed after "
            f"{account.rounds} rounds and {account.prompts_sampled} prompts; right responses per group: "
            f"{histogram}; {advice}; or raise dynamic_sampling.max_rounds, or lower rollout.prompts_per_step"
        )
