"""The project's own files: what a registry, a package index and GitHub read."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_batch.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REGISTRY: dict[str, Any] = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
LISTS = {key: entries for key, entries in REGISTRY.items() if isinstance(entries, list)}
YAML_FILES = sorted(ROOT.glob(".github/**/*.yml"))


def test_the_registry_file_names_this_package_as_airflow_does() -> None:
    info = get_provider_info()
    assert (REGISTRY["package-name"], REGISTRY["display-name"]) == (info["package-name"], info["name"])
    assert REGISTRY["docs-url"] == PROJECT["urls"]["Documentation"]
    assert REGISTRY["source-url"] == PROJECT["urls"]["Source"]
    assert (ROOT / REGISTRY["logo"].partition("/main/")[2]).is_file()


def test_the_registry_file_lists_classes_that_exist_and_every_module_that_airflow_is_told() -> None:
    listed = [entry["module"] for entries in LISTS.values() for entry in entries]
    for path in listed:
        module, _, name = path.rpartition(".")
        assert inspect.getdoc(getattr(importlib.import_module(module), name))
    info = get_provider_info()
    told = {one for key in ("operators", "sensors", "hooks", "triggers") for one in info[key][0]["python-modules"]}
    told |= {transfer["python-module"] for transfer in info["transfers"]}
    assert told <= {path.rpartition(".")[0] for path in listed}


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda file: file.name)
def test_files_for_github_are_yaml_and_call_make_targets_that_exist(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\brun: make ([a-z]+)", file.read_text())) <= targets


def test_nothing_is_published_that_was_not_checked_by_the_same_command_as_here() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    checks = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text())["jobs"]
    assert (release["publish"]["needs"], release["build"]["needs"]) == ("build", "checks")
    assert release["checks"]["uses"] == "./.github/workflows/checks.yml"
    assert {"run": ".ci/run"} in checks["checks"]["steps"]
    assert release["publish"]["permissions"] == {"id-token": "write"}


def test_the_readme_is_short_and_its_links_lead_to_files() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) < 150
    links = [link for link in re.findall(r"\]\(([^)#]+)", readme) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    readme, figures = (ROOT / "README.md").read_text(), (ROOT / "docs" / "benchmarks.md").read_text()

    def cells(row: str) -> list[str]:
        return re.findall(rf"^\| {re.escape(row)} \| (.*) \|", figures, re.MULTILINE)[0].split(" | ")

    ours, theirs = cells("OpenAIBatchTrigger, this package"), cells("LLMBatchTrigger, common-ai")
    official = cells("OpenAIBatchTrigger, openai provider")
    assert f"| {ours[3]} | {official[3]} | {theirs[3]} |" in readme
    assert f"| {ours[4]} ms | {float(official[4].replace(',', '')) / 1000:.0f} s | {theirs[4]} ms |" in readme
    assert (
        f"| {cells('ours | 50,000')[0]} s | – | {cells('common.ai stream_results_to_jsonl | 50,000')[0]} s, as JSONL |"
        in readme
    )
