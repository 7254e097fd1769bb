"""
What one request cost, at the batch price, from the price table of `genai-prices` (offline; a snapshot shipped with it).

Three rules:

- Unknown is ``None``, never 0: a model that the table does not know, or a line without usage, has no price. The one
  free endpoint is moderations.
- A request is priced by itself: long-context tiers are chosen by the request's own input tokens, so the price of a sum
  is wrong.
- Where the table has no batch price for a model it answers with the standard price and does not say so. Equal prices
  are taken as that, and the documented 50 % is applied.

The table takes 0.1 ms for a request. Text requests are therefore priced from unit prices read out of it once for each
model; requests with audio or image tokens go through the table itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

#: Whole-number unit of all sums here: 10^-12 dollars, fine enough for any price per million tokens with 6 decimals.
PICODOLLARS = 12
#: Share of the standard price that the Batch API costs, where no batch price is known for a model.
BATCH_SHARE = Decimal("0.5")

#: Endpoints by their path, as request lines name them; this room knows no other.
_MODERATIONS = "/v1/moderations"
_IMAGE_ENDPOINTS = frozenset({"/v1/images/generations", "/v1/images/edits"})

_BATCH = {"processing": "batch"}
_PROVIDER = "openai"


class TokenUsage(Struct, frozen=True, gc=False):
    """The tokens of one answer, as the API reports them; None where it says nothing."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    output_image_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """Picodollars for a token, for requests of more than ``above`` input tokens."""

    above: int
    input: int
    cached: int
    cache_write: int
    output: int


@dataclass(frozen=True, slots=True)
class PriceList:
    """
    The batch prices of one model on one endpoint.

    :param tiers: In falling order of ``above``; the last has -1. Empty where every request has to go through the table.
    :param has_audio: Whether audio tokens have a price. They never cost what text costs, so else they have none.
    :param has_images: Whether image tokens have a price of their own; else they cost what text costs.
    """

    model: str
    endpoint: str
    tiers: tuple[Tier, ...]
    has_audio: bool = False
    has_images: bool = False
    free: bool = False

    def picodollars(self, usage: TokenUsage) -> int | None:
        """Return the price in 10^-12 dollars, or None where it cannot be known."""
        if self.free:
            return 0
        if usage.input_tokens is None:
            return None
        if usage.input_audio_tokens or usage.output_audio_tokens:
            return _priced_by_table(self.model, self.endpoint, usage) if self.has_audio else None
        if not self.tiers or (self.has_images and self._has_images(usage)):
            return _priced_by_table(self.model, self.endpoint, usage)
        return self.text_picodollars(
            usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens
        )

    def text_picodollars(self, count: int, output: int | None, cached: int | None, written: int | None) -> int | None:
        """
        Return the price of a request for text, where there are `tiers`.

        :param count: All input tokens, cached and written ones included.
        """
        tier = self.tiers[0]
        if count <= tier.above:
            tier = next(lower for lower in self.tiers if count > lower.above)
        cost = count * tier.input
        if cached or written:
            cached, written = cached or 0, written or 0
            if cached + written > count:
                return None  # counts that contradict each other have no price
            cost += cached * (tier.cached - tier.input) + written * (tier.cache_write - tier.input)
        return cost + output * tier.output if output else cost

    def text_costs(
        self,
        counts: Sequence[int],
        outputs: Sequence[int | None],
        cached: Sequence[int | None],
        written: Sequence[int | None],
    ) -> Sequence[int | None]:
        """Return `text_picodollars` of many requests."""
        if len(self.tiers) > 1 or any(cached) or any(written) or None in outputs:
            return list(map(self.text_picodollars, counts, outputs, cached, written))
        into, out = self.tiers[0].input, self.tiers[0].output
        return [count * into + output * out for count, output in zip(counts, outputs, strict=True)]  # type: ignore[operator]

    def _has_images(self, usage: TokenUsage) -> bool:
        return bool(usage.input_image_tokens or usage.output_image_tokens or self.endpoint in _IMAGE_ENDPOINTS)


@lru_cache(maxsize=1024)
def price_list(model: str | None, endpoint: str) -> PriceList | None:
    """Return the batch prices of a model, or None where the table does not know it."""
    if not model:
        return None
    try:
        batch = _table(model, TokenUsage(input_tokens=1), batch=True).model_price
    except (LookupError, ValueError):
        return None
    if endpoint == _MODERATIONS and not any(_unit_prices(batch)):
        return PriceList(model, endpoint, (), free=True)
    tiers = _tiers(batch, _share(model))
    if tiers is None:
        return None
    has_audio = batch.input_audio_mtok is not None or batch.output_audio_mtok is not None
    has_images = batch.input_image_mtok is not None or batch.output_image_mtok is not None
    return PriceList(model, endpoint, tiers, has_audio, has_images)


@lru_cache(maxsize=1024)
def _share(model: str) -> Decimal:
    """Return the factor for the table's batch prices: 1, or one half where they are the standard ones."""
    usage = TokenUsage(input_tokens=1)
    standard = _table(model, usage, batch=False).model_price
    known = _unit_prices(standard) != _unit_prices(_table(model, usage, batch=True).model_price)
    return Decimal(1) if known else BATCH_SHARE


def _unit_prices(prices: ModelPrice) -> tuple[Any, Any, Any, Any]:
    return prices.input_mtok, prices.cache_read_mtok, prices.cache_write_mtok, prices.output_mtok


def _tiers(prices: ModelPrice, share: Decimal) -> tuple[Tier, ...] | None:
    """
    Return the unit prices by input size, None where the model has no price for tokens.

    Empty means that a unit price is no whole number of picodollars: then every request goes through the table.
    """
    base, cached, written, output = _unit_prices(prices)
    if base is None:
        return None
    # A token that has no price of its own costs what its parent costs: a cached one what an input token costs.
    units = (base, base if cached is None else cached, base if written is None else written, output)
    starts = {tier.start for price in units for tier in getattr(price, "tiers", ())}
    tiers = []
    for start in sorted({-1, *starts}, reverse=True):
        parts = [_at(price, start) for price in units]
        scaled = [part * share * 10 ** (PICODOLLARS - 6) for part in parts]
        if any(value != int(value) for value in scaled):
            return ()
        tiers.append(Tier(start, *(int(value) for value in scaled)))
    return tuple(tiers)


def _at(price: Any, start: int) -> Decimal:
    """Return the price for a million tokens in the tier that begins above ``start``."""
    if price is None:
        return Decimal(0)
    if isinstance(price, Decimal):
        return price
    below = [tier.price for tier in price.tiers if tier.start <= start]
    return Decimal(below[-1] if below else price.base)


def _priced_by_table(model: str, endpoint: str, usage: TokenUsage) -> int | None:
    if endpoint in _IMAGE_ENDPOINTS and usage.output_image_tokens is None:
        # Older image models report one number: all of it is images.
        usage = msgspec.structs.replace(usage, output_image_tokens=usage.output_tokens)
    try:
        price = _table(model, usage, batch=True).total_price
    except (LookupError, ValueError):
        return None  # counts that contradict each other have no price
    return round((price * _share(model)).scaleb(PICODOLLARS))


def _table(model: str, usage: TokenUsage, *, batch: bool) -> PriceCalculation:
    import genai_prices

    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "input_image_tokens": usage.input_image_tokens,
        "output_image_tokens": usage.output_image_tokens,
    }
    return genai_prices.calc_price(
        genai_prices.Usage(**counts), model, provider_id=_PROVIDER, price_context=_BATCH if batch else None
    )
