"""Settings of a curation run. Every field says what it means, its unit and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.kinds import Kind
from curation.sources import files_of
from rollout import EngineConfig, Sampling

CHAT_TEMPLATE = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{}."


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SourceConfig(_Settings):
    """One input with settings of its own."""

    path: str = Field(description="File, folder, glob, or hub data set (owner/name or owner/name:config).")
    name: str = Field(
        default="", description="Name of the source in the data set; empty takes the file's name."
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Where the fields stand: problem, answer, solution, options, tests, id, meta, each as a "
        "dotted path such as reward_model.ground_truth; fields left out are found by their usual names.",
    )
    split: str | None = Field(
        default=None,
        description="Split of a hub data set, or of a folder of several that `datasets` saved; by default train.",
    )
    licence: str = Field(default="", description="Licence of the source, for the data card.")
    verifier: str = Field(default="", description="Verifier of its problems; empty takes the run's.")
    limit: int | None = Field(default=None, ge=1, description="Rows read from it at most; by default all.")


class PromptConfig(_Settings):
    """How a problem becomes the prompt that is sampled now and trained on later."""

    template: str = Field(
        default=CHAT_TEMPLATE, description="Text of the prompt; {problem} stands for the problem's text."
    )
    system: str | None = Field(default=None, description="System message; none by default. Needs chat.")
    chat: bool = Field(
        default=True,
        description="Whether the prompt is a chat, rendered with the model's template, or plain text.",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if "{problem}" not in self.template:
            raise ValueError("template must contain {problem}")
        if self.system is not None and not self.chat:
            raise ValueError("a system message needs chat: true")
        return self


class FilterConfig(_Settings):
    """What kinds of problem are left out."""

    drop: list[Kind] = Field(
        default=[
            "multiple_choice",
            "yes_no",
            "proof",
            "multi_part",
            "figure",
            "link",
            "open_ended",
            "language",
        ],
        description="Types that are dropped; a type left out of the list is kept.",
    )
    languages: list[str] = Field(default=["en"], description="Wanted languages, ISO 639-1 codes.")
    convert_choices: bool = Field(
        default=False,
        description="Turn multiple choice into a question with a closed answer where the question allows it.",
    )
    min_characters: int = Field(default=3, ge=1, description="Shortest problem text, in characters.")
    max_characters: int = Field(default=8000, ge=1, description="Longest problem text, in characters.")


class GoldConfig(_Settings):
    """How gold answers are checked."""

    check: bool = Field(
        default=True,
        description="Drop rows whose verifier rejects their own gold, accepts a perturbed one, or can't tell.",
    )
    from_solution: bool = Field(
        default=True, description="Take a missing gold from the box or the final mark of the solution text."
    )
    unverified: Literal["keep", "drop"] = Field(
        default="keep",
        description="What becomes of rows with tests but no reference solution, once their tests reject an empty "
        "program; those that stay have extra.gold: unverified.",
    )
    timeout: float | None = Field(
        default=None, gt=0, description="CPU seconds per verdict; by default the verifier's own limit."
    )


class DuplicateConfig(_Settings):
    """How duplicates are found and settled."""

    near: bool = Field(default=True, description="Merge near duplicates, beside exact ones.")
    threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Least Jaccard similarity of character 5-grams of near duplicates.",
    )
    semantic: str = Field(
        default="",
        description="Name or folder of a sentence-transformers model that finds paraphrases as well; empty: none.",
    )
    semantic_threshold: float = Field(
        default=0.95, gt=0, le=1, description="Least cosine of the embeddings of semantic duplicates."
    )
    conflicts: Literal["drop", "majority", "first"] = Field(
        default="drop",
        description="Duplicates with different golds: drop them all, keep the gold of a strict majority (and "
        "drop where there is none), or keep the first row.",
    )


class DecontaminationConfig(_Settings):
    """What is removed for the sake of benchmarks."""

    against: list[str] = Field(
        default_factory=list, description="Benchmarks: files, folders, globs or hub data sets."
    )
    fields: dict[str, str] = Field(
        default_factory=dict, description="Where the benchmarks' problem text stands, e.g. problem: question."
    )
    drop_variants: bool = Field(
        default=False, description="Drop also rows that repeat a benchmark item with other numbers."
    )


class IntegersConfig(_Settings):
    """Questions with other answers become questions with an integer answer (the habit of DAPO-Math-17K)."""

    by: Literal["none", "rules", "model"] = Field(
        default="none",
        description="none: leave questions as they are; rules: fractions, radicals, a+b√c, multiples of π, "
        "tuples, units; model: ask the reference model for the shapes that rules don't do. All pass a round trip.",
    )
    others: Literal["keep", "drop"] = Field(
        default="keep", description="What becomes of rows whose answer is no integer and can't be made one."
    )


class GuessConfig(_Settings):
    """How often a problem is answered rightly without any reasoning."""

    tries: int = Field(default=0, ge=0, description="Guesses per problem, e.g. 8; 0 does not measure.")
    most: float = Field(
        default=0.5, gt=0, le=1, description="Largest share of right guesses; problems above are dropped."
    )
    template: str = Field(
        default="{problem}\n\nGive only the final answer within \\boxed{}, without any reasoning.",
        description="Text of the prompt; {problem} stands for the problem's text.",
    )
    max_tokens: int = Field(default=32, ge=1, description="Longest guess, in tokens.")


class DifficultyConfig(_Settings):
    """How the reference model's pass rate is measured, and what is kept by it."""

    mode: Literal["fixed", "adaptive"] = Field(
        default="adaptive",
        description="fixed: `rollouts` for every problem; adaptive: as right about what to keep, with fewer.",
    )
    rollouts: int = Field(
        default=16,
        ge=1,
        description="Rollouts per problem; when adaptive, the number whose accuracy is matched.",
    )
    most: int | None = Field(
        default=None,
        ge=1,
        description="Rollouts of one problem at most, when adaptive; by default 4 x rollouts.",
    )
    step: int = Field(default=2, ge=1, description="Rollouts per problem and round, when adaptive.")
    round_rollouts: int = Field(
        default=256,
        ge=1,
        description="Rollouts per round at least, when adaptive: few problems get more each, so that the engine "
        "stays full.",
    )
    keep: tuple[float, float] = Field(
        default=(0.05, 0.95),
        description="Pass rates that are kept, from and to: those that lie there more likely than not.",
    )
    bands: dict[str, tuple[float, float]] = Field(
        default={
            "impossible": (0.0, 0.05),
            "hard": (0.05, 0.35),
            "medium": (0.35, 0.65),
            "easy": (0.65, 0.95),
            "solved": (0.95, 1.0),
        },
        description="Difficulty bands by name: pass rate from (inclusive) and to (exclusive, but 1).",
    )
    outside: dict[str, float] = Field(
        default_factory=dict,
        description="Shares of the final set that problems outside `keep` may have, by band, e.g. solved: 0.05.",
    )

    @property
    def at_most(self) -> int:
        """Rollouts that one problem may get."""
        if self.mode == "fixed":
            return self.rollouts
        return self.most or 4 * self.rollouts

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, (low, high) in {"keep": self.keep, **self.bands}.items():
            if not 0 <= low < high <= 1:
                raise ValueError(f"{name}: {low}..{high} is not a part of 0..1")
        unknown = self.outside.keys() - self.bands.keys()
        if unknown:
            raise ValueError(f"outside: no band {sorted(unknown)[0]!r}; bands are {', '.join(self.bands)}")
        if sum(self.outside.values()) >= 1:
            raise ValueError("outside: the shares add up to 1 or more")
        return self


