"""The policy seen by the learner: log-probabilities of given responses under a causal language model.

The fastest way that is right for the model at hand is found by trying it on short sequences and comparing with
the model's own plain forward pass:

- `packed`: sequences end to end, a prompt that several share only once, attention within each, the output layer
  only where a response token is predicted and in chunks;
- `padded`: sequences side by side with a mask (models whose attention can't be replaced);
- `logits`: the model's own logits (output layers with soft caps, scales or adapters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainer.attention import use_packed_attention
from trainer.fused import FusedParts
from trainer.logprobs import LOGITS_AT_ONCE, logprobs_from_logits, token_logprobs
from trainer.packing import pack

ForwardMode = Literal["packed", "padded", "logits"]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """A prompt and a response to it, as tokens."""

    prompt: Sequence[int]
    response: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True, slots=True)
class ResponseLogprobs:
    """Log-probability and entropy at each of the R response tokens, `[R]`, sequence after sequence."""

    logprobs: Tensor
    entropies: Tensor
    lengths: tuple[int, ...]


class Policy:
    """Computes log-probabilities with `model`, which an engine may share."""

    def __init__(
        self, model: nn.Module, *, mode: ForwardMode | None = None, logits_at_once: int = LOGITS_AT_ONCE
    ) -> None:
        """`mode` is found by trying where it is not given."""
        self.model: Any = model
        self.logits_at_once = logits_at_once
        self.fused = FusedParts(model)
        self.mode: ForwardMode = mode or self._best_mode()

    @property
    def device(self) -> torch.device:
        """Where the model's weights lie."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type that the model computes in."""
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype

    @contextmanager
    def computing(self) -> Iterator[None]:
        """To be held around forward and backward pass: gradient checkpointing runs layers in both."""
        with self._parts(self.mode):
            yield

    def logprobs(self, sequences: Sequence[TokenSequence], temperature: float = 1.0) -> ResponseLogprobs:
        """Log-probability and entropy of every response token, at `temperature`; differentiable."""
        return self._logprobs(sequences, temperature, self.mode)

    def _logprobs(
        self, sequences: Sequence[TokenSequence], temperature: float, mode: ForwardMode
    ) -> ResponseLogprobs:
        lengths = tuple(len(sequence.response) for sequence in sequences)
        with self._parts(mode):
            if mode == "packed":
                hidden_RD, targets_R = self._packed_hidden(sequences)
            else:
                hidden_RD, targets_R = self._padded_states(sequences, logits=mode == "logits")
        if mode == "logits":
            logprobs_R, entropies_R = logprobs_from_logits(hidden_RD, targets_R, temperature)
        else:
            head = self.model.get_output_embeddings()
            logprobs_R, entropies_R = token_logprobs(
                hidden_RD, head.weight, head.bias, targets_R, temperature, self.logits_at_once
            )
        return ResponseLogprobs(logprobs_R, entropies_R, lengths)

    def _packed_hidden(self, sequences: Sequence[TokenSequence]) -> tuple[Tensor, Tensor]:
        batch = pack(
            [sequence.prompt for sequence in sequences],
            [sequence.response for sequence in sequences],
            self.device,
        )
        hidden_1ND = self._decoder()(
            input_ids=batch.input_ids[None],
            position_ids=batch.position_ids[None],
            packing=batch.layout,
            use_cache=False,
        ).last_hidden_state
        # Responses to one prompt share its last position; unlike that of `index_select`, the gradient of an
        # index sums in the same order each time on a GPU too.
        return hidden_1ND[0][batch.predictors], batch.targets

    def _padded_states(self, sequences: Sequence[TokenSequence], *, logits: bool) -> tuple[Tensor, Tensor]:
        """Hidden states `[R, D]` (or logits `[R, V]`) that predict the response tokens, and these."""
        longest = max(len(sequence) for sequence in sequences)
        ids_BL = torch.zeros(len(sequences), longest, dtype=torch.long)
        real_BL = torch.zeros(len(sequences), longest, dtype=torch.long)
        response_BL = torch.zeros(len(sequences), longest, dtype=torch.bool)
        for row, sequence in enumerate(sequences):
            ids_BL[row, : len(sequence)] = torch.tensor([*sequence.prompt, *sequence.response])
            real_BL[row, : len(sequence)] = 1
            response_BL[row, len(sequence.prompt) : len(sequence)] = True
        ids_BL, real_BL, response_BL = (tensor.to(self.device) for tensor in (ids_BL, real_BL, response_BL))
        run = self.model if logits else self._decoder()
        output = run(input_ids=ids_BL, attention_mask=real_BL, use_cache=False)
        states_BLX = output.logits if logits else output.last_hidden_state
        return states_BLX[:, :-1][response_BL[:, 1:]], ids_BL[response_BL]

    @contextmanager
    def _parts(self, mode: ForwardMode) -> Iterator[None]:
        """The model's parts as `mode` needs them; the engine that shares the model finds it as it was."""
        with ExitStack() as stack:
            if mode == "packed":
                stack.enter_context(use_packed_attention(self.model))
            if mode != "logits":
                stack.enter_context(self.fused.in_use())
            yield

    def _decoder(self) -> Any:
        """The model without its output layer; an adapter's modules stay in place inside it."""
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return base.get_decoder()

    @torch.no_grad()
    def _best_mode(self) -> ForwardMode:
        vocabulary = int(self.model.get_input_embeddings().weight.shape[0])
        tokens = [(7 * position + 3) % vocabulary for position in range(13)]
        # Two share their prompt, as the responses of a group do.
        cuts = ((0, 2, 5), (5, 8, 13), (5, 8, 10))
        probe = [TokenSequence(tokens[begin:cut], tokens[cut:end]) for begin, cut, end in cuts]
        with _watch_head(self.model, self._decoder()) as head_is_plain:
            plain = self._logprobs(probe, 1.0, "logits").logprobs
        if not head_is_plain():
            return "logits"
        # Several units in the last place of the weights' type, for sums in another order.
        tolerance = 64 * torch.finfo(self.dtype).eps
        modes: tuple[ForwardMode, ...] = ("packed", "padded")
        for mode in modes:
            try:
                found = self._logprobs(probe, 1.0, mode).logprobs
            except (TypeError, AttributeError, RuntimeError, ValueError):
                continue  # The model does not take it, which is what the probe is there to find out.
            if torch.allclose(found, plain, rtol=tolerance, atol=tolerance):
                return mode
        return "logits"


