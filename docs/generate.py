"""
What pages of the handbook take from the code, so that they cannot differ from it.

MkDocs loads this file as a hook. In a page,

- a line ``<!-- generate: NAME -->`` is replaced by what the function of that name in `GENERATORS` returns;
- a line that is nothing but a link to a Python file of this repository is replaced by the file.

An unknown name stops the build, and so does a file that does not exist, or an asset that a page would load from another
host. Nothing here needs MkDocs itself, so that tests can call it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_batch.answers.column import Column
    from airflow_provider_batch.api.service import Service

#: A line of a page that is replaced.
MARKER = re.compile(r"^<!-- generate: ([a-z_]+)(?: ([\w.]+))? -->$", re.MULTILINE)

#: A line of a page that stands for a file: whoever reads the page on GitHub sees the link.
FILE = re.compile(r"^( *)\[([\w./]+\.py)\]\(https://github\.com/[\w./-]+/blob/main/\2\)$", re.MULTILINE)

ROOT = Path(__file__).parents[1]

#: Scripts, styles, fonts and pictures of other hosts. Links are no assets.
FOREIGN_ASSET = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link(?=[^>]*rel=["']?(?:stylesheet|preconnect|icon))[^>]*href=["']?(?:https?:)?//"""
)


class GenerateError(Exception):
    """A page asks for something that cannot be generated."""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace the markers of a page. MkDocs calls it."""
    return expand(markdown, page.file.src_uri)


def on_page_content(html: str, page: Any, files: Any, **_: Any) -> str:
    """
    Make links of the pages that docstrings name, such as ``docs/input.md``, and remove their lines ``.. code-block::``.

    MkDocs calls it. The indented lines of a ``code-block`` are code in Markdown too; only the directive is not known.
    """

    def link(found: re.Match[str]) -> str:
        named = files.get_file_from_path(found[1])
        if named is None:
            raise GenerateError(f"{page.file.src_uri}: a docstring names docs/{found[1]}, which is no page.")
        return f'<a href="{named.url_relative_to(page.file)}">{found[0]}</a>'

    html = re.sub(r"<p>\.\. code-block:: \w+</p>\n?", "", html)
    return re.sub(r"<code>docs/([\w/]+\.md)</code>", link, html)


def on_post_build(config: Any, **_: Any) -> None:
    """Stop where a page loads something from another host. MkDocs calls it."""
    foreign = [str(path) for path in Path(config["site_dir"]).rglob("*.html") if FOREIGN_ASSET.search(path.read_text())]
    if foreign:
        raise GenerateError(f"Pages that load assets from other hosts: {', '.join(foreign)}")


def expand(markdown: str, page: str) -> str:
    """
    Return a page with its markers replaced.

    :param page: Path of the page, for the error.
    """

    def replace(found: re.Match[str]) -> str:
        name, argument = found.groups()
        if name not in GENERATORS:
            raise GenerateError(f"{page}: there is no generator {name!r}; there are {', '.join(sorted(GENERATORS))}.")
        return GENERATORS[name](argument) if argument else GENERATORS[name]()

    def include(found: re.Match[str]) -> str:
        indent, path = found.groups()
        if not (ROOT / path).is_file():
            raise GenerateError(f"{page}: there is no file {path}.")
        block = f'```python title="{path}"\n{(ROOT / path).read_text().rstrip()}\n```'
        return "\n".join(f"{indent}{line}".rstrip() for line in block.splitlines())

    return FILE.sub(include, MARKER.sub(replace, markdown))


# The parts


def common_columns() -> str:
    """Return the table of the columns that every endpoint has."""
    from airflow_provider_batch.table.columns import COMMON_COLUMNS, RESPONSE, RESPONSE_COLUMN

    return _columns({**COMMON_COLUMNS, RESPONSE_COLUMN: RESPONSE})


def endpoint_columns() -> str:
    """Return a table of columns for each endpoint."""
    from airflow_provider_batch.table.columns import ENDPOINT_COLUMNS

    return "\n\n".join(f"### `{endpoint.value}`\n\n{_columns(own)}" for endpoint, own in ENDPOINT_COLUMNS.items())


def _columns(columns: Mapping[str, Column]) -> str:
    rows = ((f"`{name}`", _type(column.type), column.meaning) for name, column in columns.items())
    return _table(("column", "type", "meaning"), rows)


def configuration() -> str:
    """Return the options of Airflow's configuration section."""
    from airflow_provider_batch.get_provider_info import get_provider_info

    ((section, said),) = get_provider_info()["config"].items()
    parts = []
    for name, option in said["options"].items():
        variable = f"AIRFLOW__{section.upper()}__{name.upper()}"
        default = f"`{option['default']}`" if option["default"] else "empty"
        facts = f"Type {option['type']}, default {default}, for example `{option['example']}`. Variable: `{variable}`."
        parts.append(f"### `[{section}] {name}`\n\n{_code(option['description'])}\n\n{facts}")
    return "\n\n".join(parts)


def connection_fields() -> str:
    """Return the fields of the connection form."""
    from airflow_provider_batch.get_provider_info import get_provider_info

    (connection,) = get_provider_info()["connection-types"]
    rows = [(said["label"], f"`{name}`", said["description"]) for name, said in connection["conn-fields"].items()]
    return _table(("field of the form", "key of the extra", "meaning"), rows)