class BalanceConfig(_Settings):
    """Which of the kept problems make the set."""

    target: Literal["all", "flat", "gaussian", "mirrored_j", "quintiles"] = Field(
        default="all",
        description="Shape of the distribution of pass rates: all (as it is), flat, gaussian (around centre), "
        "mirrored_j (most near 0, fewer towards 1), quintiles (shares of five equal bins).",
    )
    size: int | None = Field(
        default=None, ge=1, description="Problems in the set; by default as many as the target allows."
    )
    centre: float = Field(default=0.5, ge=0, le=1, description="Pass rate at the top of gaussian.")
    width: float = Field(default=0.2, gt=0, description="Standard deviation of gaussian, in pass rate.")
    shares: tuple[float, float, float, float, float] = Field(
        default=(0.1, 0.2, 0.4, 0.2, 0.1), description="Shares of quintiles, hardest bin first."
    )
    quotas: dict[str, float] = Field(
        default_factory=dict, description="Largest share of the set per source, e.g. gsm8k_train: 0.2."
    )


class CurateConfig(_Settings):
    """Raw problems become a curated data set."""

    inputs: list[str] = Field(
        default_factory=list, description="Raw problems: files, folders, globs or hub data sets."
    )
    output: Path = Field(default=Path("curated"), description="Folder of the data set.")
    sources: list[SourceConfig] = Field(
        default_factory=list, description="Further inputs, each with settings of its own (YAML)."
    )
    fields: dict[str, str] = Field(
        default_factory=dict, description="Where fields of `inputs` stand, e.g. problem: question."
    )
    verifier: str = Field(
        default="",
        description="Verifier of every problem that names none; empty: math, and code where tests are.",
    )
    limit: int | None = Field(default=None, ge=1, description="Rows read per input at most; by default all.")
    filters: FilterConfig = Field(default_factory=FilterConfig, description="Problem types.")
    gold: GoldConfig = Field(default_factory=GoldConfig, description="Gold answers.")
    duplicates: DuplicateConfig = Field(default_factory=DuplicateConfig, description="Duplicates.")
    decontamination: DecontaminationConfig = Field(
        default_factory=DecontaminationConfig, description="Benchmarks that must not be in the set."
    )
    decontaminate_against: list[str] = Field(
        default_factory=list,
        description="Short for decontamination.against; both lists count.",
    )
    integers: IntegersConfig = Field(default_factory=IntegersConfig, description="Integer answers.")
    engine: EngineConfig | None = Field(
        default=None, description="Reference model for pass@k; without one, difficulty is not measured."
    )
    prompt: PromptConfig = Field(default_factory=PromptConfig, description="Form of the prompt.")
    sampling: Sampling = Field(
        default_factory=Sampling, description="Sampling of the reference model: that of the training to come."
    )
    guess: GuessConfig = Field(default_factory=GuessConfig, description="Guessability.")
    difficulty: DifficultyConfig = Field(default_factory=DifficultyConfig, description="Pass rates.")
    balance: BalanceConfig = Field(default_factory=BalanceConfig, description="Mix.")
    validation: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of problems in the validation split, whole templates at a time.",
    )
    format: Literal["parquet", "jsonl"] = Field(default="parquet", description="Format of the data file.")
    cache: Path | None = Field(
        default=None,
        description="Folder of rollouts and verdicts, which several data sets may share; by default in output.",
    )
    seed: int = Field(default=0, description="Seed of balance and split.")
    workers: int | None = Field(
        default=None, ge=1, description="Verifier processes; by default one per usable CPU core."
    )

    @model_validator(mode="after")
    def _has_input(self) -> Self:
        if not self.inputs and not self.sources:
            raise ValueError("inputs: name at least one file, folder, glob or hub data set")
        return self

    def all_sources(self) -> list[SourceConfig]:
        """Every input with the run's settings filled in, and with names that differ."""
        inputs = [SourceConfig(path=path, fields=self.fields) for path in self.inputs]
        sources = [
            source.model_copy(update={"path": path})
            for source in inputs + self.sources
            for path in expand(source.path)
        ]
        taken: dict[str, int] = {}
        named = []
        for source in sources:
            name = source.name or _stem(source.path)
            taken[name] = taken.get(name, 0) + 1
            if taken[name] > 1:
                name = f"{name}-{taken[name]}"
            named.append(source.model_copy(update={"name": name, "limit": source.limit or self.limit}))
        return named


def expand(location: str) -> list[str]:
    """The files of a glob, each a source of its own; anything else as it is."""
    if any(char in location for char in "*?["):
        return [str(file) for file in files_of(location)] or [location]
    return [location]


def _stem(path: str) -> str:
    """`dapo_math_17k` of `raw/dapo_math_17k.jsonl.gz`; `openai-gsm8k` of `openai/gsm8k`."""
    file = Path(path)
    if not file.suffix and not file.exists() and not path.startswith((".", "/")):
        return path.replace("/", "-").replace(":", "-")
    name = file.name
    while Path(name).suffix and not Path(name).suffix[1:].isdigit():
        name = Path(name).stem
    return name.replace("*", "all") or "input"
