"""The handbook: what its pages show exists, and what they generate covers the code."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from airflow_provider_batch.utils import metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAVIGATION = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The hook that MkDocs loads."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    assert set(re.findall(r"[\w/]+\.md", NAVIGATION)) == {str(page.relative_to(DOCS)) for page in PAGES}


def test_every_example_is_on_a_page_as_it_is(generate: ModuleType) -> None:
    shown = "\n".join(generate.expand(page.read_text(), page.name) for page in PAGES)
    plain = "\n".join(line.strip() for line in shown.splitlines())  # one is indented, in a box that opens
    examples = sorted([*(ROOT / "example_dags").glob("*.py"), *(DOCS / "how_to" / "testing").glob("*.py")])
    whole = {path: "\n".join(line.strip() for line in path.read_text().rstrip().splitlines()) for path in examples}
    assert [path.name for path, text in whole.items() if text not in plain] == []


def test_every_how_to_page_has_a_whole_dag_or_test(generate: ModuleType) -> None:
    pages = [page for page in PAGES if page.parent.name == "how_to"]
    assert [page.name for page in pages if 'python title="' not in generate.expand(page.read_text(), page.name)] == []


def test_a_file_that_does_not_exist_stops_the_build(generate: ModuleType) -> None:
    with pytest.raises(generate.GenerateError, match=r"page\.md: there is no file gone\.py"):
        generate.expand("[gone.py](https://github.com/a/b/blob/main/gone.py)", "page.md")


def test_everything_that_a_page_generates_can_be_generated(generate: ModuleType) -> None:
    for page in PAGES:
        assert "<!-- generate:" not in generate.expand(page.read_text(), page.name)


def test_an_unknown_generator_stops_the_build(generate: ModuleType) -> None:
    with pytest.raises(generate.GenerateError, match=r"page\.md.*'colums'"):
        generate.expand("<!-- generate: colums -->", "page.md")


def test_every_error_class_is_on_the_page_of_errors(generate: ModuleType) -> None:
    page = (DOCS / "reference" / "errors.md").read_text()
    assert [name for name in generate.error_classes() if f"<!-- generate: error {name} -->" not in page] == []


def test_every_argument_is_described_where_the_reference_takes_it_from() -> None:
    page = (DOCS / "reference" / "operators.md").read_text() + (DOCS / "reference" / "hook_and_trigger.md").read_text()
    undescribed = {}
    for path in re.findall(r"^::: ([\w.]+\.[A-Z]\w+)$", page, re.MULTILINE):
        module, _, name = path.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        taken = [
            argument
            for argument in inspect.signature(kind.__init__).parameters
            if argument not in ("self", "args", "kwargs")
        ]
        said = set(re.findall(r":param (\w+):", inspect.getdoc(kind) or ""))
        undescribed[name] = [argument for argument in taken if argument not in said]
    assert len(undescribed) > 4
    assert {name: arguments for name, arguments in undescribed.items() if arguments} == {}


def test_every_column_of_the_table_has_a_meaning_on_the_page(generate: ModuleType) -> None:
    for table in (generate.common_columns(), generate.endpoint_columns()):
        assert [line for line in table.splitlines() if line.endswith("|  |")] == []


def test_the_dashboard_shows_every_metric_that_is_sent() -> None:
    dashboard = (DOCS / "operations" / "dashboard.json").read_text()
    shown = set(re.findall(r"airflow_openai_batch_([a-z_]+?)(?:\(|\{|\)|$)", dashboard))
    assert shown == set(re.findall(r"`openai_batch\.(\w+)`", metrics.__doc__ or ""))
    assert {panel["title"] for panel in json.loads(dashboard)["panels"]} == set(
        re.findall(r"^\| ([A-Z][^|]+?) \|", (DOCS / "operations" / "metrics.md").read_text(), re.MULTILINE)
    )


def test_a_page_that_loads_from_elsewhere_is_found(generate: ModuleType) -> None:
    assert generate.FOREIGN_ASSET.search('<link href="https://fonts.example/x.css" rel="stylesheet">')
    assert generate.FOREIGN_ASSET.search('<script src="https://cdn.example/x.js">')
    assert not generate.FOREIGN_ASSET.search('<a href="https://example.org">')


def test_a_page_shows_the_code_of_a_docstring_without_its_directive(generate: ModuleType) -> None:
    html = "<p>Wait.</p>\n<p>.. code-block:: python</p>\n<pre>client()</pre>"
    assert generate.on_page_content(html, page=None, files=None) == "<p>Wait.</p>\n<pre>client()</pre>"


def test_the_tests_of_the_handbook_pass_as_a_user_runs_them(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "embed_a_table.py").symlink_to(ROOT / "example_dags" / "embed_a_table.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    quiet = ("-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, str(DOCS / "how_to" / "testing")],
        env={**environment, "DAGS_FOLDER": str(tmp_path / "dags"), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout
