"""Tokens per second of the transformers engine beside `model.generate` with the same batch.

    python -m benchmarks.rollout.engine_speed --prompts 256 --samples 8

Both sample at temperature 1 from the same model, prompts and length limit, alternating; the best of `--repeats`
counts. On a CPU the clock is this process's CPU time, so that other work on the machine matters little; on a GPU
it is the wall clock. `generate` gets what it can use: one left-padded batch of `--batch-size` rows at a time, and
no log-probabilities to return, which the engine does return. The model ends a completion at each token with a
chance that makes lengths vary around `--mean-length`; `--mean-length 0` never ends one before `--max-tokens`.

It also counts how many completions differ when the engine decodes with another batch size: equal but for the
rounding of batched kernels.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from rollout import Sampling
from rollout.transformers_engine import TransformersEngine
from tests.rollout.tiny import character_tokenizer

TOKENIZER = character_tokenizer()
EOS = int(TOKENIZER.eos_token_id)


def build_model(width: int, layers: int, mean_length: float, device: str) -> PreTrainedModel:
    """A Qwen2 with random weights that emits EOS with a chance of about 1 / mean_length at each token."""
    torch.manual_seed(0)
    vocabulary = len(TOKENIZER)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        eos_token_id=EOS,
        pad_token_id=0,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config).eval()
    # Nearly uniform logits, with a bias on EOS that sets its chance.
    head = torch.nn.Linear(width, vocabulary, bias=True)
    torch.nn.init.normal_(head.weight, std=0.02)
    torch.nn.init.zeros_(head.bias)
    chance = 1 / mean_length if mean_length else 1e-30
    with torch.no_grad():
        head.bias[EOS] = torch.log(torch.tensor(chance * (vocabulary - 1) / (1 - chance)))
    model.lm_head = head
    return model.to(device)


def sample_with_generate(
    model: PreTrainedModel, rows: list[list[int]], batch_size: int, max_tokens: int
) -> int:
    """Number of useful tokens, up to EOS, that `model.generate` sampled."""
    tokens = 0
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        width = max(map(len, batch))
        input_ids = torch.tensor([[0] * (width - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
        output = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_tokens,
            eos_token_id=EOS,
            pad_token_id=0,
        )[:, width:]
        ended_before = (output == EOS).long().cumsum(1) - (output == EOS).long()
        tokens += int((ended_before == 0).sum())
    return tokens


def sample_with_engine(engine: TransformersEngine, prompts: list[str], n: int, sampling: Sampling) -> int:
    """Number of tokens that the engine sampled."""
    return sum(len(completion.token_ids) for completion in engine.generate(prompts, n, sampling))


def speed(clock: Callable[[], float], sample: Callable[[], int]) -> float:
    """Tokens per second of one run."""
    start = clock()
    tokens = sample()
    return tokens / (clock() - start)


def count_differing(
    model: PreTrainedModel, prompts: list[str], n: int, sampling: Sampling, sizes: list[int]
) -> int:
    """Completions whose tokens are not the same at both batch sizes."""
    runs = []
    for size in sizes:
        completions = TransformersEngine(model, TOKENIZER, batch_size=size).generate(prompts, n, sampling)
        runs.append({(c.prompt_index, c.sample_index): c.token_ids for c in completions})
    return sum(runs[0][key] != runs[1][key] for key in runs[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--samples", type=int, default=8, help="completions per prompt")
    parser.add_argument("--batch-size", type=int, default=512, help="rows decoded together, by both")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--mean-length", type=float, default=25)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = build_model(options.width, options.layers, options.mean_length, options.device)
    draw = random.Random(0)
    alphabet = "0123456789+-*()="
    prompts = ["".join(draw.choices(alphabet, k=draw.randint(15, 40))) for _ in range(options.prompts)]
    rows = [TOKENIZER(prompt)["input_ids"] for prompt in prompts for _ in range(options.samples)]
    engine = TransformersEngine(model, TOKENIZER, batch_size=options.batch_size)
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    generate_speeds, engine_speeds = [], []
    for seed in range(options.repeats):
        sampling = Sampling(max_tokens=options.max_tokens, seed=seed)
        generate_speeds.append(
            speed(clock, lambda: sample_with_generate(model, rows, options.batch_size, options.max_tokens))
        )
        engine_speeds.append(
            speed(clock, lambda s=sampling: sample_with_engine(engine, prompts, options.samples, s))
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    batch = f"batch {options.batch_size}, {options.threads} thread(s)"
    print(f"{parameters:,} parameters, {len(rows)} completions, {batch}")
    for name, values in (("model.generate", generate_speeds), ("TransformersEngine", engine_speeds)):
        print(
            f"{name:20s} {max(values):10,.0f} tokens/s (runs: {', '.join(f'{value:,.0f}' for value in values)})"
        )
    print(f"ratio {max(engine_speeds) / max(generate_speeds):.2f}")
    sizes = [options.batch_size, max(1, options.batch_size // 8 - 1)]
    sampling = Sampling(max_tokens=options.max_tokens)
    differing = count_differing(model, prompts, options.samples, sampling, sizes)
    print(f"{differing} of {len(rows)} completions differ between batch sizes {sizes[0]} and {sizes[1]}")


if __name__ == "__main__":
    main()
