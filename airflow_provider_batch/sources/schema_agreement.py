"""Whether the files of a source agree on their columns, as far as a job asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_batch.exceptions import SourceError
from airflow_provider_batch.sources.row_chunk import SourceBatch

#: File → names of its columns; files without any are left out.
Names = Mapping[str, Sequence[str]]


def check_shared(names: Names) -> None:
    """Raise SourceError for a file that has no column in common with any other."""
    if len(names) < 2:
        return
    counts = Counter(name for own in names.values() for name in set(own))
    apart = [uri for uri, own in names.items() if all(counts[name] == 1 for name in own)]
    if apart:
        uri = apart[-1]
        other = next(known for known in names if known != uri)
        raise SourceError(
            f"this file has no column in common with the other files: expected columns as in {other} "
            f"({_listed(names[other])}), found {_listed(names[uri])}. Leave it out of the source, or name the columns "
            "alike.",
            file=uri,
        )


def check_twins(names: Names, used: Iterable[str]) -> None:
    """Raise SourceError for a file that has a used column under a name that differs in case or outer spaces alone."""
    for name in dict.fromkeys(used):
        for uri, own in names.items():
            twin = None if name in own else next((one for one in own if _plain(one) == _plain(name)), None)
            if twin is not None:
                raise SourceError(
                    f"expected this column, found '{twin}'. Name it alike in all files.", file=uri, column=name
                )


def twins_of(used: Iterable[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the used columns beside which there are others whose names differ in case or outer spaces alone."""
    plain = [(name, _plain(name)) for name in names]
    found = {name: [one for one, bare in plain if one != name and bare == _plain(name)] for name in used}
    return {name: others for name, others in found.items() if others}


def check_row_twins(batch: SourceBatch, twins: Mapping[str, Sequence[str]]) -> None:
    """Raise SourceError for a row, of JSON or of a list, that has a used column under such another name alone."""
    for name, others in twins.items():
        for index, row in enumerate(batch.objects or ()):
            twin = None if name in row else next((one for one in others if one in row), None)
            if twin is not None:
                problem = f"expected this column, found '{twin}'. Name it alike in all rows."
                raise SourceError(problem, **batch.place(index), column=name)


def doubled_error(uri: str, name: str, columns: Sequence[str]) -> SourceError:
    """Return the error for naming a column that a file has several times."""
    others = [own for own in columns if own != name and own.startswith(f"{name}_")]
    return SourceError(
        f"expected one column of this name, found several. They are read as {_listed([name, *others])}: give the "
        "columns of the file names that differ.",
        file=uri,
        column=name,
    )


def _plain(name: str) -> str:
    return name.strip().casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
