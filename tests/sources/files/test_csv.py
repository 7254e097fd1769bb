"""CSV as people and programs write it: read as it was meant, or an error that names what it looks like."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_batch.exceptions import ConfigurationError, SourceError
from airflow_provider_batch.sources.files.formats import InputFormat
from airflow_provider_batch.sources.open_source import open_source
from tests.sources.test_source import rows_of

#: Texts in which everything is that a dialect may treat in a way of its own.
TEXTS = st.text(st.sampled_from([*'"\\,;\t|ab1 é', "\n", "\r", "\ufeff"]), max_size=8)
TABLES = st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1, max_size=6)


def read(folder: Path, content: bytes, name: str = "a.csv", form: str | None = None, **options: Any) -> list[Any]:
    """Return the values of each row."""
    (folder / name).write_bytes(content)
    source = open_source(str(folder / name), form=InputFormat.of(form, options))
    return [list(row.values()) for row in rows_of(source)]


def written(rows: list[list[str]], line: str = "\n", **dialect: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator=line, **dialect).writerows([["id", "text"], *rows])
    return text.getvalue()


def without_returns(rows: list[list[str]]) -> list[list[str]]:
    """Python writes a carriage return that nothing protects."""
    return [[text.replace("\r", "") for text in row] for row in rows]


def names(value: str) -> str:
    return f"format_options={{{value}}}"


class TestAgainstPythonsReader:
    """The oracle is `csv`: it writes a table in a dialect, and the same table has to be read."""

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rows=TABLES, delimiter=st.sampled_from(",;\t|"), line=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
    def test_a_table_with_doubled_quotes_is_read(
        self, tmp_path: Path, rows: list[list[str]], delimiter: str, line: str, bom: bool
    ) -> None:
        content = written(rows, line, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        encoding = "utf-8-sig" if bom else "utf-8"
        assert read(tmp_path, content.encode(encoding), delimiter=delimiter, escape="") == rows

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rows=TABLES, delimiter=st.sampled_from(",;|"), line=st.sampled_from(["\n", "\r\n"]), every=st.booleans())
    def test_a_table_with_escaped_quotes_is_read(
        self, tmp_path: Path, rows: list[list[str]], delimiter: str, line: str, every: bool
    ) -> None:
        quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
        rows = rows if every else without_returns(rows)
        dialect: dict[str, Any] = {"doublequote": False, "escapechar": "\\", "quoting": quoting}
        content = written(rows, line, delimiter=delimiter, **dialect)
        options = {"escape": "\\", "delimiter": delimiter} | ({} if every else {"escape_unquoted": True})
        oracle = list(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, **dialect))[1:]
        found = read(tmp_path, content.encode(), **options, null_values=["no such field"])
        assert found == [record for record in oracle if record]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rows=TABLES, piece=st.integers(1, 9))
    def test_a_table_without_quotes_is_read_whatever_the_pieces(
        self, tmp_path: Path, rows: list[list[str]], piece: int
    ) -> None:
        dialect: dict[str, Any] = {"quoting": csv.QUOTE_NONE, "escapechar": "\\", "delimiter": "\t"}
        rows = without_returns(rows)
        content = written(rows, "\n", **dialect)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_provider_batch.sources.files.csv_escapes.READ_BYTES", piece)
            options = {"quote": None, "escape": "\\", "null_values": ["no such field"]}
            assert read(tmp_path, content.encode(), "a.tsv", **options) == rows


#: Pieces of texts that dialects treat in ways of their own; two backslashes are two in every file without `escape`.
PIECES = st.sampled_from(['"', "\\", ",", ";", "\t", "|", "a", "1", " ", "\n", "\\N", '"a"', '\\"', "\\n"])
DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ",", ";", "\t", "|"]),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONE]),
        "doublequote": st.booleans(),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=2, max_size=2), min_size=1, max_size=3),
    dialect=DIALECTS,
)
def test_without_options_a_table_of_any_writer_is_read_right_or_refused(
    tmp_path: Path, rows: list[list[str]], dialect: dict[str, Any]
) -> None:
    """Never other text than was written."""
    escapes = {"escapechar": "\\"} if dialect["quoting"] == csv.QUOTE_NONE or not dialect["doublequote"] else {}
    content = written(rows, **dialect, **escapes)
    try:
        found = read(tmp_path, content.encode())
    except SourceError:
        return
    assert "\\\\" in content or [[text or "" for text in row] for row in found] == rows


class TestEscapes:
    SPARK = b'id,text\n1,"say \\"hi\\", he said"\n2,"C:\\\\new"\n3,C:\\new\n4,\n5,""\n'

    def test_a_table_of_spark_is_read_with_escape(self, tmp_path: Path) -> None:
        expected = [["1", 'say "hi", he said'], ["2", "C:\\new"], ["3", "C:\\new"], ["4", None], ["5", ""]]
        assert read(tmp_path, self.SPARK, escape="\\") == expected
        assert read(tmp_path, gzip.compress(self.SPARK), "a.csv.gz", escape="\\") == expected

    def test_a_backslash_before_a_quote_is_named_with_line_and_option(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError) as raised:
            read(tmp_path, self.SPARK)
        assert f"{tmp_path}/a.csv, line 2: " in str(raised.value)
        assert 'found \\", as Spark, MySQL and Hive write it' in str(raised.value)
        assert names('"escape": "\\\\"') in str(raised.value)

    @pytest.mark.parametrize("content", [b'id,text\n1,5\\" disk\n', b'id,text\n1,x\\"\n2,"a"\n'])
    def test_what_both_readings_fit_has_to_be_stated(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(SourceError, match=r"line 2: found a backslash before \", which may be an escape or"):
            read(tmp_path, content)
        assert read(tmp_path, content, escape=None) == read(tmp_path, content, escape="")
        assert "\\" in read(tmp_path, content, escape="")[0][1]

    def test_what_only_doubled_quotes_fit_is_no_escape(self, tmp_path: Path) -> None:
        assert read(tmp_path, b'id,text\n1,"C:\\"\n') == [["1", "C:\\"]]
        assert read(tmp_path, b'id,text\n"C:\\","D:\\"\n') == [["C:\\", "D:\\"]]
        assert read(tmp_path, b'id,text\n1,"{""a"": ""say \\""hi\\""""}"\n') == [["1", '{"a": "say \\"hi\\""}']]

    def test_a_limit_does_not_hide_a_backslash(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(self.SPARK)
        source = open_source(str(tmp_path / "a.csv"))
        with pytest.raises(SourceError, match=r"line 2: "):
            next(source.batches(["id"]))

    def test_a_table_of_mysql_is_read_with_its_nulls(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"escape": "\\", "null_values": ["\\N"]}
        content = b'id,text\n1,\\N\n2,"\\\\N \\"q\\""\n3,""\n4,\n'
        assert read(tmp_path, content, **options) == [["1", None], ["2", '\\N "q"'], ["3", ""], ["4", ""]]
        unquoted = b"id\ttext\n1\t\\N\n2\ta\\tb\\\\n\\nc\n3\ta\\\nb\n"
        expected = [["1", None], ["2", "a\tb\\n\nc"], ["3", "a\nb"]]
        assert read(tmp_path, unquoted, "a.tsv", quote="", **options) == expected

    def test_a_field_that_writers_mean_differently_has_to_be_stated(self, tmp_path: Path) -> None:
        content = b"id,text\n1,a\\\\b\n"
        with pytest.raises(SourceError, match=r"a\.csv, line 2: found .*escape_unquoted"):
            read(tmp_path, content, escape="\\")
        assert read(tmp_path, content, escape="\\", escape_unquoted=False) == [["1", "a\\\\b"]]
        assert read(tmp_path, content, escape="\\", escape_unquoted=True) == [["1", "a\\b"]]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b'id,text\n1,"a\\nb"\n', r"line 2: found .*n': expected a quote"),
            (b'id,text\n1,"a\\"\n', "line 2: expected a quote that closes"),
            (b'id,text\n1,"a"b\n', "line 2: expected ',' or a line break after the closing quote, found 'b"),
            (b'id,text\n1,"a"\n\n2\n', "line 4: expected 2 fields, as in the header, found 1"),
            (b'id,text\n1,"\xff"\n', "line 2: expected UTF-8, found byte 0xff"),
        ],
    )
    def test_what_is_none_of_it_is_an_error_with_its_line(self, tmp_path: Path, content: bytes, expected: str) -> None:
        with pytest.raises(SourceError, match=rf"a\.csv, {expected}"):
            read(tmp_path, content, escape="\\")

    def test_rows_know_their_lines(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfid,text\n\n1,"a\r\n\\"b"\r\n2,c\n')
        source = open_source(str(tmp_path / "a.csv"), form=InputFormat.of(None, {"escape": "\\"}))
        (batch,) = source.batches()
        assert [batch.place(index)["line"] for index in range(2)] == [3, 5]
        assert rows_of(source, ["text"]) == [{"text": 'a\r\n"b'}, {"text": "c"}]

    def test_a_null_of_databases_has_to_be_stated(self, tmp_path: Path) -> None:
        content = b"id,text\n1,a\n2,\\N\n"
        with pytest.raises(SourceError, match=r"a\.csv, line 3: found a field \\N, which MySQL.*null_values"):
            read(tmp_path, content)
        assert read(tmp_path, content, null_values=["\\N", "a"]) == [["1", None], ["2", None]]
        assert read(tmp_path, content, null_values=[""])[1] == ["2", "\\N"]
        with pytest.raises(SourceError, match=r"a\.csv, line 3: found a field \\N, which MySQL.*null_values"):
            read(tmp_path, content, escape="\\")
        assert read(tmp_path, content, escape="\\", null_values=["\\N"])[1] == ["2", None]
        assert read(tmp_path, content, escape="\\", null_values=[""])[1] == ["2", "\\N"]


class TestDelimiters:
    @pytest.mark.parametrize(
        ("other", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars"), ("\x01", "the byte 0x01")]
    )
    @pytest.mark.parametrize("text", ["hello, world", "hello", "1,5"])
    def test_another_delimiter_is_named_and_read_where_it_is_stated(
        self, tmp_path: Path, other: str, called: str, text: str
    ) -> None:
        content = f"id{other}text\r\n1{other}{text}\r\n2{other}a, b, c\r\n".encode()
        with pytest.raises(SourceError, match=rf"line 1: expected commas .* looks like {called}.*\"delimiter\": "):
            read(tmp_path, content)
        assert read(tmp_path, content, delimiter=other) == [["1", text], ["2", "a, b, c"]]

    def test_a_header_alone_is_told_too(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"looks like semicolons"):
            read(tmp_path, b"id;text\n")

    def test_one_column_is_no_other_delimiter(self, tmp_path: Path) -> None:
        assert read(tmp_path, b'text\na;b\n"c,d"\n') == [["a;b"], ["c,d"]]
        assert read(tmp_path, b'"id;text"\n1;2\n') == [["1;2"]]
        assert read(tmp_path, b"id;text\n1;2\n", delimiter=",") == [["1;2"]]

    def test_tabs_are_what_a_tsv_has(self, tmp_path: Path) -> None:
        assert read(tmp_path, b"id\ttext\n1\ta,b\n", "a.tsv") == [["1", "a,b"]]
        assert read(tmp_path, b"id\ttext\n1\ta,b\n", "a.txt", "tsv") == [["1", "a,b"]]
        with pytest.raises(SourceError, match=r"expected tabs .* looks like commas"):
            read(tmp_path, b"id,text\n1,a\n", "a.tsv")

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_the_line_that_excel_writes_says_it(self, tmp_path: Path, mark: bytes) -> None:
        content = mark + b"sep=;\r\nid;text\r\n1;a,b\r\n"
        assert read(tmp_path, content) == read(tmp_path, content, delimiter=";") == [["1", "a,b"]]
        (batch,) = open_source(str(tmp_path / "a.csv")).batches()
        assert batch.place(0)["line"] == 3

    def test_another_quote_is_read(self, tmp_path: Path) -> None:
        assert read(tmp_path, b"id,text\n1,'a,''b'''\n", quote="'") == [["1", "a,'b'"]]
        assert read(tmp_path, b'id,text\n1,"a\n', quote=None) == [["1", '"a']]

    def test_a_delimiter_after_a_backslash_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"line 2: found a backslash before ,, which may be an escape"):
            read(tmp_path, b"id,text\n1,a\\,b\n")
        assert read(tmp_path, b"id,text\n1,a\\,b\n", escape="\\", quote="") == [["1", "a,b"]]
        hint = r"line 2: expected 2 fields.*A field ends with a backslash.*quote"
        with pytest.raises(SourceError, match=hint):
            read(tmp_path, b"id,text\n1,a\\,b,c\n")

    def test_backslashes_at_the_end_of_fields_are_text(self, tmp_path: Path) -> None:
        content = b"id,text\nC:\\a\\,D:\\b\\\nE:\\,x\n"
        assert read(tmp_path, content) == [["C:\\a\\", "D:\\b\\"], ["E:\\", "x"]]
        with pytest.raises(SourceError, match=r"line 2: found a backslash before a line break"):
            read(tmp_path, b"id,text\n1,D:\\\n\n")


class TestEncodings:
    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
    def test_cp1252_is_named_and_read_where_it_is_stated(self, tmp_path: Path, name: str) -> None:
        text = "id,text\n1,Grüße – „x“\n" if name == "a.csv" else '{"id": "1", "text": "Grüße – „x“"}\n'
        content = text.encode("cp1252")
        with pytest.raises(SourceError, match=r"It looks like cp1252, as which .* 'Gr|Grüße.*\"encoding\": \"cp1252\""):
            read(tmp_path, content, name)
        assert read(tmp_path, content, name, encoding="cp1252") == [["1", "Grüße – „x“"]]

    def test_bytes_that_are_not_of_the_stated_encoding_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"a\.csv, line 3: expected ascii, as the option encoding says"):
            read(tmp_path, "id,text\n1,a\n2,é\n".encode(), encoding="ascii")

    def test_an_encoding_with_wide_characters_reaches_over_pieces(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_batch.sources.files.text_streams.READ_BYTES", 3)
        content = 'id,text\n1,"a\r\né😀"\n'.encode("utf-16")
        assert read(tmp_path, content, encoding="utf-16") == [["1", "a\r\né😀"]]


class TestHeaders:
    def test_a_file_without_a_header_has_numbered_or_stated_names(self, tmp_path: Path) -> None:
        assert read(tmp_path, b"1,a\n2,b\n", header=False) == [["1", "a"], ["2", "b"]]
        form = InputFormat.of("csv", {"header": ["id", "text"]})
        assert rows_of(open_source(str(tmp_path / "a.csv"), form=form))[0] == {"id": "1", "text": "a"}
        form = InputFormat.of("csv", {"header": False})
        assert open_source(str(tmp_path / "a.csv"), form=form).names == ["column_1", "column_2"]
        with pytest.raises(SourceError, match=r"line 1: expected 1 fields"):
            read(tmp_path, b"1,a\n", header=["id"])


class TestJoinedFiles:
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("line", ["\n", "\r\n"])
    @pytest.mark.parametrize("options", [{}, {"escape": "\\"}])
    def test_the_header_of_the_second_is_no_row(
        self, tmp_path: Path, mark: str, line: str, options: dict[str, Any]
    ) -> None:
        one = f'"id",text{line}1,a{line}'
        with pytest.raises(SourceError, match=r"a\.csv, line 3: found .* in the middle of the file, as after .* cat"):
            read(tmp_path, f"{mark}{one}{mark}{one}".encode(), **options)
        assert read(tmp_path, f"{mark}{one}".encode(), **options) == [["1", "a"]]

    def test_a_header_within_a_text_or_of_one_column_is_text(self, tmp_path: Path) -> None:
        assert read(tmp_path, b'id,text\n1,"a\nid,text\nb"\n') == [["1", "a\nid,text\nb"]]
        assert read(tmp_path, b"text\na\ntext\n") == [["a"], ["text"]]
        assert read(tmp_path, b"id,text\nid,texts\n") == [["id", "texts"]]

    def test_pieces_do_not_hide_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_provider_batch.sources.files.csv.BLOCK_BYTES", 40)
        with pytest.raises(SourceError, match=r"line 12: found the header again"):
            read(tmp_path, b"identifier,text\n" + b"1,a\n" * 10 + b"identifier,text\n1,b\n")


class TestFormats:
    @pytest.mark.parametrize("name", ["a.json", "part-00000", "a.txt", "a.json.gz"])
    def test_a_stated_format_reads_any_name(self, tmp_path: Path, name: str) -> None:
        content = b'{"id": "1"}\n'
        packed = gzip.compress(content) if name.endswith(".gz") else content
        with pytest.raises(SourceError, match=r"cannot tell the format by this name.*Give format='csv'"):
            read(tmp_path, packed, name)
        assert read(tmp_path, packed, name, "jsonl") == [["1"]]

    def test_a_stated_format_takes_a_folder_but_for_files_of_other_formats(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "part-00000").write_text("id\n1\n")
        (tmp_path / "in" / "_SUCCESS").touch()
        (tmp_path / "in" / "b.parquet").touch()
        assert rows_of(open_source(str(tmp_path / "in"), form=InputFormat.of("csv"))) == [{"id": "1"}]

    @pytest.mark.parametrize("content", [b'[\n{"id": 1}\n]', b'{\n  "id": 1\n}', b'[{"id": 1}]'])
    def test_json_that_is_no_object_a_line_is_called_that(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(SourceError, match=r"a\.json, line 1: expected a JSON object.* array"):
            read(tmp_path, content, "a.json", "jsonl")

    @pytest.mark.parametrize(
        ("form", "options", "expected"),
        [
            ("xlsx", {}, "format: expected one of csv, tsv, jsonl, parquet, found 'xlsx'"),
            (
                None,
                {"delimitter": ";"},
                "no option 'delimitter'. Did you mean 'delimiter'\\? The options are: delimiter",
            ),
            ("jsonl", {"delimiter": ";"}, "no option 'delimiter' of format jsonl. The options are: encoding"),
            ("parquet", {"encoding": "x"}, "files of format parquet have no options"),
            (None, {"delimiter": ";;"}, "delimiter: expected one ASCII character, found ';;'"),
            (None, {"delimiter": '"'}, "quote: '\"' is the delimiter"),
            (None, {"encoding": "utf-99"}, "encoding: expected the name of a Python codec"),
            (None, {"null_values": "NULL"}, "null_values: expected a list of texts, found 'NULL'"),
            (None, {"header": "yes"}, "header: expected true, false, or a list"),
            (None, {"header": ["a", "a"]}, "header: expected names that differ"),
            (None, {"escape_unquoted": 1}, "escape_unquoted: expected true or false"),
            (None, {"escape": "\\", "null_values": ["a\\N"]}, "contains the escape character"),
            (None, ";", "format_options: expected a mapping, found str"),
        ],
    )
    def test_an_option_that_there_is_not_names_those_that_there_are(
        self, form: Any, options: Any, expected: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=expected):
            InputFormat.of(form, options)

    def test_options_of_another_format_than_the_files_are_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"no option 'delimiter' of format jsonl"):
            read(tmp_path, b"{}", "a.jsonl", delimiter=";")

    def test_rows_have_no_format(self) -> None:
        with pytest.raises(ConfigurationError, match=r"format and format_options are for files"):
            open_source([{"a": 1}], form=InputFormat.of("csv"))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('id,text\n1,"a"b\n', 2),
        ('id,text\n0,"fine"\n1,"Hello" he said\n'.replace('" he', '"he'), 3),
        ('id,json\n1,"{"a": 1}"\n', 2),
        ('id,text\n1,5" x\n2,"two\nlines"\n3,"x"y\n', 5),
    ],
)
def test_a_field_that_goes_on_behind_its_closing_quote_is_an_error(tmp_path: Path, content: str, line: int) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(
        SourceError, match=rf"a\.csv, line {line}: .*after the closing quote .* Double the quotes"
    ) as raised:
        list(open_source(str(tmp_path / "a.csv")).batches())
    assert '{"quote": null}' in str(raised.value)


