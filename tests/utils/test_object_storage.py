"""URIs through Airflow's object storage."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_batch.exceptions import ConfigurationError
from airflow_provider_batch.utils.object_storage import resolve_airflow


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_file_is_written_and_read_with_and_without_a_scheme(tmp_path: Path, scheme: str) -> None:
    folder = resolve_airflow(f"{scheme}{tmp_path}/folder")
    assert folder.is_local
    (folder / "a.txt").write(b"hello")
    assert (tmp_path / "folder" / "a.txt").read_bytes() == b"hello"
    assert folder.list() == ["a.txt"]


def test_a_relative_path_is_on_the_local_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    resolve_airflow("folder/a.txt").write(b"x")
    assert (tmp_path / "folder" / "a.txt").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("scheme", "todo"),
    [
        ("s3", "install airflow-provider-batch[s3]"),
        ("gs", "install airflow-provider-batch[gcs]"),
        ("abfs", "install airflow-provider-batch[azure]"),
        ("nowhere", "install a provider that has one"),
    ],
)
def test_a_scheme_without_its_provider_says_what_to_install(
    scheme: str, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ObjectStoragePath.__module__}.attach", unregistered)
    with pytest.raises(ConfigurationError) as caught:
        resolve_airflow(f"{scheme}://conn@bucket/key")
    assert todo in str(caught.value)


def unregistered(protocol: str, _: str | None = None) -> None:
    """What Airflow says of a scheme without the package that brings it, whatever is installed here."""
    raise ValueError(f"No filesystem registered for scheme {protocol}")


@pytest.mark.parametrize("uri", ["", "  "])
def test_an_empty_path_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="empty path"):
        resolve_airflow(uri)
