"""The mix: keep band, shares outside it, target distribution of pass rates, quotas per source, split.

All choices are seeded and depend only on the problems' ids and pass rates, not on their order in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import exp, floor

from curation.config import BalanceConfig, DifficultyConfig
from curation.row import Row

BINS = 10


def draw_order(seed: int, name: str) -> int:
    """A random number that belongs to a name, so that a choice does not depend on what else is there."""
    return int.from_bytes(blake2b(f"{seed}\x1f{name}".encode(), digest_size=8).digest(), "big")


def pass_rate(row: Row) -> float | None:
    """Posterior mean, None where nothing was measured."""
    if row.rate is None:
        return None
    return float(row.rate["alpha"] / (row.rate["alpha"] + row.rate["beta"]))


def band_of(rate: float, bands: dict[str, tuple[float, float]]) -> str:
    """Name of the band a pass rate falls into; `between` where bands leave a gap."""
    for name, (low, high) in bands.items():
        if low <= rate < high or (rate == high == 1.0):
            return name
    return "between"


def target_shares(config: BalanceConfig) -> list[float] | None:
    """Share of each of ten equal bins of pass rate; None for the distribution as it is."""
    middles = [(bin + 0.5) / BINS for bin in range(BINS)]
    match config.target:
        case "all":
            return None
        case "flat":
            weights = [1.0] * BINS
        case "gaussian":
            weights = [exp(-0.5 * ((middle - config.centre) / config.width) ** 2) for middle in middles]
        case "mirrored_j":
            # Polaris (2025): most problems hard, few easy, none solved.
            weights = [exp(-2.5 * middle) for middle in middles]
        case "quintiles":
            weights = [config.shares[bin // 2] / 2 for bin in range(BINS)]
    total = sum(weights)
    return [weight / total for weight in weights]


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a row is in the set, and why not where it isn't."""

    keep: bool
    reason: str = ""
    detail: str = ""


def keep_band(rows: Sequence[Row], difficulty: DifficultyConfig, seed: int) -> list[Choice]:
    """Keep what lies in the keep band, and of what lies outside the shares that are asked for."""
    low, high = difficulty.keep
    rates = [pass_rate(row) for row in rows]
    inside = [row.rate is None or row.facts["keep_probability"] >= 0.5 for row in rows]
    room = sum(inside)
    total_share = sum(difficulty.outside.values())
    extra: set[int] = set()
    for band, share in difficulty.outside.items():
        outside = [index for index, row in enumerate(rows) if not inside[index] and row.band == band]
        outside.sort(key=lambda index: draw_order(seed, rows[index].raw_id))
        extra.update(outside[: floor(room * share / (1 - total_share))])
    choices = []
    for index, rate in enumerate(rates):
        if rate is None or inside[index] or index in extra:
            choices.append(Choice(True))
        else:
            name = "too hard" if rate < (low + high) / 2 else "too easy"
            counts = rows[index].rate or {}
            of = f"{counts['passed']} of {counts['rollouts']}"
            detail = f"pass rate {rate:.3f} ({of}), kept: {low:g} to {high:g}"
            choices.append(Choice(False, name, detail))
    return choices


def balance(rows: Sequence[Row], config: BalanceConfig, seed: int) -> list[Choice]:
    """Choose the mix: per source at most its quota, per bin of pass rate at most its target, `size` in "
    "all."""
    order = sorted(range(len(rows)), key=lambda index: draw_order(seed, rows[index].raw_id))
    size = min(config.size or len(rows), len(rows))
    shares = target_shares(config)
    room = [size] * BINS
    if shares is not None:
        available = Counter(_bin(rows[index]) for index in order)
        if config.size is None:
            # The largest set that has the target's shape in every bin that holds anything.
            size = min(
                floor(available[bin] / share) for bin, share in enumerate(shares) if available[bin] and share
            )
        room = [round(size * share) for share in shares]
    source_room = {source: floor(share * size) for source, share in config.quotas.items()}
    left = size
    choices = [Choice(False)] * len(rows)
    for index in order:
        row = rows[index]
        if source_room.get(row.source, 1) <= 0:
            choices[index] = Choice(
                False, "quota", f"source {row.source} has its {config.quotas[row.source]:g}"
            )
        elif room[_bin(row)] <= 0:
            choices[index] = Choice(
                False, "balance", f"bin {_bin(row)} of pass rates is full for {config.target}"
            )
        elif left <= 0:
            choices[index] = Choice(False, "size", f"the set has its {size} problems")
        else:
            choices[index] = Choice(True)
            left -= 1
            room[_bin(row)] -= 1
            if row.source in source_room:
                source_room[row.source] -= 1
    return choices


def _bin(row: Row) -> int:
    rate = pass_rate(row)
    return 0 if rate is None else min(BINS - 1, int(rate * BINS))


def in_validation(group: str, share: float, seed: int) -> bool:
    """Whether a group of problems (a template with its variants) is in the validation split."""
    return draw_order(seed + 1, group) < share * 2**64
