"""Every Arrow type has its stated form, from a Parquet file to the request line and to the carried column."""

# ruff: noqa: E501 - a table with one type a line

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_batch.api.endpoints import Endpoint
from airflow_provider_batch.arrow.values import JSON_FORMS, unstorable_type
from airflow_provider_batch.exceptions import InputError, SourceError
from airflow_provider_batch.requests.prepare import RequestSpec, prepare
from airflow_provider_batch.requests.shards import Shard
from airflow_provider_batch.requests.sidecar import read_sidecar
from airflow_provider_batch.requests.templates.rendering import TemplateRenderer
from airflow_provider_batch.sources.column_paths import Columns
from airflow_provider_batch.sources.open_source import open_source
from airflow_provider_batch.sources.row_chunk import SourceBatch
from airflow_provider_batch.sources.source import Source

BODY = {"model": "m", "input": "<{x}>", "vendor": {"alone": "{x}"}}
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
MOMENT = dt.datetime(2026, 11, 1, 9, 30, 0, 250_000)
DECIMALS = [pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(30, 2), pa.decimal256(50, 2)]


def of(value: Any, kind: pa.DataType) -> pa.Array:
    return pa.array([value], kind)


#: Array of one value → its form inside a text, and alone (as JSON).
FORMS: list[tuple[pa.Array, str, str]] = [
    (of(True, pa.bool_()), "true", "true"),
    *[(of(12, getattr(pa, name)()), "12", "12") for name in INTEGERS],
    (of(2**64 - 1, pa.uint64()), "18446744073709551615", "18446744073709551615"),
    *[(of(0.5, kind), "0.5", "0.5") for kind in (pa.float16(), pa.float32(), pa.float64())],
    (of(1e300, pa.float64()), "1e+300", "1e300"),
    *[(of(Decimal("12.50"), kind), "12.50", "12.50") for kind in DECIMALS],
    (of(Decimal(10**40), pa.decimal256(50, 0)), "1" + "0" * 40, "1" + "0" * 40),
    *[(of('a"b\n\u2028é', kind), 'a"b\n\u2028é', '"a\\"b\\n\u2028é"') for kind in (pa.string(), pa.large_string())],
    (of("x", pa.string_view()), "x", '"x"'),
    *[(of(b"\x00\xff", kind), "AP8=", '"AP8="') for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2))],
    *[(of(dt.date(2026, 11, 1), kind), "2026-11-01", '"2026-11-01"') for kind in (pa.date32(), pa.date64())],
    *[(of(dt.time(9, 30), kind), "09:30:00", '"09:30:00"') for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("ns"))],
    (of(dt.time(9, 30, 0, 250_000), pa.time64("us")), "09:30:00.250000", '"09:30:00.250000"'),
    *[(of(MOMENT, pa.timestamp(unit)), "2026-11-01T09:30:00.250000", '"2026-11-01T09:30:00.250000"') for unit in ("ms", "us", "ns")],
    (of(MOMENT.replace(microsecond=0), pa.timestamp("s")), "2026-11-01T09:30:00", '"2026-11-01T09:30:00"'),
    (of(MOMENT, pa.timestamp("us", "UTC")), "2026-11-01T09:30:00.250000Z", '"2026-11-01T09:30:00.250000Z"'),
    (of(MOMENT.replace(hour=8), pa.timestamp("ns", "Europe/Berlin")), "2026-11-01T09:30:00.250000+01:00", '"2026-11-01T09:30:00.250000+01:00"'),
    *[(of(dt.timedelta(days=1, hours=1), pa.duration(unit)), "P1DT3600S", '"P1DT3600S"') for unit in ("s", "ms", "us", "ns")],
    (of((1, 2, 3_500_000_000), pa.month_day_nano_interval()), "P1M2DT3.5S", '"P1M2DT3.5S"'),
    (of((0, 0, 0), pa.month_day_nano_interval()), "PT0S", '"PT0S"'),
    (of((-1, 0, -1), pa.month_day_nano_interval()), "P-1MT-0.000000001S", '"P-1MT-0.000000001S"'),
    *[
        (of([1, None], kind), "[1,null]", "[1,null]")
        for kind in (pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2), pa.list_view(pa.int64()), pa.large_list_view(pa.int64()))
    ],
    (of({"a": [1.5], "b": None}, pa.struct([("a", pa.list_(pa.float32())), ("b", pa.string())])), '{"a":[1.5],"b":null}', '{"a":[1.5],"b":null}'),
    (of([(1, b"\x00")], pa.map_(pa.int64(), pa.binary())), '{"1":"AA=="}', '{"1":"AA=="}'),
    (of([(dt.date(2026, 11, 1), [("k", MOMENT)])], pa.map_(pa.date32(), pa.map_(pa.string(), pa.timestamp("ns")))), '{"2026-11-01":{"k":"2026-11-01T09:30:00.250000"}}', '{"2026-11-01":{"k":"2026-11-01T09:30:00.250000"}}'),
    (of([{"t": MOMENT, "m": [("k", 1)]}], pa.list_(pa.struct([("t", pa.timestamp("ns", "UTC")), ("m", pa.map_(pa.string(), pa.int8()))]))), '[{"t":"2026-11-01T09:30:00.250000Z","m":{"k":1}}]', '[{"t":"2026-11-01T09:30:00.250000Z","m":{"k":1}}]'),
    (pa.array(["x"]).dictionary_encode(), "x", '"x"'),
    (pa.array([{"d": "x"}]).cast(pa.struct([("d", pa.string())])), '{"d":"x"}', '{"d":"x"}'),
    (pa.StructArray.from_arrays([pa.array(["x"]).dictionary_encode()], ["d"]), '{"d":"x"}', '{"d":"x"}'),
    (pa.RunEndEncodedArray.from_arrays([1], ["x"]), "x", '"x"'),
    (pa.RunEndEncodedArray.from_arrays([1], pa.array([MOMENT], pa.timestamp("ns"))), "2026-11-01T09:30:00.250000", '"2026-11-01T09:30:00.250000"'),
    (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), "00000000-0000-0000-0000-000000000001", '"00000000-0000-0000-0000-000000000001"'),
    (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), "true", "true"),
    (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}'])), '{"a":1}', '"{\\"a\\":1}"'),
    (pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2]), of([1, 2], pa.list_(pa.int32(), 2))), "[1,2]", "[1,2]"),
]  # fmt: skip
IDS = [f"{index}-{array.type}" for index, (array, _, _) in enumerate(FORMS)]


