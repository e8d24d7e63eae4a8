"""Tokens per second of the transformers engine beside `model.generate` with the same batch, on one machine.

    python -m benchmarks.rollout.engine_speed --prompts 128 --samples 8

Both sample at temperature 1 from the same model, prompts and length limit, alternating, best of `--repeats`.
`generate` gets what it can use: prompts repeated per sample, one left-padded batch of `--batch-size` rows at
a time, and no log-probabilities to return, which the engine does return. The model ends a completion at each
token with a chance that makes lengths vary around `--mean-length`.
"""

from __future__ import annotations

import argparse
import random
import time

import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from rollout import Sampling
from rollout.transformers_engine import TransformersEngine
from tests.rollout.tiny import character_tokenizer


def build_model(vocabulary: int, width: int, layers: int, mean_length: float, eos: int) -> PreTrainedModel:
    """A Qwen2 with random weights that emits EOS with a chance of about 1 / mean_length at each token."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        eos_token_id=eos,
        pad_token_id=0,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config).eval()
    # Nearly uniform logits with a bias on EOS: the head reads a constant from the final norm's output.
    head = torch.nn.Linear(width, vocabulary, bias=True)
    torch.nn.init.normal_(head.weight, std=0.02)
    torch.nn.init.zeros_(head.bias)
    with torch.no_grad():
        chance = 1 / mean_length
        head.bias[eos] = torch.log(torch.tensor(chance * (vocabulary - 1) / (1 - chance)))
    model.lm_head = head
    return model


def time_generate(
    model: PreTrainedModel, rows: list[list[int]], batch_size: int, max_tokens: int, eos: int
) -> tuple[float, int]:
    """Seconds and number of useful tokens (up to EOS) of `model.generate`."""
    start, tokens = time.perf_counter(), 0
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        width = max(map(len, batch))
        input_ids = torch.tensor([[0] * (width - len(row)) + row for row in batch])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
        output = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_tokens,
            eos_token_id=eos,
            pad_token_id=0,
        )[:, width:]
        tokens += int(((output == eos).long().cumsum(1) - (output == eos).long() == 0).sum())
    return time.perf_counter() - start, tokens


def time_engine(
    engine: TransformersEngine, prompts: list[str], n: int, max_tokens: int, seed: int
) -> tuple[float, int]:
    """Seconds and number of tokens of the engine."""
    start = time.perf_counter()
    sampling = Sampling(max_tokens=max_tokens, seed=seed)
    tokens = sum(len(completion.token_ids) for completion in engine.generate(prompts, n, sampling))
    return time.perf_counter() - start, tokens


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8, help="completions per prompt")
    parser.add_argument("--batch-size", type=int, default=512, help="rows decoded together, by both")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--mean-length", type=float, default=25)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = character_tokenizer()
    eos = int(tokenizer.eos_token_id)
    model = build_model(len(tokenizer), options.width, options.layers, options.mean_length, eos)
    draw = random.Random(0)
    prompts = [
        "".join(draw.choice("0123456789+-*()=") for _ in range(draw.randint(15, 40)))
        for _ in range(options.prompts)
    ]
    rows = [tokenizer(prompt)["input_ids"] for prompt in prompts for _ in range(options.samples)]
    engine = TransformersEngine(model, tokenizer, batch_size=options.batch_size)
    speeds: dict[str, list[float]] = {"model.generate": [], "TransformersEngine": []}
    for repeat in range(options.repeats):
        seconds, tokens = time_generate(model, rows, options.batch_size, options.max_tokens, eos)
        speeds["model.generate"].append(tokens / seconds)
        seconds, tokens = time_engine(engine, prompts, options.samples, options.max_tokens, repeat)
        speeds["TransformersEngine"].append(tokens / seconds)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    batch = f"batch {options.batch_size}, {options.threads} thread(s)"
    print(f"{parameters:,} parameters, {len(rows)} completions, {batch}")
    for name, values in speeds.items():
        runs = ", ".join(f"{value:,.0f}" for value in values)
        print(f"{name:20s} {max(values):10,.0f} tokens/s (runs: {runs})")
    print(f"ratio {max(speeds['TransformersEngine']) / max(speeds['model.generate']):.2f}")


if __name__ == "__main__":
    main()
