"""What an update costs: time, share of the device's matrix rate, and peak memory beside whole logits.

    python -m benchmarks.trainer.update_cost                                   # a CPU, some minutes
    python -m benchmarks.trainer.update_cost --device cuda --size 0.6b --sequences 16 --response 7936

A Qwen2 with random weights learns from random responses of one group, with a vocabulary of 151,936. `ours` is
the learner's update; `plain` is the same DAPO loss on `model(...).logits` as a whole, one sequence at a time,
under the same AdamW. Each runs in a process of its own.

The share is the floating-point operations that the update needs, without what is computed twice to save
memory, over what a large matrix product of the same type reaches in the same process: model FLOP utilisation,
against a measured peak in place of a data sheet's. Memory is the peak of what torch allocated on a GPU, and
of the process on a CPU, in both cases less what was there before the first update: the model without gradient
and moments.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from trainer.config import LearnerConfig, ObjectiveConfig
from trainer.learner import Learner, Sample
from trainer.optimizer import MasterAdamW
from trainer.policy import TokenSequence

SIZES: dict[str, dict[str, int]] = {
    "small": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4},
    "0.6b": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
    },
    "1.7b": {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
    },
}
VOCABULARY = 151_936
CLIP_LOW, CLIP_HIGH = 0.2, 0.28


def build_model(options: argparse.Namespace) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    sizes = SIZES[options.size]
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        num_key_value_heads=sizes["num_attention_heads"] // 2,
        max_position_embeddings=options.prompt + options.response,
        tie_word_embeddings=True,
        dtype=getattr(torch, options.dtype),
        **sizes,
    )
    with torch.device(options.device):
        return Qwen2ForCausalLM(config).to(getattr(torch, options.dtype))


def make_samples(options: argparse.Namespace) -> list[Sample]:
    """One group, half of it right; the sampler's log-probabilities are those of a uniform choice."""
    draw = random.Random(0)
    prompt = draw.choices(range(VOCABULARY), k=options.prompt)
    return [
        Sample(
            tokens=TokenSequence(prompt, draw.choices(range(VOCABULARY), k=options.response)),
            sampler_logprobs=[-11.93] * options.response,
            advantage=1.0 if number % 2 else -1.0,
            group=0,
        )
        for number in range(options.sequences)
    ]


def needed_operations(model: Qwen2ForCausalLM, options: argparse.Namespace) -> float:
    """Of forward and backward pass: 6 for each weight and token, and those of the attention's causal half.

    A prompt is needed once, and the output layer only where a response token is predicted.
    """
    config = model.config
    head = config.vocab_size * config.hidden_size
    layers = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2) - head
    responses = options.sequences * options.response
    matrices = layers * (options.prompt + responses) + head * responses
    length = options.prompt + options.response
    attention = config.num_hidden_layers * config.hidden_size * options.sequences * length**2
    return 6.0 * (matrices + attention)


def our_update(model: Qwen2ForCausalLM, options: argparse.Namespace) -> Callable[[], None]:
    settings = LearnerConfig(
        mini_batch=options.sequences,
        gradient_checkpointing=options.checkpointing,
        micro_batch_tokens=options.micro_batch_tokens,
    )
    objective = ObjectiveConfig(importance="off", clip_low=CLIP_LOW, clip_high=CLIP_HIGH)
    learner = Learner(
        model, settings, objective, temperature=1.0, max_tokens=options.response, steps=100, seed=0
    )
    samples = make_samples(options)

    def update() -> None:
        learner.update(samples, step=50)

    return update


def plain_update(model: Qwen2ForCausalLM, options: argparse.Namespace) -> Callable[[], None]:
    if options.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = MasterAdamW(list(model.parameters()), learning_rate=1e-6, weight_decay=0.1)
    samples = make_samples(options)

    def update() -> None:
        model.train()
        for sample in samples:
            prompt = len(sample.tokens.prompt)
            ids = torch.tensor([[*sample.tokens.prompt, *sample.tokens.response]], device=options.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, prompt - 1 : -1].float()
            logprobs = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, prompt:, None]).squeeze(-1)
            loss = clipped_loss(logprobs, sample.advantage) / (options.sequences * options.response)
            loss.backward()
        optimizer.step(1e-6, 1.0)

    return update


