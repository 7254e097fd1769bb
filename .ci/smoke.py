"""Tries an installed wheel: everything loads without development packages, and Airflow lists the provider."""

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys

import airflow_provider_batch

DISTRIBUTION = "airflow-provider-batch"

#: Needs the extra of the same name.
OPTIONAL = "airflow_provider_batch.emulator"


def main() -> None:
    """Raise on the first thing that does not work."""
    for module in pkgutil.walk_packages(airflow_provider_batch.__path__, "airflow_provider_batch."):
        if not module.name.startswith(OPTIONAL):
            importlib.import_module(module.name)
    for entry_point in importlib.metadata.distribution(DISTRIBUTION).entry_points:
        entry_point.load()
    foreign = [str(file) for file in importlib.metadata.files(DISTRIBUTION) or [] if is_foreign(str(file))]
    assert not foreign, f"The wheel holds files outside its package: {foreign}"
    assert "airflow_provider_batch/py.typed" in map(str, importlib.metadata.files(DISTRIBUTION) or []), "No py.typed."
    listed = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", "list", "--output", "json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert DISTRIBUTION in listed.stdout, f"Airflow does not list the provider:\n{listed.stdout}"
    print(f"{DISTRIBUTION} {airflow_provider_batch.__version__}: imports, and Airflow lists it.")


def is_foreign(file: str) -> bool:
    """Whether a file of the wheel is outside the package, its metadata and its console script."""
    return not file.startswith(("airflow_provider_batch/", "airflow_provider_batch-", "../"))


if __name__ == "__main__":
    main()
