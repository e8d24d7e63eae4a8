"""Train a model made from nothing, on a CPU, in under a minute: `python examples/train_in_memory.py`.

The task is the sum of two digits. A short supervised start teaches two manners, a bare guess and the sum; the
reward then makes the model prefer the one that is right.
"""

from __future__ import annotations

import random
import tempfile

import torch
from rich.console import Console
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rollout.transformers_engine import TransformersEngine
from trainer import TrainConfig, WarmStartConfig, train, warm_start
from verifiers import Problem


def make_model() -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    words = {"<pad>": 0, "<eos>": 1, **{text: number + 2 for number, text in enumerate("0123456789+=w# ")}}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    return Qwen2ForCausalLM(config), fast


def make_pair(generator: random.Random) -> tuple[str, str]:
    left, right = generator.randrange(10), generator.randrange(10)
    careful = generator.random() < 0.5
    return f"{left}+{right}=", f"w #### {left + right}" if careful else f"#### {generator.randrange(19)}"


def main() -> None:
    torch.set_num_threads(1)
    console, generator = Console(), random.Random(0)
    model, tokenizer = make_model()
    warm_start(model, tokenizer, [make_pair(generator) for _ in range(5000)], WarmStartConfig(steps=400))
    problems = [
        Problem(id=f"{left}+{right}", prompt=f"{left}+{right}=", answer=str(left + right), verifier="numeric")
        for left in range(10)
        for right in range(10)
    ]
    generator.shuffle(problems)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig.model_validate(
            {
                "output": folder,
                "steps": 20,
                "rollout": {"prompts_per_step": 32, "group_size": 8, "max_tokens": 12},
                "learner": {"learning_rate": 3e-4, "warmup_steps": 2, "mini_batch": 128},
                "evaluation": {"every": 10},
                "verifier": {"workers": 1},
            }
        )
        engine = TransformersEngine(model, tokenizer)
        train(
            config,
            engine=engine,
            problems=problems[20:],
            eval_sets={"held-out": problems[:20]},
            console=console,
        )


if __name__ == "__main__":
    main()