@contextmanager
def _watch_head(model: Any, decoder: nn.Module) -> Iterator[Callable[[], bool]]:
    """Whether the logits of the pass inside are the output layer's product with the last hidden states, exactly.

    Soft caps, scales and adapters on the output layer may change little on a probe, less than bfloat16 resolves.
    """
    seen: dict[str, Any] = {}

    def see_head(head: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen["read"], seen["product"] = inputs[0], output
        # An adapter that has learnt nothing yet gives the same product and is no linear layer.
        seen["linear"] = isinstance(head, nn.Linear) and torch.equal(
            output, nn.functional.linear(inputs[0], head.weight, head.bias)
        )

    def see_decoder(_: nn.Module, inputs: Any, output: Any) -> None:
        seen["hidden"] = output.last_hidden_state

    def see_model(_: nn.Module, inputs: Any, output: Any) -> None:
        seen["logits"] = output.logits

    def head_is_plain() -> bool:
        return (
            bool(seen.get("linear"))
            and "hidden" in seen
            and torch.equal(seen["read"], seen["hidden"])
            and torch.equal(seen["logits"].to(seen["product"].dtype), seen["product"])
        )

    head = model.get_output_embeddings()
    watched = ((head, see_head), (decoder, see_decoder), (model, see_model))
    handles = [module.register_forward_hook(hook) for module, hook in watched]
    try:
        yield head_is_plain
    finally:
        for handle in handles:
            handle.remove()
