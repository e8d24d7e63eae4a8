"""A task, a tokenizer and a model small enough for many runs: running sums modulo 10, worked out step by step.

    3+4 -9 =...  ->  +47-98####8          sign, number, running total for each step; then the answer

The prompt gives each step three characters, as the work does, so that the model can learn to copy. It is taught
in two parts: the skill (work on every problem), then manners, of which only some are good: a bare guess, work,
and work that rambles on, often beyond the limit. One step in seven of that second part has a slip, and it learns
to slip as often; longer sums need every step right, so pass rates spread widely.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verifiers import Problem

CHARACTERS = "0123456789+-=#~. "
MAX_TOKENS = 36
LONGEST = 9
"""Numbers of the longest sum: its work and answer take 30 tokens."""
SLIPS = 0.15
"""Share of the steps with a wrong total in the manners that are taught."""
SKILL_STEPS = 1000
Lesson = tuple[list[tuple[str, str]], dict[str, Any]]
TRL_DAPO: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "loss_type": "dapo",
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "beta": 0.0,
    "gradient_checkpointing": False,
    "report_to": [],
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
}
"""Arguments of TRL's GRPOConfig for a run that does what ours does, and nothing beside."""


def make_problem(generator: random.Random) -> tuple[str, list[str]]:
    """A prompt, and the steps of the work."""
    numbers = [generator.randrange(10) for _ in range(generator.randint(2, LONGEST))]
    total = numbers[0]
    text, steps = str(total), []
    for number in numbers[1:]:
        sign = generator.choice((1, -1))
        total = (total + sign * number) % 10
        term = ("+" if sign > 0 else "-") + str(number)
        text += term + " "
        steps.append(term + str(total))
    return (text + "=").ljust(1 + 3 * LONGEST, "."), steps


def make_pairs(
    count: int, seed: int, *, guesses: float, rambling: float, slips: float
) -> list[tuple[str, str]]:
    """Prompts and responses: shares `guesses` and `rambling`, the others plain work; `slips` in each step."""
    generator = random.Random(seed)
    pairs = []
    for _ in range(count):
        prompt, steps = make_problem(generator)
        slipped = _slip(steps, slips, generator)
        work, answer = "".join(slipped), "####" + slipped[-1][-1]
        manner = generator.random()
        if manner < guesses:
            pairs.append((prompt, f"####{generator.randrange(10)}"))
        elif manner < guesses + rambling:
            pairs.append((prompt, work + "~" * generator.randint(5, 40) + answer))
        else:
            pairs.append((prompt, work + answer))
    return pairs


def _slip(steps: list[str], slips: float, generator: random.Random) -> list[str]:
    """The same terms with totals that go wrong now and then, and go on from there."""
    shift, slipped = 0, []
    for step in steps:
        if generator.random() < slips:
            shift += generator.randrange(1, 10)
        slipped.append(step[:-1] + str((int(step[-1]) + shift) % 10))
    return slipped


def make_problems(count: int, seed: int, name: str) -> list[Problem]:
    """Problems to train or to be evaluated on."""
    generator = random.Random(f"{name}:{seed}")
    made = [make_problem(generator) for _ in range(count)]
    return [
        Problem(id=f"{name}-{number}", prompt=prompt, answer=steps[-1][-1], verifier="exact")
        for number, (prompt, steps) in enumerate(made)
    ]


def character_tokenizer(characters: str = CHARACTERS, **options: Any) -> Any:
    """One token per character."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<eos>": 1, **{text: number + 2 for number, text in enumerate(characters)}}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", **options
    )


def make_model(seed: int, vocabulary: int, **sizes: Any) -> Any:
    """A Qwen2 model with random weights, 4 heads, tied embeddings."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocabulary,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        **sizes,
    )
    return Qwen2ForCausalLM(config)


def warm_model(folder: Path, seed: int) -> Any:
    """The seed's warm-started model of this task, made once and kept in `folder`."""

    def lessons() -> Iterator[Lesson]:
        skill = make_pairs(60_000, seed, guesses=0.0, rambling=0.1, slips=0.0)
        manners = make_pairs(10_000, seed + 1000, guesses=0.6, rambling=0.25, slips=SLIPS)
        yield skill, {"steps": SKILL_STEPS, "batch_size": 64, "schedule": "constant"}
        yield manners, {"steps": 250, "batch_size": 64, "learning_rate": 1e-3}

    return taught_model(folder, seed, CHARACTERS, 128, lessons())


def taught_model(folder: Path, seed: int, characters: str, positions: int, lessons: Iterator[Lesson]) -> Any:
    """A model of 84k parameters warm-started on one lesson after the other, made once and kept in `folder`.

    `lessons` gives pairs and settings of `WarmStartConfig`, and is not asked where the model is there.
    """
    from transformers import AutoModelForCausalLM

    from trainer import WarmStartConfig, warm_start

    if (folder / "model.safetensors").exists():
        return AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = character_tokenizer(characters, padding_side="left")
    model = make_model(
        seed,
        len(characters) + 2,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        max_position_embeddings=positions,
        # Of the order of 1/sqrt(width): with transformers' 0.02 so narrow a model takes long to begin to learn.
        initializer_range=0.1,
    )
    for pairs, settings in lessons:
        warm_start(model, tokenizer, pairs, WarmStartConfig(seed=seed, **settings))
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return model
