"""Continuous batching: prompts are prefilled once, their samples join free slots and leave when finished."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from rollout.forward import ModelForward
from rollout.randomness import stream_keys, uniforms
from rollout.sampler import sample_tokens
from rollout.shared_prompts import SharedPrompts
from rollout.slots import SlotCache
from rollout.stopping import StopStrings
from rollout.types import EngineError, FinishReason, Sampling

_SPARE_COLUMNS = 32
"""Fewest steps between two moves of the cache to the left."""
_FIRST_COLUMNS = 128
"""Most steps for which there is room from the beginning: short completions never move the cache."""
_SPARE_ON_CPU = 12
"""Both on a CPU: unused columns between the rows slow the reading of each step, and every move is a copy."""
_REFILL_SHARE = 8
"""Free slots are refilled, or closed up, once they are one in so many; each time costs a copy."""

# Rows of the state tensor [4, slots].
_START, _ORIGIN, _DEADLINE, _KEY = range(4)


@dataclass(frozen=True, slots=True)
class Job:
    """All samples wanted of one prompt, and how long each may become."""

    prompt_index: int
    prompt: tuple[int, ...]
    samples: range
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished row: token ids with the stop token, and their log-probabilities."""

    job: Job
    sample_index: int
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason


@dataclass(slots=True)
class _Row:
    """What a slot works on. `origin` is the column of its first token, in columns never moved."""

    job: Job
    sample_index: int
    origin: int


@dataclass
class _Prefilled:
    """A prefilled batch of prompts and the samples that still wait for a slot: (row, job, sample, key)."""

    cache: Cache | None
    """None where the samples share the prompts."""
    logits: Tensor
    waiting: deque[tuple[int, Job, int, int]]


