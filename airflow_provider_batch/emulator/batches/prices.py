"""What a batch costs: list price of its model, halved. An unknown price is None, never 0."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from airflow_provider_batch.emulator.records import Tokens

#: US dollars for a million tokens, in and out, where `genai-prices` is not installed.
_LIST = {
    "gpt-6-luna": ("0.10", "0.50"),
    "gpt-4o-mini": ("0.15", "0.60"),
    "gpt-4o": ("2.50", "10.00"),
    "gpt-4.1-nano": ("0.10", "0.40"),
    "gpt-4.1-mini": ("0.40", "1.60"),
    "gpt-4.1": ("2.00", "8.00"),
    "text-embedding-3-small": ("0.02", "0"),
    "text-embedding-3-large": ("0.13", "0"),
}
_SHARE_OF_BATCH = Decimal("0.5")
#: Tokens that a price is asked for: few enough for the lowest tier of a model with tiers.
_SAMPLE = 1_000


def cost(model: str | None, tokens: Tokens) -> Decimal | None:
    """Return what a batch's answered lines cost in US dollars."""
    rates = _rates(model or "")
    return None if rates is None else rates[0] * tokens.input + rates[1] * tokens.output


@lru_cache(maxsize=256)
def _rates(model: str) -> tuple[Decimal, Decimal] | None:
    """Return the batch price of one input and of one output token."""
    if model in _LIST:
        return _halved(*(Decimal(price) / 1_000_000 for price in _LIST[model]))
    try:
        from genai_prices import Usage, calc_price

        each = [
            calc_price(usage, model, provider_id="openai").total_price / _SAMPLE
            for usage in (Usage(input_tokens=_SAMPLE), Usage(output_tokens=_SAMPLE))
        ]
    except (ImportError, LookupError):
        return None
    return _halved(*each)


def _halved(price_in: Decimal, price_out: Decimal) -> tuple[Decimal, Decimal]:
    return price_in * _SHARE_OF_BATCH, price_out * _SHARE_OF_BATCH
