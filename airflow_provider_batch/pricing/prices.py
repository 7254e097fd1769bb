"""
The cost of one request at the batch price, from the price table of `genai-prices` (offline: a snapshot in that
package).

Three rules:

- Unknown is ``None``, never 0: a model that the table does not know, or a line without usage, has no price. The only
  free endpoint is moderations.
- A request is priced by itself: its own input tokens select the long-context tier, so the price of a sum is wrong.
- Where the table has no batch price for a model, it returns the standard price without saying so. Where batch price and
  standard price are equal, the documented 50 % is applied.

A lookup in the table takes 0.1 ms. Text requests are therefore priced from unit prices that are read from it once for
each model; requests with audio or image tokens are looked up in the table.
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

#: Unit of all sums here, as a power of ten: 10^-12 dollars is exact for a price per million tokens with 6 decimals.
PICODOLLARS = 12
#: Share of the standard price that the Batch API costs, where no batch price is known for a model.
BATCH_SHARE = Decimal("0.5")

#: Paths of endpoints, as in request lines.
_MODERATIONS = "/v1/moderations"
_IMAGE_ENDPOINTS = frozenset({"/v1/images/generations", "/v1/images/edits"})

_BATCH = {"processing": "batch"}


@dataclass(frozen=True, slots=True)
class Tariff:
    """
    Whose prices apply.

    :param provider: Provider id in the price table; None where no price is known.
    :param share: Share of the standard price that a batch costs, where the table has no batch price for a model.
    """

    provider: str | None = "openai"
    share: Decimal = BATCH_SHARE


#: The prices of OpenAI.
OPENAI = Tariff()


class TokenUsage(Struct, frozen=True, gc=False):
    """
    The tokens of one response, as the API reports them; None where it reports no number.

    :param input_tokens: All input tokens, cached ones included.
    :param output_tokens: All output tokens, reasoning tokens included.
    :param total_tokens: Input and output tokens together.
    :param cached_tokens: Input tokens that were read from the prompt cache.
    :param cache_write_tokens: Input tokens that were written to the prompt cache.
    :param reasoning_tokens: Output tokens that the model used for reasoning.
    :param input_audio_tokens: Audio among the input tokens.
    :param output_audio_tokens: Audio among the output tokens.
    :param input_image_tokens: Images among the input tokens.
    :param output_image_tokens: Images among the output tokens.
    """

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
    """
    Unit prices for requests of one size, in picodollars (10^-12 dollars) for each token.

    :param above: The tier applies to requests with more input tokens than this; -1 for all sizes.
    :param input: Price of an input token.
    :param cached: Price of an input token from the prompt cache.
    :param cache_write: Price of an input token that is written to the prompt cache.
    :param output: Price of an output token.
    """

    above: int
    input: int
    cached: int
    cache_write: int
    output: int


@dataclass(frozen=True, slots=True)
class PriceList:
    """
    The batch prices of one model on one endpoint.

    :param model: Name of the model.
    :param endpoint: Path of the endpoint, such as ``/v1/responses``.
    :param tiers: In descending order of ``above``; the last has -1. Empty where every request is looked up in the
        table.
    :param has_audio: Whether audio tokens have a price; if not, requests with audio tokens have no known price.
    :param has_images: Whether image tokens have a price of their own; if not, they cost as much as text tokens.
    :param free: Whether every request costs nothing.
    :param tariff: Whose prices these are.
    """

    model: str
    endpoint: str
    tiers: tuple[Tier, ...]
    has_audio: bool = False
    has_images: bool = False
    free: bool = False
    tariff: Tariff = OPENAI

    def picodollars(self, usage: TokenUsage) -> int | None:
        """
        Return the price of one request in 10^-12 dollars, or None where it is not known.

        :param usage: Tokens of the response.
        """
        if self.free:
            return 0
        if usage.input_tokens is None:
            return None
        if usage.input_audio_tokens or usage.output_audio_tokens:
            return _priced_by_table(self.model, self.endpoint, usage, self.tariff) if self.has_audio else None
        if not self.tiers or (self.has_images and self._has_images(usage)):
            return _priced_by_table(self.model, self.endpoint, usage, self.tariff)
        return self.text_picodollars(
            usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens
        )

    def text_picodollars(self, count: int, output: int | None, cached: int | None, written: int | None) -> int | None:
        """
        Return the price of a text request in 10^-12 dollars, or None where the counts contradict each other.

        It may be called only where there are `tiers`.

        :param count: All input tokens, cached and written ones included.
        :param output: Output tokens; None counts as 0.
        :param cached: Input tokens from the prompt cache; None counts as 0.
        :param written: Input tokens written to the prompt cache; None counts as 0.
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
        """
        Return the prices of many text requests, in the order of the arguments; see `text_picodollars`.

        :param counts: Input tokens of each request.
        :param outputs: Output tokens of each request.
        :param cached: Cached input tokens of each request.
        :param written: Input tokens of each request that were written to the prompt cache.
        """
        if len(self.tiers) > 1 or any(cached) or any(written) or None in outputs:
            return list(map(self.text_picodollars, counts, outputs, cached, written))
        tier = self.tiers[0]
        return [count * tier.input + output * tier.output for count, output in zip(counts, outputs, strict=True)]  # type: ignore[operator]

    def _has_images(self, usage: TokenUsage) -> bool:
        return bool(usage.input_image_tokens or usage.output_image_tokens or self.endpoint in _IMAGE_ENDPOINTS)