def line_of(line: bytes) -> tuple[str, str]:
    """Return the text of the value inside a string, and the bytes of the value alone."""
    body = line.partition(b'"body":')[2][:-1]
    alone = body.rpartition(b'"vendor":{"alone":')[2].removesuffix(b"}}").decode()
    return json.loads(body)["input"].removeprefix("<").removesuffix(">"), alone


@pytest.mark.parametrize(("array", "inside", "alone"), FORMS, ids=IDS)
def test_a_value_inside_a_text_and_alone(array: pa.Array, inside: str, alone: str) -> None:
    batch = pa.record_batch([pa.concat_arrays([array, array])], ["x"])
    renderer = TemplateRenderer(Endpoint.RESPONSES, BODY, Columns(batch.schema))
    assert [line_of(line) for line in renderer.render(SourceBatch(batch)).lines] == [(inside, alone)] * 2


@pytest.mark.parametrize(("array", "inside", "alone"), FORMS, ids=IDS)
def test_from_a_parquet_file_to_the_line_and_the_carried_column(
    tmp_path: Path, array: pa.Array, inside: str, alone: str
) -> None:
    if unstorable_type(array.type) is not None:
        pytest.skip("Parquet holds no such type")
    null = pa.nulls(1, array.type) if not isinstance(array.type, pa.BaseExtensionType) else array
    models = pa.array(["m", "n", "m"])  # rows of several models are taken apart, which needs more of a type
    pq.write_table(pa.table({"x": pa.chunked_array([array, array, null]), "model": models}), tmp_path / "a.parquet")
    shards: list[Shard] = []
    spec = RequestSpec(Endpoint.RESPONSES, {**BODY, "model": "{model}"}, null_text="none")
    prepared = prepare(open_source(str(tmp_path / "a.parquet")), spec, tmp_path / "out", shards.append)
    lines = [line for shard in shards for line in shard.lines.read_bytes().splitlines()]
    assert line_of(lines[0]) == (inside, alone)
    assert line_of(lines[1]) == ((inside, alone) if null is array else ("none", "null"))
    carried = pa.Table.from_batches([batch for shard in shards for batch in read_sidecar(shard.rows)])
    landed = pa.Table.from_struct_array(carried["carried"].combine_chunks())
    pq.write_table(landed, tmp_path / "landed.parquet")
    assert landed.schema == prepared.carried
    assert pq.read_table(tmp_path / "landed.parquet")["x"].num_chunks == 1


