"""The one way from a prompt to token ids: engines, warm start and learner must see the same tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from rollout.types import EngineError, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of `prompt`, ready to be continued.

    Text is encoded as it stands: no chat template, only the special tokens that the tokenizer puts in front
    (a BOS where the model has one). Chat messages go through the tokenizer's chat template with the
    generation prompt. Raises `EngineError` for a prompt without tokens, for malformed messages, and for
    messages when the tokenizer has no chat template.
    """
    if isinstance(prompt, str):
        token_ids = _encode_text(tokenizer, prompt)
    else:
        token_ids = _encode_messages(tokenizer, prompt)
    if not token_ids:
        raise EngineError(f"the prompt {prompt!r} has no tokens: give at least one character or message")
    return token_ids


def render_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    """`render_prompt` of each; the error of one says which."""
    rendered = []
    for index, prompt in enumerate(prompts):
        try:
            rendered.append(tuple(render_prompt(tokenizer, prompt)))
        except EngineError as error:
            raise EngineError(f"prompt {index}: {error}") from error
    return rendered


def check_request(prompts: Sequence[Prompt], n: int, first_sample: int) -> None:
    """Raise `EngineError` for arguments of `Engine.generate` that can't be meant."""
    if isinstance(prompts, str):
        raise EngineError("prompts must be a list; put the one prompt into a list")
    if n < 1 or first_sample < 0:
        raise EngineError(f"n must be at least 1 and first_sample at least 0, not {n} and {first_sample}")


def bind_template_options(template: str, options: Mapping[str, Any]) -> str:
    """Chat template with `options` (such as `enable_thinking: false`) set at its top.

    Whoever renders with the bound template, a server or a saved checkpoint included, gets the same tokens
    without having to know the options.
    """
    return (
        "".join(f"{{%- set {name} = {_jinja_literal(value)} -%}}" for name, value in options.items())
        + template
    )


def _encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    token_ids: list[int] = list(tokenizer(text)["input_ids"])
    if token_ids and token_ids[-1] == tokenizer.eos_token_id:
        # Some tokenizers append an EOS to every text, after which a model has nothing to continue.
        bare: list[int] = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if bare[-1:] != token_ids[-1:]:
            token_ids.pop()
    return token_ids


def check_messages(messages: Any) -> None:
    """Raise `EngineError` unless `messages` are chat messages."""
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise EngineError(f"message {number} needs the keys 'role' and 'content', but is {message!r}")
    if not messages:
        raise EngineError("the prompt has no messages: give at least one with 'role' and 'content'")


def _encode_messages(tokenizer: PreTrainedTokenizerBase, messages: Any) -> list[int]:
    check_messages(messages)
    if not tokenizer.chat_template:
        raise EngineError(
            "the tokenizer has no chat template, so chat messages can't be rendered: give prompts as text, "
            "or set a template (`tokenizer.chat_template`, engine option `chat_template`)"
        )
    try:
        encoded = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
    except TemplateError as error:
        raise EngineError(f"the chat template refuses the messages: {error}") from error
    return list(encoded["input_ids"])


def _jinja_literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float, str)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_jinja_literal(item) for item in value) + "]"
    raise EngineError(
        f"a chat template option must be text, a number, true/false, null or a list, not {value!r}"
    )
