"""A vLLM engine with two workers on a CPU, run by test_vllm_engine as a process of its own (it binds cores)."""

from __future__ import annotations

import sys
from pathlib import Path

from rollout import EngineConfig, Sampling, VllmOptions, create_engine
from tests.rollout.reference import PROMPTS, VLLM_SHAPE, assert_drawn_from, save_checkpoint
from tests.rollout.tiny import tiny_model


def main() -> None:
    first, second = tiny_model(**VLLM_SHAPE), tiny_model(seed=1, **VLLM_SHAPE)
    folder = save_checkpoint(first, Path(sys.argv[1]))
    options = VllmOptions(
        tensor_parallel_size=2, max_model_len=128, enforce_eager=True, gpu_memory_utilization=0.3
    )
    engine = create_engine(EngineConfig(kind="vllm", model=str(folder), dtype="float32", vllm=options))
    sampling = Sampling(max_tokens=20)
    assert_drawn_from(first, engine.generate(PROMPTS, 4, sampling), sampling, tolerance=2e-3)
    engine.load_weights(second.named_parameters(), version=1)
    assert_drawn_from(second, engine.generate(PROMPTS, 4, sampling), sampling, tolerance=2e-3)
    engine.close()
    print("both weights were sampled from")


if __name__ == "__main__":
    main()
