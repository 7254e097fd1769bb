"""What the README shows is true: its DAG is one, and the commands it names exist."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_batch.operators.openai_batch import OpenAIBatchOperator

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_dag_to_copy_is_a_dag(page: str) -> None:
    text = (Path(__file__).parents[1] / page).read_text()
    blocks = [dedent(block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    dag_file = next(block for block in blocks if "with DAG(" in block)
    written: dict[str, object] = {}
    exec(compile(re.sub(r"(with DAG\(.*\)):", r"\1 as dag:", dag_file), page, "exec"), written)
    dag = written["dag"]
    assert isinstance(dag, DAG)
    assert [type(task) for task in dag.tasks] == [OpenAIBatchOperator]


def test_every_argument_that_the_readme_names_is_one() -> None:
    import inspect

    arguments = inspect.signature(OpenAIBatchOperator.__init__).parameters
    named = re.findall(
        r"`(source|sql|sql_conn_id|sql_parameters|filters|sample|data_urls|limit|validate_only|raw|carry|timeout|rerun|max_failed|max_attempts|max_rounds)\b",
        README,
    )
    assert set(named) <= set(arguments)


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`|\$ make ([a-z]+)", README)) <= {(t, "") for t in targets} | {
        ("", t) for t in targets
    }


#: Models that their vendor has closed, or closes by 2027-01-14.
CLOSED = re.compile(
    r"\b(gpt-4o|gpt-4\.1|gpt-3\.5|gpt-5(-mini|-nano)?(?![.\w-])|o[134](-mini)?(?![\w-])|gpt-image-1(?!\d)|dall-e|sora|davinci)"
)


def test_what_is_there_to_copy_names_models_that_live() -> None:
    root = Path(__file__).parents[1]
    pages = [root / "README.md", *root.glob("docs/**/*.md")]
    pages += [
        *root.glob("example_dags/*.py"),
        *root.glob("demo/dags/*.py"),
        *root.glob("airflow_provider_batch/operators/*.py"),
    ]
    assert {page.name: found[0] for page in pages if (found := CLOSED.search(page.read_text()))} == {}