@pytest.mark.parametrize("content", ['id,text\n1,5" x 6"\n', 'id,text\n1,"a""b"\n2,"""c"""\n', 'id,text\n"1" ,"a"\n'])
def test_quotes_that_lose_nothing_are_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert sum(len(batch) for batch in open_source(str(tmp_path / "a.csv")).batches())


def test_names_that_are_given_and_that_the_file_has_too_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    with pytest.raises(SourceError, match=r"a\.csv, line 1: .*found these names\. Leave header out"):
        open_source(str(tmp_path / "a.csv"), form=InputFormat.of("csv", {"header": ["id", "text"]}))


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (gzip.compress(b"id,text\n1,a\n", mtime=0), "gzip"),
        (b"PK\x03\x04\x14\0\0\0", "a zip archive or an Excel workbook"),
        (b"PAR1\x15\0\x15", "Parquet"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(tmp_path: Path, content: bytes, called: str) -> None:
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=f"expected text, found what looks like {called}"):
            list(open_source(str(tmp_path / name)).batches())


def test_columns_that_are_called_as_a_format_begins_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("PAR1,BZh\n1,a\n")
    assert open_source(str(tmp_path / "a.csv")).names == ["PAR1", "BZh"]


def test_a_codec_that_encodes_nothing_is_a_wrong_encoding() -> None:
    with pytest.raises(ConfigurationError, match="encoding: expected the name of a Python codec"):
        InputFormat.of("csv", {"encoding": "undefined"})
