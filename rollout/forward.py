"""One causal language model of transformers as two functions: prefill of prompts, and one decoding step."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from rollout.attention import one_token_attention_in
from rollout.shared_prompts import SharedPrompts
from rollout.slots import SlotCache
from rollout.types import EngineError


class ModelForward:
    """Calls the model with the arguments that its architecture takes.

    Raises `EngineError` for architectures whose state is not a cache of keys and values alone.
    """

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self.device = model.device
        self.config = model.config.get_text_config(decoder=True)
        self.max_positions = int(getattr(self.config, "max_position_embeddings", None) or sys.maxsize)
        arguments = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in arguments
        self._takes_logits_to_keep = "logits_to_keep" in arguments
        self._ready_mask = self._takes_positions and self._has_plain_causal_attention()
        self._one_token = (
            self._ready_mask
            and self.device.type == "cpu"
            and getattr(self.config, "_attn_implementation", None) == "sdpa"
        )
        foreign = sorted(
            {type(layer).__name__ for layer in DynamicCache(config=model.config).layers} - _KEY_VALUE_LAYERS
        )
        if foreign:
            raise EngineError(
                f"{type(model).__name__} keeps state in {', '.join(foreign)}, which the transformers engine "
                "can't share between samples: use the vllm engine for this architecture"
            )

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[Cache, Tensor]:
        """Run prompts of any lengths as one left-padded batch: their cache and last logits [prompts, V]."""
        width = max(len(prompt) for prompt in prompts)
        padding = [width - len(prompt) for prompt in prompts]
        input_ids = torch.tensor(
            [[prompt[0]] * pad + list(prompt) for prompt, pad in zip(prompts, padding, strict=True)],
            device=self.device,
        )
        cache = DynamicCache()
        arguments: dict[str, Any] = {"logits_to_keep": 1} if self._takes_logits_to_keep else {}
        columns = torch.arange(width, device=self.device)
        starts = torch.tensor(padding, device=self.device)[:, None]
        if self._takes_positions:
            arguments["position_ids"] = (columns - starts).clamp_(min=0)
        mask = (columns >= starts).long()
        output = self.model(
            input_ids=input_ids, attention_mask=mask, past_key_values=cache, use_cache=True, **arguments
        )
        return cache, output.logits[:, -1]

    def decode(self, slots: SlotCache, starts: Tensor, first: Tensor) -> Tensor:
        """Read the token in the window's end column of each row; logits [rows, V] of the one after it.

        `starts` int64 [rows] holds the column of each row's first prompt token, also where no column is, and
        `first` the first column in its slot.
        """
        window = slots.window
        visible = torch.arange(window.begin, window.end + 1, device=self.device) >= first[:, None]
        arguments: dict[str, Any] = {}
        if self._takes_positions:
            # A finished row runs on until its slot is taken again; its positions must stay in the table.
            arguments["position_ids"] = (window.end - starts).clamp_(max=self.max_positions - 1)[:, None]
        if self._ready_mask:
            # Additive and made once here, where the model would make it again in every layer.
            mask = torch.zeros(visible.shape, dtype=slots.dtype, device=self.device)
            mask.masked_fill_(~visible, torch.finfo(mask.dtype).min)
            arguments["attention_mask"] = mask[:, None, None, :]
        else:
            arguments["attention_mask"] = visible.long()
        if slots.prompts is not None:
            arguments["shared_prompts"] = slots.prompts
        with one_token_attention_in(self.config) if self._one_token else nullcontext():
            output = self.model(
                input_ids=slots.tokens[: window.rows, window.end : window.end + 1],
                past_key_values=slots.cache,
                use_cache=True,
                **arguments,
            )
        logits: Tensor = output.logits[:, -1]
        return logits

    def shares_prompts(self, tokens: int) -> bool:
        """Whether the samples of prompts with so many tokens at most should share them; found by trying."""
        if not self._one_token:
            return False
        config = self.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return tokens * heads * width >= _WORTH_SHARING and self._can_share

    @cached_property
    def _can_share(self) -> bool:
        try:
            copied, shared = (
                self._decode_twice(SharedPrompts() if share else None) for share in (False, True)
            )
        except (TypeError, AttributeError, RuntimeError, ValueError):
            return False  # Its attention is not told of them.
        return torch.allclose(copied, shared, rtol=1e-4, atol=1e-4)

    def _decode_twice(self, prompts: SharedPrompts | None) -> Tensor:
        """Logits [3, V] after two tokens of three rows, of which two have the same prompt."""
        vocabulary = int(self.model.get_input_embeddings().weight.shape[0])
        tokens = torch.arange(3, 13, 1, device=self.device).mul_(7) % vocabulary
        cache, _ = self.prefill([tokens[:4].tolist(), tokens[4:5].tolist()])
        prompt_of_row, column = [0, 1, 0], 4 if prompts is None else 0
        slots = SlotCache(3, column + 3, self.device, prompts)
        slots.allocate(cache)
        slots.window.rows, slots.window.end = 3, column
        origins = torch.full((3,), column, device=self.device)
        starts = origins - torch.tensor([4, 1, 4], device=self.device)
        if prompts is None:
            slots.place(
                torch.arange(3, device=self.device), cache, torch.tensor(prompt_of_row, device=self.device)
            )
        else:
            prompts.add(cache, {0: 4, 1: 1})
            prompts.arrange(prompt_of_row)
        for step in range(2):
            slots.tokens[:, column + step] = tokens[5 + 2 * step : 8 + 2 * step]
            logits = self.decode(slots, starts, starts if prompts is None else origins)
            slots.window.end += 1
        return logits

    def _has_plain_causal_attention(self) -> bool:
        """Whether one mask that we make suits every layer; otherwise the model makes its own from ours."""
        config = self.config
        if getattr(config, "_attn_implementation", None) not in ("sdpa", "eager") or getattr(
            config, "alibi", False
        ):
            return False
        layer_types = getattr(config, "layer_types", None)
        if layer_types is not None:
            return set(layer_types) == {"full_attention"}
        return not any(
            getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")
        )


_WORTH_SHARING = 4096
"""Elements of a prompt's keys in one layer: reading fewer takes less time than bringing rows to their prompts."""
_KEY_VALUE_LAYERS = {DynamicLayer.__name__, "DynamicSlidingWindowLayer"}
