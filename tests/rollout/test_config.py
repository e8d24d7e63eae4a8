from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rollout import (
    EngineConfig,
    EngineError,
    Sampling,
    TransformersEngine,
    VllmOptions,
    create_engine,
    load_model,
    load_tokenizer,
)
from rollout.fingerprint import tokenizer_hash
from tests.rollout.tiny import CHAT_TEMPLATE, character_tokenizer, tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model().save_pretrained(folder)
    character_tokenizer(CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def test_an_engine_from_a_saved_checkpoint_samples_as_the_model_in_memory(checkpoint: Path) -> None:
    engine = create_engine(EngineConfig(model=str(checkpoint), device="cpu", batch_size=4))
    reference = TransformersEngine(tiny_model(), character_tokenizer(CHAT_TEMPLATE), batch_size=4)
    prompts = ["3+5=", [{"role": "user", "content": "hello"}]]
    assert engine.fingerprint() == reference.fingerprint()
    sampling = Sampling(max_tokens=10)
    assert list(engine.generate(prompts, 3, sampling)) == list(reference.generate(prompts, 3, sampling))
    engine.close()


def test_template_options_change_the_rendering_and_the_fingerprint(checkpoint: Path) -> None:
    plain = EngineConfig(model=str(checkpoint), device="cpu")
    thinking = plain.model_copy(update={"template_options": {"enable_thinking": True}})
    assert create_engine(plain).fingerprint() != create_engine(thinking).fingerprint()
    rendered = load_tokenizer(thinking).apply_chat_template(
        [{"role": "user", "content": "x"}], add_generation_prompt=True, tokenize=False
    )
    assert rendered.endswith("<think>")


def test_a_tokenizer_of_ones_own_is_loaded_as_it_was_saved(checkpoint: Path, tmp_path: Path) -> None:
    # AutoTokenizer would put the Qwen2 pre-tokenizer in its place.
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "one": 1, "two": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    own = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    load_model(EngineConfig(model=str(checkpoint), device="cpu")).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    loaded = load_tokenizer(EngineConfig(model=str(tmp_path)))
    assert loaded("one two")["input_ids"] == [1, 2]
    assert tokenizer_hash(loaded) == tokenizer_hash(own)


def test_template_options_without_a_template_are_refused(tmp_path: Path) -> None:
    character_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="set chat_template"):
        load_tokenizer(EngineConfig(model=str(tmp_path), template_options={"enable_thinking": True}))


def test_failures_to_load_are_one_line_that_names_what_was_sought(checkpoint: Path, tmp_path: Path) -> None:
    for config, complaint in [
        (EngineConfig(model=str(tmp_path / "nothing")), "can't load the model"),
        (EngineConfig(model=str(tmp_path)), "can't load the model"),
        (EngineConfig(), "set the engine's `model`"),
        (EngineConfig(model=str(checkpoint), tokenizer=str(tmp_path)), "can't load the tokenizer"),
        (EngineConfig(model=str(checkpoint), device="nonsense"), "device 'nonsense'"),
    ]:
        with pytest.raises(EngineError, match=complaint) as error:
            create_engine(config)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_a_missing_vllm_is_named_with_what_to_install(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match=r"needs vllm: install rlvr\[vllm\]"):
        create_engine(EngineConfig(kind="vllm", model=str(checkpoint)))


def test_every_field_is_described() -> None:
    for model in (EngineConfig, VllmOptions):
        assert not [name for name, field in model.model_fields.items() if not field.description]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="batchsize"):
        EngineConfig.model_validate({"batchsize": 3})
