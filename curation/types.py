"""What curation gives: a problem with its measured difficulty, and what became of every raw row."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from verifiers import Problem

Split = Literal["train", "validation"]


class PassRate(BaseModel):
    """What the reference model's rollouts say about a problem's pass rate p.

    The posterior of p is Beta(`alpha`, `beta`): the prior plus `passed` successes in `rollouts` tries.
    Rollouts whose verification failed count in `failed` and in nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollouts: int = Field(ge=0)
    passed: int = Field(ge=0)
    failed: int = Field(default=0, ge=0)
    alpha: float = Field(gt=0)
    beta: float = Field(gt=0)

    @property
    def mean(self) -> float:
        """Posterior mean of the pass rate."""
        return self.alpha / (self.alpha + self.beta)


class CuratedProblem(BaseModel):
    """One row of a curated data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problem: Problem
    pass_rate: PassRate | None = Field(default=None, description="None where no model measured it.")
    band: str = Field(default="unmeasured", description="Name of the difficulty band it fell into.")
    split: Split = "train"
    lineage: tuple[str, ...] = Field(default=(), description="Raw row ids behind it, the kept one first.")
    extra: dict[str, JsonValue] = Field(default_factory=dict)


class LineageRow(BaseModel):
    """What became of one raw row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw_id: str = Field(description="`source:line` of the row in its file.")
    source: str
    kept: bool
    stage: str = Field(default="", description="Stage that dropped it; empty when kept.")
    reason: str = Field(default="", description="Why, in words, with the value that decided.")
    problem_id: str | None = Field(default=None, description="Id of the curated problem it went into.")
