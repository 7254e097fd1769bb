"""What a store refuses: one line that says what is wrong, in the same words for each store, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_batch.emulator.testing import Emulator
from airflow_provider_batch.exceptions import ConfigurationError, OpenAIBatchError, SourceError, StorageError
from airflow_provider_batch.jobs.ledger.store import LedgerStore, job_folder
from airflow_provider_batch.storage.errors import reason
from airflow_provider_batch.utils.object_storage import resolve_airflow
from tests.jobs.support import check_paid_once, run, some_rows, step_until_waiting
from tests.stores.conftest import CONTAINER, Place
from tests.stores.edge import Edge
from tests.stores.servers import Backend, define
from tests.stores.test_jobs import as_jsonl

DENIED = "the credentials are wrong, or lack the permission"
EXPIRED = "the credentials have expired"


def fails(emulator: Emulator, place: Place, request: Any, kind: Any) -> str:
    """Run a job that fails before anything is sent, and return the message."""
    with pytest.raises(OpenAIBatchError) as caught:
        run(request, place.tools(emulator))
    assert isinstance(caught.value, kind), repr(caught.value)
    assert [call for call in emulator.calls() if call["method"] == "POST"] == []
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestAMissingContainer:
    @pytest.fixture
    def nowhere(self, remote_place: Place) -> str:
        """A URI in a container that does not exist."""
        return remote_place.uri.replace(CONTAINER, "no-such-container")

    def test_of_a_source(self, emulator: Emulator, backend: Backend, remote_place: Place, nowhere: str) -> None:
        for source in (f"{nowhere}/in.jsonl", f"{nowhere}/in/", f"{nowhere}/*.jsonl"):
            found = fails(emulator, remote_place, remote_place.request(source), SourceError)
            assert found == f"{source}: the {backend.container} does not exist."

    def test_of_a_destination(self, emulator: Emulator, backend: Backend, remote_place: Place, nowhere: str) -> None:
        request = remote_place.request(some_rows(5), destination=f"{nowhere}/table")
        found = fails(emulator, remote_place, request, ConfigurationError)
        assert found.startswith(f"{nowhere}/table: ")
        assert f"the {backend.container} does not exist" in found
        assert remote_place.keys("state") == []

    def test_of_the_ledger(self, emulator: Emulator, backend: Backend, remote_place: Place, nowhere: str) -> None:
        found = fails(emulator, remote_place, remote_place.request(some_rows(5), state=f"{nowhere}/s"), StorageError)
        assert found.startswith(f"{nowhere}/s/")
        assert f"the {backend.container} does not exist" in found


def test_a_source_that_is_not_there(emulator: Emulator, remote_place: Place) -> None:
    for source, message in (
        (f"{remote_place.uri}/in.jsonl", "no such file or folder"),
        (f"{remote_place.uri}/in/*.jsonl", "matches no file"),
    ):
        assert message in fails(emulator, remote_place, remote_place.request(source), SourceError)


def test_a_connection_that_is_not_defined(remote_place: Place, backend: Backend) -> None:
    with pytest.raises(ConfigurationError, match=r"isn't defined|is not defined"):
        resolve_airflow(f"{backend.scheme}://nobody@{CONTAINER}/x").read_or_none()


@pytest.fixture
def stranger(remote: str, backend: Backend, remote_place: Place, request: pytest.FixtureRequest) -> Place:
    """The same folder with a secret that is wrong; where the server checks none, the edge refuses in its place."""
    if not backend.checks_secrets:
        edge: Edge = request.getfixturevalue("edge")
        edge.rule = lambda *_: backend.denied
    define(f"{remote}_stranger", backend.connection(wrong=True))
    conn = "stranger" if backend.checks_secrets else "edge"
    return Place(resolve_airflow(remote_place.uri.replace(f"{remote}_store", f"{remote}_{conn}")), remote_place.local)


def test_wrong_credentials(emulator: Emulator, remote_place: Place, stranger: Place) -> None:
    remote_place.put("in.jsonl", as_jsonl(some_rows(5)))
    for source in (f"{stranger.uri}/in.jsonl", f"{stranger.uri}/in/", f"{stranger.uri}/*.jsonl"):
        found = fails(emulator, stranger, stranger.request(source), SourceError | StorageError)
        assert found.startswith(source)
        assert DENIED in found
    found = fails(emulator, stranger, stranger.request(some_rows(5)), StorageError)
    assert found.startswith(f"{stranger.uri}/state/")
    assert DENIED in found


class TestATokenThatExpires:
    def test_half_way_fails_the_attempt_and_the_next_one_pays_nothing_again(
        self, emulator: Emulator, edge: Edge, backend: Backend, edge_place: Place
    ) -> None:
        emulator.configure(progress="hold")
        request, tools = edge_place.request(some_rows(25)), edge_place.tools(emulator)
        step_until_waiting(request, tools)
        created = emulator.state()["batches_created"]
        edge.rule = lambda *_: backend.expired
        with pytest.raises(StorageError) as caught:
            run(request, tools)
        assert EXPIRED in str(caught.value)
        assert "\n" not in str(caught.value)
        emulator.configure(progress="immediate")
        edge.rule = None
        run(request, tools)
        edge_place.check_table(some_rows(25))
        assert emulator.state()["batches_created"] == created
        check_paid_once(emulator)

    def test_while_results_are_landed_leaves_them_to_the_next_attempt(
        self, emulator: Emulator, edge: Edge, backend: Backend, edge_place: Place
    ) -> None:
        request, tools = edge_place.request(some_rows(25)), edge_place.tools(emulator)
        edge.rule = lambda method, path: backend.expired if "part-" in path and method in ("PUT", "POST") else None
        with pytest.raises(StorageError, match=EXPIRED) as caught:
            run(request, tools)
        assert "continues from there" in str(caught.value)
        edge.rule = None
        run(request, tools)
        edge_place.check_table(some_rows(25))
        check_paid_once(emulator)

    def test_while_the_source_is_read_is_worth_another_attempt(
        self, emulator: Emulator, edge: Edge, backend: Backend, edge_place: Place
    ) -> None:
        source = edge_place.put("in.jsonl", as_jsonl(some_rows(5)))
        edge.rule = lambda method, path: backend.expired if method == "GET" and "in.jsonl" in path else None
        found = fails(emulator, edge_place, edge_place.request(source), StorageError)
        assert EXPIRED in found
        assert found.startswith(source)


def test_a_ledger_that_is_no_ledger(emulator: Emulator, remote_place: Place) -> None:
    request = remote_place.request(some_rows(5))
    LedgerStore(job_folder(request.state, request.identity)).location.write(b"\x00" * 100)
    found = fails(emulator, remote_place, request, StorageError)
    assert "expected the ledger of a job, found 100 bytes that cannot be read" in found


def test_a_caller_without_any_credentials_is_not_told_that_they_have_expired(remote: str, backend: Backend) -> None:
    if remote != "gcs":
        pytest.skip("only Google Cloud Storage has one status for both")
    from gcsfs.retry import HttpError  # type: ignore[import-not-found,unused-ignore]

    error = HttpError({"code": 401, "message": "Anonymous caller does not have storage.objects.get access"})
    assert reason(error).startswith(DENIED)