def clipped_loss(logprobs: Tensor, advantage: float) -> Tensor:
    """Of the first update, whose old policy is the policy itself; summed over the `[T]` tokens."""
    ratio = (logprobs - logprobs.detach()).exp()
    clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
    return -torch.minimum(ratio * advantage, clipped * advantage).sum()


def trial(who: str, options: argparse.Namespace) -> None:
    """Run one side in this process and print its result as JSON."""
    on_gpu = options.device != "cpu"
    torch.set_num_threads(options.threads)
    rate = matrix_rate(options)
    model = build_model(options)
    operations = needed_operations(model, options)
    update = (our_update if who == "ours" else plain_update)(model, options)
    clock = time.perf_counter if on_gpu else time.process_time
    before, seconds = allocated(on_gpu), []
    for _ in range(options.updates + 1):
        start = clock()
        update()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(clock() - start)
    best = min(seconds[1:])  # The first one makes the optimizer's state.
    tokens = options.sequences * options.response
    result = {
        "seconds": best,
        "tokens": tokens / best,
        "share": operations / best / rate,
        "memory": peak(on_gpu) - before,
        "rate": rate,
        "operations": operations,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }
    print(json.dumps(result))


def matrix_rate(options: argparse.Namespace) -> float:
    """Operations per second of a large matrix product in the model's type; CPU seconds on a CPU."""
    on_gpu = options.device != "cpu"
    size = 8192 if on_gpu else 2048
    left, right = torch.randn(2, size, size, device=options.device, dtype=getattr(torch, options.dtype))
    clock, times = time.perf_counter if on_gpu else time.process_time, []
    for _ in range(6):
        start = clock()
        left @ right
        if on_gpu:
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 2 * size**3 / min(times)


def allocated(on_gpu: bool) -> float:
    """Bytes in use now."""
    if on_gpu:
        return float(torch.cuda.memory_allocated())
    return float(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak(on_gpu: bool) -> float:
    """Most bytes that were in use."""
    if on_gpu:
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=256, help="tokens; all sequences have the same prompt")
    parser.add_argument("--response", type=int, default=1792, help="tokens of each sequence")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: bfloat16 on a GPU")
    parser.add_argument("--checkpointing", action="store_true", help="recompute layers in the backward pass")
    parser.add_argument("--micro-batch-tokens", type=int, help="of ours; default: the learner's")
    parser.add_argument("--updates", type=int, default=2, help="measured, after a first one; the best counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("ours", "plain"))
    parser.add_argument("--trial", choices=("ours", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    if options.trial:
        trial(options.trial, options)
        return
    sides = [options.only] if options.only else ["ours", "plain"]
    results = {who: start_trial(who) for who in sides}
    first = next(iter(results.values()))
    print(
        f"{first['parameters'] / 1e6:,.0f}M parameters in {options.dtype} on {options.device}, "
        f"{options.sequences} responses of {options.response:,} tokens to a prompt of {options.prompt:,}, "
        f"vocabulary {VOCABULARY:,}; {first['operations'] / 1e12:.2f} TFLOP an update"
    )
    print(f"{'':32}" + "".join(f"{who:>14}" for who in results))
    rows = {
        "seconds per update": ("seconds", 1.0, ".2f"),
        "response tokens per second": ("tokens", 1.0, ",.0f"),
        "share of the matrix rate, %": ("share", 100.0, ".1f"),
        "matrix rate, TFLOP/s": ("rate", 1e-12, ".2f"),
        "memory of the update, GB": ("memory", 1e-9, ".2f"),
    }
    for label, (name, scale, form) in rows.items():
        print(f"{label:32}" + "".join(f"{result[name] * scale:>14{form}}" for result in results.values()))


def start_trial(who: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.trainer.update_cost", *sys.argv[1:], "--trial", who]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
