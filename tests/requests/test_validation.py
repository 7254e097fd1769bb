"""What the API would refuse is known before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.api.endpoints import FACTS, Endpoint
from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.requests.validation import body_problem, count_inputs, endpoint_of

GOOD: dict[Endpoint, dict[str, Any]] = {
    Endpoint.RESPONSES: {"model": "m", "input": "x"},
    Endpoint.CHAT_COMPLETIONS: {"model": "m", "messages": [{"role": "user", "content": "x"}]},
    Endpoint.EMBEDDINGS: {"model": "m", "input": ["x"]},
    Endpoint.COMPLETIONS: {"model": "m", "prompt": "x"},
    Endpoint.MODERATIONS: {"input": "x"},
    Endpoint.IMAGES_GENERATIONS: {"prompt": "x"},
    Endpoint.IMAGES_EDITS: {"prompt": "x", "images": [{"file_id": "f"}]},
    Endpoint.VIDEOS: {"prompt": "x"},
}


@pytest.mark.parametrize("endpoint", Endpoint)
def test_a_body_with_all_it_needs_has_no_problem(endpoint: Endpoint) -> None:
    assert body_problem(endpoint, {**GOOD[endpoint], "stream": False, "anything": object()}) is None


@pytest.mark.parametrize(
    ("endpoint", "name"), [(endpoint, group[0]) for endpoint in Endpoint for group in FACTS[endpoint].required]
)
def test_a_body_without_a_member_it_needs_names_it(endpoint: Endpoint, name: str) -> None:
    missing = {key: value for key, value in GOOD[endpoint].items() if key != name}
    assert f"'{name}'" in str(body_problem(endpoint, missing))
    assert f"'{name}'" in str(body_problem(endpoint, {**missing, name: None}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stream": True}, "does not stream"),
        ({"stream": "true"}, "does not stream"),
        ({"model": ""}, "expected the name of a model"),
        ({"model": 5}, "found int 5"),
        ({"messages": []}, "expected a list of messages"),
        ({"messages": "hello"}, "found str 'hello'"),
        ({"input": 5}, "expected text or a list as 'input', found int 5"),
        ({"prompt": 0.5}, "expected text or a list as 'prompt', found float 0.5"),
    ],
)
def test_a_member_with_a_value_that_is_refused_is_named(change: dict[str, Any], expected: str) -> None:
    assert expected in str(body_problem(Endpoint.CHAT_COMPLETIONS, {**GOOD[Endpoint.CHAT_COMPLETIONS], **change}))


def test_a_stored_prompt_stands_for_an_input() -> None:
    assert body_problem(Endpoint.RESPONSES, {"model": "m", "prompt": {"id": "p"}}) is None


@pytest.mark.parametrize(
    ("value", "count"), [("x", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([], 1), (None, 1)]
)
def test_the_inputs_of_an_embedding_are_the_elements_of_its_array(value: Any, count: int) -> None:
    assert count_inputs(Endpoint.EMBEDDINGS, value) == count
    assert count_inputs(Endpoint.RESPONSES, value) == 1


@pytest.mark.parametrize("endpoint", Endpoint)
def test_an_endpoint_is_known_by_its_path(endpoint: Endpoint) -> None:
    assert endpoint_of(endpoint.value) is endpoint


def test_an_unknown_endpoint_lists_all_and_the_likely_one() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'/v1/response' is not an endpoint .*Did you mean '/v1/responses'\?"
    ) as raised:
        endpoint_of("/v1/response")
    assert all(endpoint.value in str(raised.value) for endpoint in Endpoint)