@lru_cache(maxsize=1024)
def price_list(model: str | None, endpoint: str, tariff: Tariff = OPENAI) -> PriceList | None:
    """
    Return the batch prices of a model, or None where the table does not know the model.

    :param model: Name of the model; None gives None.
    :param endpoint: Path of the endpoint, such as ``/v1/responses``.
    :param tariff: Whose prices apply.
    """
    if not model or tariff.provider is None:
        return None
    try:
        batch = _table(model, TokenUsage(input_tokens=1), tariff, batch=True).model_price
    except (LookupError, ValueError):
        return None
    if endpoint == _MODERATIONS and not any(_unit_prices(batch)):
        return PriceList(model, endpoint, (), free=True, tariff=tariff)
    tiers = _tiers(batch, _share(model, tariff))
    if tiers is None:
        return None
    has_audio = batch.input_audio_mtok is not None or batch.output_audio_mtok is not None
    has_images = batch.input_image_mtok is not None or batch.output_image_mtok is not None
    return PriceList(model, endpoint, tiers, has_audio, has_images, tariff=tariff)


@lru_cache(maxsize=1024)
def _share(model: str, tariff: Tariff) -> Decimal:
    """Return the factor for the table's batch prices: 1, or the tariff's share where they equal the standard prices."""
    usage = TokenUsage(input_tokens=1)
    standard = _table(model, usage, tariff, batch=False).model_price
    known = _unit_prices(standard) != _unit_prices(_table(model, usage, tariff, batch=True).model_price)
    return Decimal(1) if known else tariff.share


def _unit_prices(prices: ModelPrice) -> tuple[Any, Any, Any, Any]:
    return prices.input_mtok, prices.cache_read_mtok, prices.cache_write_mtok, prices.output_mtok


def _tiers(prices: ModelPrice, share: Decimal) -> tuple[Tier, ...] | None:
    """
    Return the unit prices by input size, or None where the model has no price for tokens.

    An empty result means that a unit price is no whole number of picodollars: every request is looked up in the table.
    """
    base, cached, written, output = _unit_prices(prices)
    if base is None:
        return None
    # A token without a price of its own costs as much as its parent kind: a cached token as much as an input token.
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


def _priced_by_table(model: str, endpoint: str, usage: TokenUsage, tariff: Tariff) -> int | None:
    if endpoint in _IMAGE_ENDPOINTS and usage.output_image_tokens is None:
        # Older image models report one number of output tokens: all of them are images.
        usage = msgspec.structs.replace(usage, output_image_tokens=usage.output_tokens)
    try:
        price = _table(model, usage, tariff, batch=True).total_price
    except (LookupError, ValueError):
        return None  # counts that contradict each other have no price
    return round((price * _share(model, tariff)).scaleb(PICODOLLARS))


def _table(model: str, usage: TokenUsage, tariff: Tariff, *, batch: bool) -> PriceCalculation:
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
        genai_prices.Usage(**counts), model, provider_id=tariff.provider, price_context=_BATCH if batch else None
    )
