"""What users pass as `batch_id`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.storage import resolve
from airflow_provider_batch.utils.batch_ids import batch_ids_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("batch_1", ["batch_1"]),
        (" 6fd1b2c0-7c8d-4f8e-9a39-0c1d2e3f4a5b ", ["6fd1b2c0-7c8d-4f8e-9a39-0c1d2e3f4a5b"]),
        (["b1", "b2", "b1"], ["b1", "b2"]),
        (("b1",), ["b1"]),
        ("['b1', 'b2']", ["b1", "b2"]),
        ('["b1", "b2"]', ["b1", "b2"]),
        ({"job": "j", "batch_ids": ["b1"]}, ["b1"]),
        ("{'batch_ids': ['b1'], 'cost_usd': None}", ["b1"]),
        ([{"batch_ids": ["b1"]}, {"batch_ids": ["b2", "b1"]}], ["b1", "b2"]),
    ],
)
def test_ids_lists_summaries_and_their_rendered_texts_are_understood(given: Any, expected: list[str]) -> None:
    assert batch_ids_of(given, resolve) == expected


def test_a_manifest_is_read_from_its_path_or_through_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "_manifest-0123456789ab.json"
    path.write_text(json.dumps({"job": "0123456789ab", "batch_ids": ["b1", "b2"]}))
    assert batch_ids_of(str(path), resolve) == ["b1", "b2"]
    assert batch_ids_of(f"file://{path}", resolve) == ["b1", "b2"]
    assert batch_ids_of({"job": "0123456789ab", "manifest": str(path)}, resolve) == ["b1", "b2"]


@pytest.mark.parametrize(
    "given", ["", "  ", [], {}, {"batch_ids": []}, "None", None, 7, "two words", "[not a list", b"batch_1"]
)
def test_what_names_no_batch_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_id"):
        batch_ids_of(given, resolve)


@pytest.mark.parametrize("content", [None, "no JSON", "{}", "[]"])
def test_what_is_no_manifest_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "m.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"m\.json"):
        batch_ids_of(str(path), resolve)
