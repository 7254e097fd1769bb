"""Token estimates from bytes."""

from __future__ import annotations

import pytest

from airflow_provider_batch.economics.tokens import estimate_input_tokens


@pytest.mark.parametrize(("byte_count", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (200_000_000, 50_000_000)])
def test_four_bytes_are_a_token_rounded_up(byte_count: int, tokens: int) -> None:
    assert estimate_input_tokens(byte_count) == tokens