class Decoder:
    """Runs the jobs of one `generate` call in at most `slots` rows, admitting prompts in their order."""

    def __init__(
        self,
        forward: ModelForward,
        jobs: Sequence[Job],
        sampling: Sampling,
        stop_tokens: frozenset[int],
        stop_strings: StopStrings | None,
        *,
        slots: int,
        prefill_tokens: int,
    ):
        self._forward = forward
        self._jobs = deque(jobs)
        self._sampling = sampling
        self._stop_strings = stop_strings
        self._prefill_tokens = prefill_tokens
        device = forward.device
        longest = max(len(job.prompt) for job in jobs)
        asked_again = max(len(job.samples) for job in jobs) > 1
        self._prompts = SharedPrompts() if asked_again and forward.shares_prompts(longest) else None
        self._copied = longest if self._prompts is None else 0
        # Row of the state with the first column that a slot needs.
        self._first = _START if self._prompts is None else _ORIGIN
        longest_completion = max(job.max_tokens for job in jobs)
        self._spare, room = _SPARE_COLUMNS, min(longest_completion, _FIRST_COLUMNS) + 1
        if device.type == "cpu":
            self._spare = room = _SPARE_ON_CPU
        self._slots = SlotCache(slots, self._copied + max(self._spare, room), device, self._prompts)
        self._slots.window.begin = self._slots.window.end = self._copied
        self._state = torch.zeros(4, slots, dtype=torch.int64, device=device)
        self._alive = torch.zeros(slots, dtype=torch.bool, device=device)
        self._rows: list[_Row | None] = [None] * slots
        self._alive_count = 0
        self._moved = 0
        self._prefilled: _Prefilled | None = None
        self._stop_tokens = stop_tokens
        # One entry more than the largest stop token, for all that are larger.
        self._is_stop = torch.zeros(max(stop_tokens, default=0) + 2, dtype=torch.bool, device=device)
        self._is_stop[list(stop_tokens)] = True

    def advance(self) -> list[Finished]:
        """Decode until at least one row finishes; an empty list says that all are done."""
        while True:
            finished = self._admit() if self._should_admit() else []
            if self._alive_count:
                self._close_gaps()
                finished += self._step()
            if finished or not (self._alive_count or self._is_waiting()):
                return finished

    def _is_waiting(self) -> bool:
        return bool(self._jobs) or self._prefilled is not None

    def _should_admit(self) -> bool:
        if not self._is_waiting():
            return False
        free = len(self._rows) - self._alive_count
        return not self._alive_count or free >= max(1, len(self._rows) // _REFILL_SHARE)

    def _admit(self) -> list[Finished]:
        """Fill the free slots with waiting samples, prefilling prompts as needed."""
        self._narrow()
        finished: list[Finished] = []
        free = [slot for slot, row in enumerate(self._rows) if row is None]
        while free and self._is_waiting():
            if self._prefilled is None:
                self._prefilled = self._prefill()
            waiting = self._prefilled.waiting
            count = min(len(free), len(waiting))
            taken, free = free[:count], free[count:]
            finished += self._place(taken, self._prefilled, [waiting.popleft() for _ in range(count)])
            if not waiting:
                self._prefilled = None
        self._arrange_prompts()
        return finished

    def _prefill(self) -> _Prefilled:
        """Prefill the next prompts, as many as the token budget holds once padded to the longest."""
        batch = [self._jobs.popleft()]
        width = len(batch[0].prompt)
        while self._jobs:
            width = max(width, len(self._jobs[0].prompt))
            if width * (len(batch) + 1) > self._prefill_tokens:
                break
            batch.append(self._jobs.popleft())
        cache, logits = self._forward.prefill([job.prompt for job in batch])
        waiting: deque[tuple[int, Job, int, int]] = deque()
        for row, job in enumerate(batch):
            keys = stream_keys(self._sampling.seed, job.prompt, job.samples)
            waiting.extend((row, job, sample, key) for sample, key in zip(job.samples, keys, strict=True))
        self._slots.allocate(cache)
        if self._prompts is None:
            return _Prefilled(cache, logits, waiting)
        self._prompts.add(cache, {job.prompt_index: len(job.prompt) for job in batch})
        return _Prefilled(None, logits, waiting)

    def _place(
        self, slots: list[int], prefilled: _Prefilled, entries: list[tuple[int, Job, int, int]]
    ) -> list[Finished]:
        """Put samples into `slots` and draw their first tokens from the prompts' logits."""
        window = self._slots.window
        column = window.end
        state = []
        for slot, (_, job, sample, key) in zip(slots, entries, strict=True):
            self._rows[slot] = _Row(job, sample, column + self._moved)
            state.append((column - len(job.prompt), column, column + job.max_tokens - 1, key))
        device = self._forward.device
        slot_ids = torch.tensor(slots, device=device)
        prompt_rows = torch.tensor([entry[0] for entry in entries], device=device)
        window.rows = max(window.rows, slots[-1] + 1)
        window.begin = min(window.begin, min(row[self._first] for row in state))
        self._state[:, slot_ids] = torch.tensor(state, device=device).T
        self._alive[slot_ids] = True
        self._alive_count += len(slots)
        if prefilled.cache is not None:
            self._slots.place(slot_ids, prefilled.cache, prompt_rows)
        return self._draw(slot_ids, prefilled.logits[prompt_rows])

    def _step(self) -> list[Finished]:
        """One token for every row."""
        window = self._slots.window
        if window.end + 1 >= self._slots.columns:
            self._make_room()
        state = self._state[:, : window.rows]
        logits = self._forward.decode(self._slots, state[_START], state[self._first])
        window.end += 1
        return self._draw(slice(0, window.rows), logits)

    def _draw(self, rows: Tensor | slice, logits: Tensor) -> list[Finished]:
        """Draw the tokens of `rows` in the window's end column, and take out the rows that end with them."""
        column = self._slots.window.end
        state = self._state[:, rows]
        tokens, logprobs = sample_tokens(
            logits, uniforms(state[_KEY], column - state[_ORIGIN]), self._sampling
        )
        self._slots.tokens[rows, column] = tokens
        self._slots.logprobs[rows, column] = logprobs
        alive = self._alive[rows]
        is_stop = self._is_stop[tokens.clamp(max=len(self._is_stop) - 1)]
        ended = (is_stop | (state[_DEADLINE] <= column)) & alive
        slots = range(self._slots.window.rows) if isinstance(rows, slice) else rows.tolist()
        done = [slots[i] for i in ended.nonzero().flatten().tolist()]
        if self._stop_strings is not None:
            possible = self._stop_strings.candidates(tokens) & alive & ~ended
            for slot in (slots[i] for i in possible.nonzero().flatten().tolist()):
                row = self._rows[slot]
                assert row is not None
                token_ids = self._slots.tokens[slot, row.origin - self._moved : column + 1].tolist()
                if self._stop_strings.completed(token_ids):
                    done.append(slot)
        return self._take_out(done) if done else []

    def _take_out(self, slots: list[int]) -> list[Finished]:
        """Free `slots` and read what they drew."""
        end = self._slots.window.end + 1
        rows = [row for row in (self._rows[slot] for slot in slots) if row is not None]
        first = min(row.origin for row in rows) - self._moved
        slot_ids = torch.tensor(slots, device=self._forward.device)
        tokens = self._slots.tokens[slot_ids, first:end].tolist()
        logprobs = self._slots.logprobs[slot_ids, first:end].tolist()
        self._alive[slot_ids] = False
        self._alive_count -= len(slots)
        finished = []
        for slot, row, row_tokens, row_logprobs in zip(slots, rows, tokens, logprobs, strict=True):
            self._rows[slot] = None
            skip = row.origin - self._moved - first
            finished.append(self._finish(row, row_tokens[skip:], row_logprobs[skip:]))
        return finished

    def _finish(self, row: _Row, tokens: list[int], logprobs: list[float]) -> Finished:
        if not math.isfinite(sum(logprobs)):
            raise EngineError(
                f"the model's logits are not finite for prompt {row.job.prompt_index}, sample "
                f"{row.sample_index}: the weights have diverged or overflow in this dtype"
            )
        stopped = tokens[-1] in self._stop_tokens or (
            self._stop_strings is not None and self._stop_strings.completed(tokens)
        )
        return Finished(row.job, row.sample_index, tokens, logprobs, "stop" if stopped else "length")

    def _close_gaps(self) -> None:
        """When nothing waits, move the last rows into the free slots and shorten the batch."""
        window = self._slots.window
        free = window.rows - self._alive_count
        if self._is_waiting() or free < max(1, window.rows // _REFILL_SHARE):
            return
        gaps = [slot for slot in range(self._alive_count) if self._rows[slot] is None]
        tail = [slot for slot in range(self._alive_count, window.rows) if self._rows[slot] is not None]
        if gaps:
            sources = torch.tensor(tail, device=self._forward.device)
            targets = torch.tensor(gaps, device=self._forward.device)
            self._slots.move(sources, targets)
            self._state[:, targets] = self._state[:, sources]
            for source, target in zip(tail, gaps, strict=True):
                self._rows[target], self._rows[source] = self._rows[source], None
        self._alive[: self._alive_count] = True
        self._alive[self._alive_count :] = False
        window.rows = self._alive_count
        self._narrow()
        self._arrange_prompts()

    def _arrange_prompts(self) -> None:
        """Tell the shared prompts which rows the next steps have."""
        if self._prompts is not None:
            rows = self._rows[: self._slots.window.rows]
            waiting = self._prefilled.waiting if self._prefilled is not None else ()
            self._prompts.arrange(
                [row.job.prompt_index if row is not None else None for row in rows],
                {job.prompt_index for _, job, _, _ in waiting},
            )

    def _narrow(self) -> None:
        """Begin the window at the first column that a living row still needs."""
        window = self._slots.window
        first = self._state[self._first, : window.rows][self._alive[: window.rows]]
        window.begin = int(first.min()) if len(first) else window.end

    def _make_room(self) -> None:
        """Move the window to the left, in a wider tensor where the rows have outgrown it."""
        self._narrow()
        window = self._slots.window
        # The end never lies left of the longest copied prompt, which must fit before it when it joins.
        end = max(window.end - window.begin, self._copied)
        slots = self._slots.slots if self._is_waiting() else window.rows
        distance = self._slots.shift(end, end + max(self._spare, end // 8), slots)
        self._state[:_KEY] -= distance
        self._moved += distance
