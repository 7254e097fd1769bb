"""Prices: exact, by the request, and unknown where they are unknown."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.pricing.prices import PICODOLLARS, TokenUsage, price_list

CHAT, EMBEDDINGS = Endpoint.CHAT_COMPLETIONS, Endpoint.EMBEDDINGS
OPENAI = next(provider for provider in get_snapshot().providers if provider.id == "openai")
MODELS = [model.id for model in OPENAI.models if price_list(model.id, CHAT) is not None]
SPEAKING = next(model.id for model in OPENAI.models if (known := price_list(model.id, CHAT)) and known.has_audio)


def request_cost(model: str | None, endpoint: str, usage: TokenUsage) -> Decimal | None:
    """In US dollars."""
    prices = price_list(model, endpoint)
    cost = None if prices is None else prices.picodollars(usage)
    return None if cost is None else Decimal(cost).scaleb(-PICODOLLARS)


def by_the_table(model: str, usage: TokenUsage, *, batch: bool) -> Decimal:
    counts = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    context = {"processing": "batch"} if batch else None
    return genai_prices.calc_price(counts, model, provider_id="openai", price_context=context).total_price


def test_there_are_models_to_test_with() -> None:
    assert len(MODELS) > 60


@settings(max_examples=300, deadline=None)
@given(
    model=st.sampled_from(MODELS),
    count=st.sampled_from([1, 199_999, 200_001, 272_000, 272_001, 900_000]) | st.integers(1, 10**6),
    output=st.integers(0, 10**5),
    shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
)
def test_unit_prices_give_what_the_table_gives(
    model: str, count: int, output: int, shares: tuple[float, float]
) -> None:
    """Long-context tiers and cached tokens among them, for every model of the table."""
    usage = TokenUsage(count, output, count + output, int(count * shares[0]), int(count * shares[1]))
    batch, standard = by_the_table(model, usage, batch=True), by_the_table(model, usage, batch=False)
    known = price_list(model, CHAT)
    assert known is not None
    small = TokenUsage(10, 10)
    factor = 1 if by_the_table(model, small, batch=True) != by_the_table(model, small, batch=False) else Decimal("0.5")
    assert request_cost(model, CHAT, usage) == batch * factor
    assert batch * factor <= standard


@pytest.mark.parametrize("model", ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"])
def test_embeddings_cost_half_though_the_table_knows_no_batch_price(model: str) -> None:
    usage = TokenUsage(input_tokens=1_000_000)
    assert by_the_table(model, usage, batch=True) == by_the_table(model, usage, batch=False)
    assert request_cost(model, EMBEDDINGS, usage) == by_the_table(model, usage, batch=False) / 2


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("gpt-6-luna", ("0.05", "0.005", "0.0625", "0.25")),
        ("gpt-6.1-terra", ("0.50", "0.025", "0.625", "2.50")),
        ("gpt-6.1-sol", ("1.00", "0.05", "1.25", "5.00")),
        ("gpt-6-astra", ("5.00", "0.50", "6.25", "25.00")),
    ],
)
def test_the_models_of_november_2026_cost_what_the_vendor_says(model: str, prices: tuple[str, ...]) -> None:
    """Input, cached, written and output tokens, the million at batch price."""
    thousand = [
        TokenUsage(1000, 0),
        TokenUsage(1000, 0, cached_tokens=1000),
        TokenUsage(1000, 0, cache_write_tokens=1000),
        TokenUsage(0, 1000),
    ]
    assert [request_cost(model, CHAT, usage) for usage in thousand] == [Decimal(price) / 1000 for price in prices]


def test_a_known_batch_price_is_not_halved_again() -> None:
    million = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert request_cost("gpt-4o-mini-2024-07-18", CHAT, million) == Decimal("0.375")


def test_a_long_request_is_priced_by_its_own_tier() -> None:
    below, above = (request_cost("gpt-5.4", CHAT, TokenUsage(count)) for count in (272_000, 272_001))
    assert below is not None
    assert above is not None
    assert above > Decimal("1.9") * below


@pytest.mark.parametrize("model", [None, "", "no-such-model", "sora-2"])
def test_an_unknown_model_has_no_price(model: str | None) -> None:
    """Invariant 10."""
    assert request_cost(model, CHAT, TokenUsage(10, 10)) is None


def test_an_answer_without_usage_has_no_price() -> None:
    assert request_cost("gpt-4o-mini", CHAT, TokenUsage()) is None


def test_counts_that_contradict_each_other_have_no_price() -> None:
    assert request_cost("gpt-4o-mini", CHAT, TokenUsage(10, 10, cached_tokens=11)) is None


def test_moderations_are_free() -> None:
    assert request_cost("omni-moderation-latest", Endpoint.MODERATIONS, TokenUsage()) == 0
    assert request_cost("omni-moderation-latest", CHAT, TokenUsage(10)) is None


def test_audio_and_images_have_prices_of_their_own() -> None:
    plain = request_cost(SPEAKING, CHAT, TokenUsage(1000, 1000))
    spoken = request_cost(SPEAKING, CHAT, TokenUsage(1000, 1000, output_audio_tokens=1000))
    assert plain is not None
    assert spoken is not None
    assert spoken > plain


def test_audio_that_the_table_has_no_price_for_has_none() -> None:
    """It never costs what text costs."""
    assert request_cost("gpt-4o-mini", CHAT, TokenUsage(1000, 1000)) is not None
    assert request_cost("gpt-4o-mini", CHAT, TokenUsage(1000, 1000, input_audio_tokens=5)) is None


def test_output_of_an_image_endpoint_is_images_where_it_does_not_say() -> None:
    usage = TokenUsage(input_tokens=100, output_tokens=1_000_000)
    as_images = TokenUsage(input_tokens=100, output_tokens=1_000_000, output_image_tokens=1_000_000)
    assert request_cost("gpt-image-1.5", Endpoint.IMAGES_GENERATIONS, usage) == request_cost(
        "gpt-image-1.5", CHAT, as_images
    )


def test_the_price_table_is_loaded_only_when_asked() -> None:
    code = "import sys, airflow_provider_batch.pricing.prices; assert 'genai_prices' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


tokens = st.none() | st.sampled_from([0, 0, 1, 500, 300_000])


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([model for model in MODELS if price_list(model, CHAT).tiers]),  # type: ignore[union-attr]
    st.lists(st.tuples(st.sampled_from([0, 1, 100, 300_000]), tokens, tokens, tokens), max_size=4),
)
def test_many_requests_cost_what_each_does(
    model: str, usages: list[tuple[int, int | None, int | None, int | None]]
) -> None:
    prices = price_list(model, CHAT)
    assert prices is not None
    columns = list(zip(*usages, strict=True)) or [()] * 4
    assert list(prices.text_costs(*columns)) == [prices.text_picodollars(*usage) for usage in usages]  # type: ignore[arg-type]
