"""A key-value cache of slots that share one write column, so rows can leave and join at any step.

Every slot is a row of the tensors; all write their next token in the same column, and what differs is the
column where a row starts:

    slot 0   . . p p p t t t t|        p: prompt   t: completion   .: masked
    slot 1   p p p p p p p t t|
    slot 2   . . . . . . p p t|        <- joined two steps ago
                              ^ end

So a step writes one slice per layer and copies nothing (a cache that grows by concatenation copies itself at
every step), the attention mask is one comparison with the starts, and models see the left-padded batch that
all of them support. When the columns run out, what is still needed moves to the left. Where samples share their
prompts (`rollout.shared_prompts`), the slots have completions only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from rollout.shared_prompts import SharedPrompts


@dataclass
class Window:
    """The part of the slots that the next forward reads: rows [0, rows) and columns [begin, end)."""

    rows: int = 0
    begin: int = 0
    end: int = 0


class SlotLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, [slots, heads, columns, width], read and written through a `Window`."""

    def __init__(self, window: Window):
        super().__init__()
        self.window = window

    def allocate(self, keys: Tensor, values: Tensor, slots: int, columns: int) -> None:
        """Make room for `slots` rows shaped like `keys` and `values` [any, heads, any, width]."""
        self.keys = keys.new_zeros(slots, keys.shape[1], columns, keys.shape[3])
        self.values = values.new_zeros(slots, values.shape[1], columns, values.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new column(s) at the window's end and return all that the window shows."""
        rows, begin, end = self.window.rows, self.window.begin, self.window.end
        after = end + key_states.shape[2]
        self.keys[:rows, :, end:after] = key_states
        self.values[:rows, :, end:after] = value_states
        return self.keys[:rows, :, begin:after], self.values[:rows, :, begin:after]

    def get_seq_length(self) -> int:
        """Columns that the window shows; the models place the causal mask by it."""
        return self.window.end - self.window.begin


@dataclass
class SlotCache:
    """The slots of one generation, with the tokens drawn in them and their log-probabilities.

    `tokens` and `logprobs` [slots, columns] are aligned with the cache: column `window.end` holds the token
    that the next forward reads.
    """

    slots: int
    columns: int
    device: torch.device
    prompts: SharedPrompts | None = None
    """Has the prompts where these are not copied into the slots."""
    window: Window = field(default_factory=Window)

    def __post_init__(self) -> None:
        self.cache: Cache | None = None
        self.tokens = torch.zeros(self.slots, self.columns, dtype=torch.int64, device=self.device)
        self.logprobs = torch.zeros(self.slots, self.columns, dtype=torch.float32, device=self.device)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the keys, which is that of the queries and so of an additive mask."""
        assert self.cache is not None, "nothing was placed yet"
        dtype: torch.dtype = self.cache.layers[0].keys.dtype
        return dtype

    def allocate(self, prefilled: Cache) -> None:
        """Make room for keys and values like those of a prefilled cache, where there is none yet."""
        if self.cache is None:
            self.cache = Cache(layers=[SlotLayer(self.window) for _ in prefilled.layers])
            for layer, source in zip(self.cache.layers, prefilled.layers, strict=True):
                layer.allocate(source.keys, source.values, self.slots, self.columns)

    def place(self, slots: Tensor, prefilled: Cache, rows: Tensor) -> None:
        """Copy `rows` of a prefilled cache into `slots`, their last column just before the window's end."""
        assert self.cache is not None, "no room was made yet"
        end = self.window.end
        for layer, source in zip(self.cache.layers, prefilled.layers, strict=True):
            begin = end - source.keys.shape[2]
            layer.keys[slots, :, begin:end] = source.keys[rows]
            layer.values[slots, :, begin:end] = source.values[rows]

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Copy whole rows `sources` over the rows `targets`."""
        if self.cache is None:
            return
        begin, end = self.window.begin, self.window.end
        for layer in self.cache.layers:
            layer.keys[targets, :, begin:end] = layer.keys[sources, :, begin:end]
            layer.values[targets, :, begin:end] = layer.values[sources, :, begin:end]
        self.tokens[targets] = self.tokens[sources]
        self.logprobs[targets] = self.logprobs[sources]

    def shift(self, end: int, columns: int, slots: int) -> int:
        """Move what the window shows so that it ends at column `end` of `columns`; return how far left.

        `slots` of the slots are kept; no row may join later where they are fewer than before.
        """
        shown, distance = self.window, self.window.end - end
        begin = shown.begin - distance
        # The tokens' newest column is the one that the next forward reads, one after the cache's.
        self.tokens = _moved(self.tokens[:slots], shown.begin, shown.end + 1, begin, columns, dim=1)
        self.logprobs = _moved(self.logprobs[:slots], shown.begin, shown.end + 1, begin, columns, dim=1)
        if self.cache is not None:
            for layer in self.cache.layers:
                layer.keys = _moved(layer.keys[:slots], shown.begin, shown.end, begin, columns, dim=2)
                layer.values = _moved(layer.values[:slots], shown.begin, shown.end, begin, columns, dim=2)
        self.slots, self.columns = slots, columns
        shown.begin, shown.end = begin, end
        return distance


def _moved(source: Tensor, begin: int, end: int, new_begin: int, columns: int, dim: int) -> Tensor:
    """Zeros like `source` with `columns` along `dim`, and its part [begin, end) from `new_begin` on."""
    shape = list(source.shape)
    shape[dim] = columns
    moved, new_end = source.new_empty(shape), new_begin + end - begin
    moved.narrow(dim, new_begin, end - begin).copy_(source.narrow(dim, begin, end - begin))
    # What is masked must still be finite: a masked weight of 0 times NaN is NaN.
    moved.narrow(dim, 0, new_begin).zero_()
    moved.narrow(dim, new_end, columns - new_end).zero_()
    return moved