def test_a_null_is_null_alone_and_an_error_inside_a_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.nulls(2), "t": ["a", "b"]}), tmp_path / "a.parquet")
    shards: list[Shard] = []
    spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{t}", "vendor": {"alone": "{x}"}})
    prepare(open_source(str(tmp_path / "a.parquet")), spec, tmp_path / "out", shards.append)
    assert b'"vendor":{"alone":null}' in shards[0].lines.read_bytes()
    with pytest.raises(InputError, match=r"row 0, column 'x': expected a value for \{x\} inside a text, found null"):
        prepare(open_source(str(tmp_path / "a.parquet")), RequestSpec(Endpoint.RESPONSES, BODY), tmp_path / "b", print)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_float_without_a_json_form_is_named(tmp_path: Path, kind: pa.DataType, value: float) -> None:
    pq.write_table(pa.table({"x": pa.array([1.5, value], kind), "t": ["a", "b"]}), tmp_path / "a.parquet")
    spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{t}", "vendor": {"alone": "{x}"}})
    with pytest.raises(InputError, match=r"a\.parquet, row 1, column 'x': .*found NaN or an infinity"):
        prepare(open_source(str(tmp_path / "a.parquet")), spec, tmp_path / "out", print)
    carried_only = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{t}"})
    assert (
        prepare(open_source(str(tmp_path / "a.parquet")), carried_only, tmp_path / "b", lambda shard: None).row_count
        == 2
    )


@pytest.mark.parametrize(
    "array",
    [
        pa.array([0, 10**15], pa.timestamp("s")),
        pa.array([0, 10**9], pa.date32()),
        pa.array([0, 2**62], pa.duration("s")),
    ],
)
def test_a_value_past_the_calendar_is_named(tmp_path: Path, array: pa.Array) -> None:
    batch = pa.record_batch([array], ["x"])
    renderer = TemplateRenderer(Endpoint.RESPONSES, BODY, Columns(batch.schema))
    with pytest.raises(SourceError, match=r"row 8, column 'x': expected a value that can be written as JSON"):
        renderer.render(SourceBatch(batch, first_row=7))


def test_a_zone_that_nobody_knows_is_named(tmp_path: Path) -> None:
    batch = pa.record_batch([pa.array([None, 0], pa.timestamp("us", "Nowhere/Zone"))], ["x"])
    renderer = TemplateRenderer(Endpoint.RESPONSES, BODY, Columns(batch.schema))
    with pytest.raises(SourceError, match=r"row 1, column 'x': expected a value .* timestamp\[us, tz=Nowhere/Zone\]"):
        renderer.render(SourceBatch(batch))


UNION = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])


@pytest.mark.parametrize("array", [UNION, pa.StructArray.from_arrays([UNION], ["u"])], ids=["alone", "nested"])
def test_a_type_without_a_form_is_refused_before_any_row(array: pa.Array) -> None:
    with pytest.raises(InputError, match=r"column 'x': body\.input: a value of type sparse_union.* has no JSON form"):
        TemplateRenderer(Endpoint.RESPONSES, BODY, Columns(pa.record_batch([array], ["x"]).schema))


@pytest.mark.parametrize(
    "array", [UNION, of((1, 2, 3), pa.month_day_nano_interval()), pa.RunEndEncodedArray.from_arrays([1], ["x"])]
)
def test_a_type_that_parquet_cannot_hold_is_refused_as_a_carried_column(tmp_path: Path, array: pa.Array) -> None:
    class OneBatch(Source):
        listing, keeps_objects = (), False
        _own_schema = pa.schema([("x", array.type), ("t", pa.string())])

        def _pieces(self, columns: Any) -> Iterator[SourceBatch]:
            texts = pa.array(["a"] * len(array))
            yield SourceBatch(pa.record_batch({"x": array, "t": texts}).select(list(columns)))

    spec = RequestSpec(Endpoint.RESPONSES, {"model": "m", "input": "{t}"})
    with pytest.raises(SourceError, match=r"column 'x': carry: a value of type .* cannot be kept in Parquet\. Leave"):
        prepare(OneBatch(), spec, tmp_path / "out", lambda shard: None)


def test_every_type_is_in_the_documented_table() -> None:
    documented = Path(__file__).parents[2].joinpath("docs", "input.md").read_text(encoding="utf-8")
    for kinds, (inside, alone) in JSON_FORMS.items():
        assert f"| {kinds} | {inside} | {alone} |" in documented
    named = set(" ".join(JSON_FORMS).replace(",", " ").split())
    aliases = {"halffloat": "float16", "float": "float32", "double": "float64"}
    middle = {"int16", "int32", "uint16", "uint32", "decimal64", "decimal128"}  # within a range
    for array, _, _ in FORMS:
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            assert kind.extension_name in named or "other extension types" in JSON_FORMS
            continue
        name = re.split(r"[\[(<]", str(kind))[0]
        assert aliases.get(name, name) in named | middle, name
