"""What Airflow learns of the package, against Airflow's own schemas, and what learning it costs."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from ast import literal_eval
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import airflow
import pytest
from jsonschema import validate

from airflow_provider_batch import __version__
from airflow_provider_batch.get_provider_info import get_provider_info
from airflow_provider_batch.hooks.openai_batch import OpenAIBatchHook

SCHEMAS = Path(airflow.__file__).parent
INFO = get_provider_info()


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return loaded


def modules() -> list[str]:
    listed = [
        module for key in ("hooks", "operators", "sensors", "triggers") for module in INFO[key][0]["python-modules"]
    ]
    return [*listed, *(transfer["python-module"] for transfer in INFO["transfers"])]


def classes() -> list[str]:
    return [
        *(connection["hook-class-name"] for connection in INFO["connection-types"]),
        *(decorator["class-name"] for decorator in INFO["task-decorators"]),
        *INFO["extra-links"],
    ]


def test_it_satisfies_the_schema_that_airflow_checks_at_start_up() -> None:
    validate(INFO, schema("provider_info.schema.json"))


@pytest.mark.parametrize("key", ["connection-types", "config"])
def test_its_parts_satisfy_the_stricter_schema_of_authors(key: str) -> None:
    authoring = schema("provider.yaml.schema.json")
    validate(INFO[key], {**authoring["properties"][key], "definitions": authoring.get("definitions", {})})


def test_every_option_that_is_read_is_described_with_the_default_that_is_taken() -> None:
    package = Path(importlib.import_module("airflow_provider_batch").__file__ or "").parent
    read = re.compile(r"""conf\.get\w*\("openai_batch", "(\w+)", fallback=(.+?)\)""")
    taken = {option: default for file in package.rglob("*.py") for option, default in read.findall(file.read_text())}
    described = {option: field["default"] for option, field in INFO["config"]["openai_batch"]["options"].items()}
    assert {option: str(literal_eval(default)).removesuffix(".0") for option, default in taken.items()} == described


def test_its_name_is_that_of_the_distribution() -> None:
    """Any other name breaks every `airflow` command."""
    assert INFO["package-name"] == distribution("airflow-provider-batch").metadata["Name"]


def test_it_is_found_through_its_entry_point() -> None:
    found = [
        point for point in entry_points(group="apache_airflow_provider") if "airflow_provider_batch" in point.value
    ]
    assert [point.load()() for point in found] == [INFO]


@pytest.mark.parametrize("module", modules())
def test_every_listed_module_can_be_imported(module: str) -> None:
    importlib.import_module(module)


@pytest.mark.parametrize("path", classes())
def test_every_listed_class_can_be_imported(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(module), name)


def test_the_hook_and_the_connection_type_agree() -> None:
    connection = INFO["connection-types"][0]
    assert connection["connection-type"] == OpenAIBatchHook.conn_type
    assert connection["hook-name"] == OpenAIBatchHook.hook_name


def test_every_field_of_the_form_is_one_that_the_hook_reads() -> None:
    from airflow_provider_batch.hooks.connection import EXTRA_KEYS

    assert set(INFO["connection-types"][0]["conn-fields"]) <= set(EXTRA_KEYS)


def test_an_option_came_with_a_version_that_exists() -> None:
    for option in INFO["config"]["openai_batch"]["options"].values():
        assert option["version_added"] <= __version__


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in shown.split()}


def test_learning_it_imports_nothing_heavy() -> None:
    loaded = loaded_after("from airflow_provider_batch.get_provider_info import get_provider_info; get_provider_info()")
    assert not loaded & {"airflow", "openai", "pyarrow", "pydantic", "httpx2", "msgspec", "fsspec"}


def test_parsing_a_dag_imports_neither_the_sdk_nor_arrow() -> None:
    rooms = ("hooks", "links", "sensors", "triggers")
    loaded = loaded_after("import " + ", ".join(f"airflow_provider_batch.{room}.openai_batch" for room in rooms))
    assert "airflow" in loaded
    assert not loaded & {"openai", "pyarrow", "pandas"}
