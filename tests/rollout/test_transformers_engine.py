"""The transformers engine against plain forwards of the model and against `model.generate`."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import get_args

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from rollout import Engine, EngineError, Sampling, TransformersEngine
from tests.rollout.reference import assert_drawn_from, by_sample
from tests.rollout.tiny import CHAT_TEMPLATE, Architecture, character_tokenizer, tiny_model

TOKENIZER = character_tokenizer(CHAT_TEMPLATE)
PROMPTS = ["3+5-2=", "a", "hello world this is", "12*(4+5)", "x", "Let us count: 1, 2, 3"]
ARCHITECTURES = get_args(Architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=40, seed=1),
        Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=40, seed=2),
        Sampling(temperature=0, max_tokens=40),
    ],
    ids=["plain", "truncated", "greedy"],
)
def test_logprobs_are_those_of_a_teacher_forced_forward(
    architecture: Architecture, sampling: Sampling
) -> None:
    model = tiny_model(architecture)
    # Four slots for 24 completions: rows leave and join all the time.
    engine = TransformersEngine(model, TOKENIZER, batch_size=4)
    completions = list(engine.generate(PROMPTS, 4, sampling))
    assert len(by_sample(completions)) == 24
    assert_drawn_from(model, completions, sampling)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_generate(architecture: Architecture) -> None:
    model = tiny_model(architecture)
    engine = TransformersEngine(model, TOKENIZER, batch_size=3)
    completions = by_sample(list(engine.generate(PROMPTS, 1, Sampling(temperature=0, max_tokens=50))))
    for index, prompt in enumerate(PROMPTS):
        ids = torch.tensor([TOKENIZER(prompt)["input_ids"]])
        reference = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=50
        )
        assert list(completions[index, 0].token_ids) == reference[0, ids.shape[1] :].tolist()


def test_a_completion_does_not_depend_on_what_else_is_in_the_batch() -> None:
    model = tiny_model().double()
    sampling = Sampling(max_tokens=60, seed=7)
    together = by_sample(list(TransformersEngine(model, TOKENIZER).generate(PROMPTS, 6, sampling)))
    small = by_sample(list(TransformersEngine(model, TOKENIZER, batch_size=5).generate(PROMPTS, 6, sampling)))
    assert together.keys() == small.keys()
    alone = TransformersEngine(model, TOKENIZER, batch_size=1, prefill_tokens=1)
    for (prompt, sample), completion in together.items():
        (single,) = alone.generate([PROMPTS[prompt]], 1, sampling, first_sample=sample)
        assert completion.token_ids == small[prompt, sample].token_ids == single.token_ids
        assert completion.text == single.text
        assert completion.logprobs == pytest.approx(single.logprobs, abs=1e-5)


def test_first_sample_continues_an_earlier_call() -> None:
    engine = TransformersEngine(tiny_model(), TOKENIZER)
    sampling = Sampling(max_tokens=20)
    whole = by_sample(list(engine.generate(PROMPTS, 6, sampling)))
    first = list(engine.generate(PROMPTS, 2, sampling))
    rest = list(engine.generate(PROMPTS, 4, sampling, first_sample=2))
    parts = by_sample(first + rest)
    assert {key: c.token_ids for key, c in parts.items()} == {key: c.token_ids for key, c in whole.items()}
    assert len({c.token_ids for c in whole.values()}) > len(whole) // 2


def test_seeds_differ_and_the_same_call_repeats_itself() -> None:
    engine = TransformersEngine(tiny_model(), TOKENIZER)
    runs = [list(engine.generate(PROMPTS, 4, Sampling(max_tokens=20, seed=seed))) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert by_sample(runs[0]) != by_sample(runs[2])


def test_first_tokens_follow_the_models_distribution() -> None:
    model = tiny_model()
    engine = TransformersEngine(model, TOKENIZER, batch_size=4000)
    draws = 4000
    counts = Counter(c.token_ids[0] for c in engine.generate(["3+5="], draws, Sampling(max_tokens=1)))
    ids = torch.tensor([TOKENIZER("3+5=")["input_ids"]])
    with torch.no_grad():
        expected = model(ids, attention_mask=torch.ones_like(ids)).logits[0, -1].double().softmax(-1) * draws
    common = expected >= 5
    observed = torch.tensor([counts[token] for token in range(len(expected))], dtype=torch.float64)
    cells = torch.cat([observed[common], observed[~common].sum()[None]])
    wanted = torch.cat([expected[common], expected[~common].sum()[None]])
    chi_square = ((cells - wanted) ** 2 / wanted).sum().item()
    degrees = len(cells) - 1
    # Mean plus four standard deviations of the chi-square distribution.
    assert chi_square < degrees + 4 * (2 * degrees) ** 0.5


def test_stop_token_is_the_last_and_not_in_the_text() -> None:
    engine = TransformersEngine(tiny_model(), TOKENIZER)
    completions = list(engine.generate(PROMPTS, 8, Sampling(max_tokens=40)))
    assert {c.finish_reason for c in completions} == {"stop", "length"}
    for completion in completions:
        stopped = completion.finish_reason == "stop"
        assert (completion.token_ids[-1] == TOKENIZER.eos_token_id) == stopped
        assert TOKENIZER.eos_token_id not in completion.token_ids[:-1]
        assert len(completion.token_ids) == len(completion.logprobs) <= 40
        assert stopped or len(completion.token_ids) == 40
        assert "<eos>" not in completion.text


def test_every_stop_token_of_the_generation_config_ends_a_completion() -> None:
    model = tiny_model()
    stops = [TOKENIZER.eos_token_id, *TOKENIZER("abcdefgh")["input_ids"]]
    model.generation_config.eos_token_id = stops
    completions = list(TransformersEngine(model, TOKENIZER).generate(PROMPTS, 8, Sampling(max_tokens=60)))
    ends = {c.token_ids[-1] for c in completions if c.finish_reason == "stop"}
    assert len(ends) > 2
    assert all(not set(stops) & set(c.token_ids[:-1]) for c in completions)


def test_stop_strings_end_the_text_at_their_first_occurrence() -> None:
    engine = TransformersEngine(tiny_model(spread=0.1), TOKENIZER)
    free = by_sample(list(engine.generate(PROMPTS, 8, Sampling(max_tokens=60, seed=3))))
    text = max((c.text for c in free.values()), key=len)
    stop = (text[10:12], text[20:23], "never this")
    stopped = by_sample(list(engine.generate(PROMPTS, 8, Sampling(max_tokens=60, seed=3, stop=stop))))
    hits = 0
    for key, completion in free.items():
        ends = [completion.text.find(s) + len(s) for s in stop if s in completion.text]
        short = stopped[key]
        if ends:
            hits += 1
            assert short.text == completion.text[: min(ends)]
            assert short.finish_reason == "stop"
            assert short.token_ids == completion.token_ids[: len(short.token_ids)]
        else:
            # Rows that leave earlier change the batch, and with it the last bits of the log-probabilities.
            assert replace(short, logprobs=()) == replace(completion, logprobs=())
            assert short.logprobs == pytest.approx(completion.logprobs, abs=1e-4)
    assert hits


def test_long_runs_outgrow_and_move_the_cache() -> None:
    # Most tokens are none of the tokenizer's, so the EOS is rare.
    model = tiny_model(positions=1024, spread=0.02, vocabulary=1500).double()
    prompts = ["a" * 5, "b" * 90, "c" * 33]
    sampling = Sampling(max_tokens=250, seed=5)
    completions = by_sample(
        list(TransformersEngine(model, TOKENIZER, batch_size=4).generate(prompts, 3, sampling))
    )
    alone = TransformersEngine(model, TOKENIZER, batch_size=1)
    for (prompt, sample), completion in completions.items():
        (single,) = alone.generate([prompts[prompt]], 1, sampling, first_sample=sample)
        assert completion.token_ids == single.token_ids
    assert max(len(c.token_ids) for c in completions.values()) > 200


def test_completions_stop_where_the_positions_of_the_model_end() -> None:
    model = tiny_model("gpt2", positions=32, spread=0.02)
    engine = TransformersEngine(model, TOKENIZER, batch_size=3)
    completions = list(engine.generate(["a" * 30, "bcd", "e"], 2, Sampling(max_tokens=100)))
    assert {
        len(c.prompt_token_ids) + len(c.token_ids) for c in completions if c.finish_reason == "length"
    } == {32}
    with pytest.raises(EngineError, match="prompt 1 has 32 tokens"):
        engine.generate(["a", "b" * 32], 1, Sampling())


def test_short_completions_come_before_long_ones_are_done_and_closing_stops() -> None:
    model = tiny_model()
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    model.register_forward_pre_hook(count)
    engine = TransformersEngine(model, TOKENIZER)
    with closing(engine.generate(PROMPTS, 8, Sampling(max_tokens=200))) as completions:
        first = next(completions)
    assert len(first.token_ids) < 200
    after_close = forwards
    assert after_close <= len(first.token_ids) + 1
    list(engine.generate(["a"], 1, Sampling(max_tokens=3)))
    assert forwards <= after_close + 3


def test_two_generations_of_one_engine_can_be_read_in_turns() -> None:
    engine = TransformersEngine(tiny_model(), TOKENIZER, batch_size=3)
    sampling = Sampling(max_tokens=30)
    alone = by_sample(list(engine.generate(PROMPTS, 2, sampling)))
    left, right = engine.generate(PROMPTS, 2, sampling), engine.generate(PROMPTS[::-1], 2, sampling)
    pairs = list(zip(left, right, strict=True))
    assert by_sample([pair[0] for pair in pairs]) == alone
    assert len(by_sample([pair[1] for pair in pairs])) == len(alone)


def test_the_learners_module_is_left_in_its_mode_and_dropout_does_not_reach_the_samples() -> None:
    model = tiny_model(attention_dropout=0.5)
    expected = list(TransformersEngine(model, TOKENIZER).generate(PROMPTS, 2, Sampling(max_tokens=20)))
    model.train()
    model.model.norm.eval()
    modes = [module.training for module in model.modules()]
    seen = []
    for completion in TransformersEngine(model, TOKENIZER).generate(PROMPTS, 2, Sampling(max_tokens=20)):
        assert [module.training for module in model.modules()] == modes
        assert torch.is_grad_enabled()
        seen.append(completion)
    assert seen == expected
    loss = model(torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss
    loss.backward()


def test_messages_and_text_are_rendered_by_the_tokenizer() -> None:
    engine = TransformersEngine(tiny_model(), TOKENIZER)
    chat = [{"role": "user", "content": "3+5="}]
    completions = by_sample(list(engine.generate([chat, "3+5="], 1, Sampling(max_tokens=2))))
    assert TOKENIZER.decode(completions[0, 0].prompt_token_ids).startswith("<|start|>user\n3+5=<|end|>")
    assert TOKENIZER.decode(completions[1, 0].prompt_token_ids) == "3+5="


def test_new_weights_change_the_samples_the_version_and_the_fingerprint() -> None:
    first, second = tiny_model(seed=0), tiny_model(seed=1)
    engine = TransformersEngine(first, TOKENIZER)
    assert isinstance(engine, Engine)
    old_fingerprint = engine.fingerprint()
    expected = list(TransformersEngine(second, TOKENIZER).generate(PROMPTS, 1, Sampling(max_tokens=9)))
    engine.load_weights(second.named_parameters(), version=4)
    got = list(engine.generate(PROMPTS, 1, Sampling(max_tokens=9)))
    assert [c.token_ids for c in got] == [c.token_ids for c in expected]
    assert {c.policy_version for c in got} == {4}
    assert engine.fingerprint() != old_fingerprint
    assert engine.fingerprint() == TransformersEngine(second, TOKENIZER).fingerprint()


def test_the_learners_own_tensors_are_not_copied() -> None:
    model = tiny_model(tie_word_embeddings=True)
    engine = TransformersEngine(model, TOKENIZER)
    counters = [parameter._version for parameter in model.parameters()]
    engine.load_weights(model.state_dict().items(), version=1)
    assert [parameter._version for parameter in model.parameters()] == counters


def test_fingerprint_sees_an_optimizer_step_on_the_shared_module_and_another_template() -> None:
    model, tokenizer = tiny_model(), character_tokenizer()
    engine = TransformersEngine(model, tokenizer)
    fingerprints = [engine.fingerprint(), engine.fingerprint()]
    assert fingerprints[0] == fingerprints[1]
    with torch.no_grad():
        model.model.norm.weight.mul_(1.01)
    fingerprints.append(engine.fingerprint())
    tokenizer.chat_template = CHAT_TEMPLATE
    fingerprints.append(engine.fingerprint())
    assert len(set(fingerprints)) == 3


def test_wrong_weights_are_refused() -> None:
    model = tiny_model()
    engine = TransformersEngine(model, TOKENIZER)
    weights = dict(model.named_parameters())
    with pytest.raises(EngineError, match=r"no weight 'model\.other'"):
        engine.load_weights([("model.other", torch.zeros(1))], version=1)
    with pytest.raises(EngineError, match=r"model\.norm\.weight has shape"):
        engine.load_weights([("model.norm.weight", torch.zeros(1))], version=1)
    del weights["model.norm.weight"]
    with pytest.raises(EngineError, match=r"1 weights were not given, the first is model\.norm\.weight"):
        engine.load_weights(weights.items(), version=1)


def test_replacing_the_weights_ends_a_running_generation() -> None:
    model = tiny_model()
    engine = TransformersEngine(model, TOKENIZER, batch_size=2)
    running = engine.generate(PROMPTS, 4, Sampling(max_tokens=20))
    next(running)
    engine.load_weights(model.named_parameters(), version=1)
    with pytest.raises(EngineError, match="replaced during a generation"):
        list(running)


def test_diverged_weights_are_named_and_not_sampled_from() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(EngineError, match="not finite for prompt"):
        list(TransformersEngine(model, TOKENIZER).generate(PROMPTS, 2, Sampling(max_tokens=5)))


def test_closed_engine_and_foreign_state_are_refused() -> None:
    engine = TransformersEngine(tiny_model(), TOKENIZER)
    before = engine.generate(PROMPTS, 1, Sampling())
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.generate(PROMPTS, 1, Sampling())
    with pytest.raises(EngineError, match="closed"):
        next(before)
    mamba = MambaForCausalLM(MambaConfig(vocab_size=90, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(EngineError, match="vllm engine"):
        TransformersEngine(mamba, TOKENIZER)


def test_an_empty_list_of_prompts_gives_nothing() -> None:
    assert list(TransformersEngine(tiny_model(), TOKENIZER).generate([], 4, Sampling())) == []
