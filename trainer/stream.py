"""Groups of one generation as they are finished, verified while others are still generated."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from rollout.types import Completion, Engine, Prompt, Sampling
from trainer.groups import Account, Group
from verifiers import Problem, Verdict, VerifierPool


@dataclass(slots=True)
class _Unjudged:
    """A prompt whose responses are coming in, and their verdicts to come."""

    completions: list[Completion] = field(default_factory=list)
    verdicts: list[Future[Verdict]] = field(default_factory=list)


class GroupStream:
    """Iterates over `(position of the problem, group)` in the order in which the groups were finished.

    A group is handed out when `verify_ahead` more have been finished, so that the generation rarely waits for
    verdicts, and what had been generated when the iteration was stopped depends on the engine alone. After
    `stop` the generation ends, and the groups that were finished by then still come.
    """

    def __init__(
        self,
        engine: Engine,
        pool: VerifierPool,
        problems: Sequence[Problem],
        group_size: int,
        sampling: Sampling,
        *,
        step: int,
        verify_ahead: int,
        account: Account,
    ) -> None:
        self.engine = engine
        self.pool = pool
        self.problems = problems
        self.group_size = group_size
        self.sampling = sampling
        self.step = step
        self.verify_ahead = verify_ahead
        self.account = account
        self._stopped = False
        self._coming: dict[int, _Unjudged] = {}
        self._finished: deque[int] = deque()
        self._verdicts: dict[tuple[int, str], Future[Verdict]] = {}

    def __iter__(self) -> Iterator[tuple[int, Group]]:
        """Generate, verify, and hand out groups."""
        prompts: list[Prompt] = [cast(Prompt, problem.prompt) for problem in self.problems]
        completions = self.engine.generate(prompts, self.group_size, self.sampling)
        # Closing ends what the engine still generates. Its protocol promises an iterator that can be closed.
        with closing(completions):  # type: ignore[type-var]
            for completion in completions:
                self._add(completion)
                while len(self._finished) > self.verify_ahead and not self._stopped:
                    yield self._judged()
                if self._stopped:
                    break
        while self._finished:
            yield self._judged()

    def stop(self) -> None:
        """Generate no more."""
        self._stopped = True

    def _add(self, completion: Completion) -> None:
        self.account.count_completion(completion)
        group = self._coming.setdefault(completion.prompt_index, _Unjudged())
        group.completions.append(completion)
        # Verifiers are deterministic, and short answers repeat: the same text is judged once.
        key = (completion.prompt_index, completion.text)
        if key not in self._verdicts:
            problem = self.problems[completion.prompt_index]
            self._verdicts[key] = self.pool.submit(completion.text, problem)
        group.verdicts.append(self._verdicts[key])
        if len(group.completions) == self.group_size:
            self._finished.append(completion.prompt_index)

    def _judged(self) -> tuple[int, Group]:
        """The group that was finished first, once its verdicts are in."""
        index = self._finished.popleft()
        unjudged = self._coming.pop(index)
        began = time.monotonic()
        verdicts = [future.result() for future in unjudged.verdicts]
        self.account.seconds_verify += time.monotonic() - began
        order = sorted(range(self.group_size), key=lambda place: unjudged.completions[place].sample_index)
        return index, Group(
            problem=self.problems[index],
            completions=tuple(unjudged.completions[place] for place in order),
            verdicts=tuple(verdicts[place] for place in order),
            step=self.step,
        )