def command_line() -> str:
    """Return what `--help` says of each command."""
    import typer

    from airflow_provider_batch.cli.commands import app

    group: Any = typer.main.get_command(app)
    parent = group.context_class(group, info_name="openai-batch")
    parts = [str(group.help)]
    for name, command in group.commands.items():
        context = command.context_class(command, info_name=name, parent=parent)
        usage = command.get_usage(context).removeprefix("Usage: ")
        rows = [record for parameter in command.params if (record := _parameter(parameter, context))]
        epilog = f"```console\n$ {(command.epilog or usage).removeprefix('Example: ')}\n```"
        parts.append(f"## `openai-batch {name}`\n\n{command.help}\n\n{epilog}\n\n{_table(('option', 'meaning'), rows)}")
    return "\n\n".join(parts)


def error(name: str) -> str:
    """Return what an error class says of itself, and whether Airflow tries again."""
    from airflow_provider_batch import exceptions

    kind = getattr(exceptions, name)
    again = "Airflow retries the task." if kind.retryable else "Airflow does not retry the task."
    said = (inspect.getdoc(kind) or "").partition(":param")[0].strip()
    return f"{_code(said)} {again} Base: `{kind.__base__.__name__}`."


def error_classes() -> Iterator[str]:
    """Yield the names of all error classes, the base first."""
    from airflow_provider_batch import exceptions

    for name, kind in vars(exceptions).items():
        if inspect.isclass(kind) and issubclass(kind, exceptions.OpenAIBatchError):
            yield name


def emulator_settings() -> str:
    """Return the settings of the emulator."""
    from airflow_provider_batch.emulator.settings import Settings

    rows = [
        (f"`{name}`", f"`{field.get_default()!r}`", field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return _table(("setting", "default", "meaning"), rows)


def emulator_faults() -> str:
    """Return the table of faults, as the module's own documentation has it."""
    from airflow_provider_batch.emulator import faults

    return inspect.getdoc(faults) or ""


def services() -> str:
    """Return the table of services that have the API's shape."""
    from airflow_provider_batch.api.services import SERVICES

    head = (
        "service",
        "name",
        "endpoints",
        "requests, MB of a file",
        "window",
        "output expiry",
        "metadata",
        "share",
        "source",
    )
    return _table(head, [_service(service) for service in SERVICES if service.other_shape is None])


def _service(service: Service) -> tuple[str, ...]:
    from airflow_provider_batch.api.endpoints import Endpoint

    paths = [f"`{endpoint.value.removeprefix('/v1/')}`" for endpoint in service.endpoints]
    windows = "any" if service.windows is None else " to ".join(dict.fromkeys(service.windows))
    days = () if service.expiry is None else (f"{seconds / 86_400:.2g}" for seconds in service.expiry)
    return (
        f"`{service.key}`",
        service.name,
        "all" if len(paths) == len(Endpoint) else ", ".join(paths),
        f"{service.max_requests:,}, {service.max_file_bytes // 1_000_000}",
        windows,
        " to ".join(days) or "not taken",
        "yes" if service.takes_metadata else "no",
        f"{service.share:.0%}" if service.prices else "unknown",
        service.source,
    )


def other_services() -> str:
    """Return the table of services whose batch API has another shape."""
    from airflow_provider_batch.api.services import SERVICES

    rows = [(f"`{one.key}`", one.name, one.other_shape, one.source) for one in SERVICES if one.other_shape is not None]
    return _table(("service", "name", "what it has instead", "source"), rows)


def service_fields() -> str:
    """Return the fields of a service's description, as the class's own documentation has them."""
    from airflow_provider_batch.api.described_service import FIELDS
    from airflow_provider_batch.api.service import Service

    said = dict(re.findall(r":param (\w+): ((?:.|\n)+?)(?=:param|\Z)", inspect.getdoc(Service) or ""))
    said["like"] = "Key of the service whose other facts apply."
    rows = [(f"`{name}`", _code(" ".join(said[name].split()))) for name in FIELDS]
    return _table(("field", "meaning"), rows)


def metrics() -> str:
    """Return the table of metrics, as the module's own documentation has it."""
    import ast

    # Read, not imported: the docs environment need not set up Airflow.
    path = ROOT / "airflow_provider_batch" / "utils" / "metrics.py"
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return said[said.index("|") :]


def airflow_features() -> str:
    """Return what older versions of Airflow lack, and what happens there."""
    from airflow_provider_batch.utils.airflow_versions import FEATURES

    rows = [(f"{feature.since} and later", feature.gives, feature.without) for feature in FEATURES]
    return _table(["with Airflow", "what you have", "what happens before"], rows)


GENERATORS: Mapping[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        common_columns,
        endpoint_columns,
        configuration,
        connection_fields,
        command_line,
        error,
        emulator_settings,
        emulator_faults,
        services,
        other_services,
        service_fields,
        metrics,
        airflow_features,
    )
}


# Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(text: str) -> str:
    """Return text of a docstring, whose code is in two backticks, as Markdown."""
    return text.replace("``", "`").replace("\n", " ")


def _type(kind: Any) -> str:
    """Return an Arrow type as a reader of tables writes it."""
    text = re.sub(r"<(?:item|element): ", "<", str(kind)).replace("element: ", "")
    return f"`{text}`"


def _parameter(parameter: Any, context: Any) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None:
        return (f"`{parameter.make_metavar(context)}`", getattr(parameter, "help", None) or "")
    return (f"`{record[0]}`", record[1].replace("[", r"\["))
