"""Check that the files of a source have the same columns, as far as a job uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.row_chunk import SourceBatch

#: File URI → names of its columns; files without columns are left out.
Names = Mapping[str, Sequence[str]]


def check_shared(names: Names) -> None:
    """
    Check that every file shares a column with another file.

    :param names: Column names of each file.
    :raises SourceError: A file has no column in common with any other file.
    """
    if len(names) < 2:
        return
    counts = Counter(name for own in names.values() for name in set(own))
    apart = [uri for uri, own in names.items() if all(counts[name] == 1 for name in own)]
    if apart:
        uri = apart[-1]
        other = next(known for known in names if known != uri)
        raise SourceError(
            f"this file has no column in common with the other files: expected columns as in {other} "
            f"({_listed(names[other])}), found {_listed(names[uri])}. Leave the file out of the source, or give its "
            "columns the same names.",
            file=uri,
        )


def check_similar_names(names: Names, used: Iterable[str]) -> None:
    """
    Check that no file has a used column under a similar name only: one that differs in case or in outer spaces.

    :param names: Column names of each file.
    :param used: Columns that the job uses.
    :raises SourceError: A file has the column under a similar name only.
    """
    for name in dict.fromkeys(used):
        for uri, own in names.items():
            other = None if name in own else next((one for one in own if _plain(one) == _plain(name)), None)
            if other is not None:
                raise SourceError(
                    f"expected this column, found '{other}'. Give it the same name in all files.", file=uri, column=name
                )


def similar_columns(used: Iterable[str], names: Sequence[str]) -> dict[str, list[str]]:
    """
    Return, for each used column, the other columns whose names differ from it in case or outer spaces only.

    :param used: Columns that a job uses.
    :param names: All columns of the source.
    :return: Only used columns that have such others.
    """
    plain = [(name, _plain(name)) for name in names]
    found = {name: [one for one, bare in plain if one != name and bare == _plain(name)] for name in used}
    return {name: others for name, others in found.items() if others}


def check_similar_names_of_rows(batch: SourceBatch, similar: Mapping[str, Sequence[str]]) -> None:
    """
    Check that no row of JSON or of a list has a used column under a similar name only.

    :param batch: Rows to check.
    :param similar: Result of `similar_columns`.
    :raises SourceError: A row has the column under a similar name only.
    """
    for name, others in similar.items():
        for index, row in enumerate(batch.objects or ()):
            other = None if name in row else next((one for one in others if one in row), None)
            if other is not None:
                problem = f"expected this column, found '{other}'. Give it the same name in all rows."
                raise SourceError(problem, **batch.place(index), column=name)


def repeated_name_error(uri: str, name: str, columns: Sequence[str]) -> SourceError:
    """
    Return the error for a job that uses a column name that a file has several times.

    :param uri: The file.
    :param name: The repeated name.
    :param columns: Column names as they are read, each different.
    """
    others = [own for own in columns if own != name and own.startswith(f"{name}_")]
    return SourceError(
        f"expected one column of this name, found several. They are read as {_listed([name, *others])}: give each "
        "column of the file a different name.",
        file=uri,
        column=name,
    )


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
