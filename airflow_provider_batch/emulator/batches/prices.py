"""Compute what a batch costs: half of the list price of its model. An unknown price is None, never 0."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from airflow_provider_batch.emulator.records import Tokens

#: US dollars for a million input and output tokens; models that are missing here need `genai-prices`.
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
#: Tokens for which a price is computed: few enough for the lowest price tier of a model.
_SAMPLE = 1_000


def cost(model: str | None, tokens: Tokens) -> Decimal | None:
    """
    Return what the answered lines of a batch cost, in US dollars; None where the price is unknown, 0 without tokens.

    :param model: Name of the model.
    :param tokens: Tokens of all answered lines.
    """
    if tokens == Tokens():
        return Decimal(0)
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
