"""Reading a table of runs as people have it, whatever the format.

The format is told by the content, not by the name, so that a pipe works like a file: Parquet,
Excel, JSON (records, columns, one object a line), or delimited text. Nothing is interpreted
here but the frame of the table; see `columns` for what the cells mean.
"""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

MAX_ROWS = 100_000
MOST_BYTES = 1 << 27
_DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


class TableError(ValueError):
    """A table that cannot be read or fitted. One line that names the place and the remedy."""


@dataclass(frozen=True)
class Table:
    """A table as it was found.

    frame: its columns, untouched. name: what to call it in messages. place: the word for a row
    ("line", "record", "row") and `first` the number of the first one. decimal_comma: whether
    3,29 is a number below four. said: how it was read, a sentence each.
    """

    frame: pd.DataFrame
    name: str
    place: str = "row"
    first: int = 1
    decimal_comma: bool = False
    said: tuple[str, ...] = field(default=())

    def where(self, row: int) -> str:
        """The place of a row of `frame` (by position), as an editor numbers it."""
        return f"{self.place} {row + self.first}"


def read_table(source: str | Path, *, max_rows: int = MAX_ROWS) -> Table:
    """The table in a file, or on standard input for "-".

    Raises TableError for what is no file, no table, or has more than `max_rows` rows.
    """
    name = "standard input" if str(source) == "-" else str(source)
    content = _bytes(source, name)
    start = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if content[:4] == b"PAR1":
        table = _parquet(content, name, max_rows)
    elif content[:4] == b"PK\x03\x04":
        table = _excel(content, name, max_rows)
    elif content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise TableError(f"{name}: an Excel file of the old kind; save it as .xlsx or CSV")
    elif start in (b"[", b"{"):
        table = _json(content, name, max_rows)
    else:
        table = _text(content, name, max_rows)
    if not len(table.frame):
        raise TableError(f"{name}: there is a header but no run; add a row per run")
    if len(table.frame) > max_rows:
        raise _too_long(name, len(table.frame), max_rows)
    return table


def _bytes(source, name) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1)[: MOST_BYTES + 1]
    path = Path(source)
    if path.is_dir():
        raise TableError(f"{name}: a folder; name the table in it")
    try:
        with path.open("rb") as file:  # a pipe or /dev/stdin has no size: read, then look
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise TableError(f"{name}: no such file") from None
    except OSError as error:
        raise TableError(f"{name}: cannot be read ({error.strerror})") from None
    if len(content) > MOST_BYTES:
        raise TableError(
            f"{name}: more than {MOST_BYTES >> 20} MiB; keep one row a run, and only its columns"
        )
    return content


def _too_long(name, rows, max_rows):
    return TableError(
        f"{name}: {rows:,} rows, the limit is {max_rows:,}: keep one row a run (or thin the training "
        "curves), or raise --max-rows"
    )


def _parquet(content, name, max_rows) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if file.metadata.num_rows > max_rows:
            raise _too_long(name, file.metadata.num_rows, max_rows)
        frame = file.read().to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{name}: a damaged Parquet file ({type(error).__name__}); write it again") from None
    return Table(frame, name, said=("a Parquet table",))


def _excel(content, name, max_rows) -> Table:
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise TableError(
            f"{name}: reading Excel needs openpyxl: pip install openpyxl, or save the sheet as CSV"
        ) from None
    try:
        book = pd.ExcelFile(io.BytesIO(content), engine="openpyxl")
        frame = pd.read_excel(book, sheet_name=0, dtype=object, nrows=max_rows + 1)
    except Exception as error:  # openpyxl raises whatever the damage leads to
        raise TableError(
            f"{name}: no readable Excel sheet ({type(error).__name__}); save it as CSV"
        ) from None
    more = f", the first of {len(book.sheet_names)} sheets" if len(book.sheet_names) > 1 else ""
    return Table(frame, name, "row", 2, said=(f"Excel sheet {book.sheet_names[0]!r}{more}",))


def _json(content, name, max_rows) -> Table:
    objects = content.count(b"{")
    if objects > 5 * max_rows:  # a record has a handful at most: too many before they are built
        raise _too_long(name, objects // 5, max_rows)
    text = _decode(content, name)
    try:
        value, said, place = json.loads(text), "JSON records", "record"
    except json.JSONDecodeError as error:
        value, said, place = _json_lines(text, name, error), "JSON lines", "line"
    if isinstance(value, dict):
        lists = {k: v for k, v in value.items() if isinstance(v, list)}
        records = [v for v in lists.values() if v and all(isinstance(r, dict) for r in v)]
        if len(records) == 1:
            value = records[0]
        elif lists and len({len(v) for v in lists.values()}) == 1:
            return Table(pd.DataFrame(lists), name, "entry", said=("JSON columns",))
        elif not lists:
            value = [value]
    if not (isinstance(value, list) and value and all(isinstance(r, dict) for r in value)):
        raise TableError(f'{name}: JSON, but no list of runs: give [{{"N": …, "D": …, "loss": …}}, …]')
    return Table(pd.json_normalize(value, sep="."), name, place, said=(said,))


def _json_lines(text, name, whole) -> list:
    """One value a line. Lines end at newlines only: str.splitlines would cut at U+2028 inside a string."""
    values = []
    for number, row in enumerate(text.split("\n"), 1):
        if row.strip():
            try:
                values.append(json.loads(row))
            except json.JSONDecodeError as error:
                at, reason = (whole.lineno, whole.msg) if number == 1 else (number, error.msg)
                raise TableError(f"{name}: line {at}: not JSON ({reason})") from None
    return values


def _decode(content, name) -> str:
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"{name}: not a text table in UTF-8 (byte {error.start}); save it as CSV UTF-8"
        ) from None


def _text(content, name, max_rows) -> Table:
    rows = content.count(b"\n")
    if rows > max_rows + 1:  # before the parse, which would need the memory
        raise _too_long(name, rows - 1 + (not content.endswith(b"\n")), max_rows)
    text = _decode(content, name)
    if "\x00" in text:
        raise TableError(f"{name}: not a text table (it holds zero bytes); save it as CSV UTF-8")
    if not text.strip():
        raise TableError(f"{name}: the file is empty; it needs a header line N,D,loss and a row per run")
    above = len(content) - len(content.lstrip(b"\r\n"))  # blank lines, which the parser cannot start with
    content, above = content[above:], content[:above].count(b"\n")
    header = text.lstrip("\n\r").split("\n", 1)[0]
    del text  # the parser reads the bytes: one copy less of a long table
    unquoted = re.sub(r'"[^"]*"', "", header)
    delimiter = next((d for d in _DELIMITERS if d in unquoted), None)
    if delimiter is None:
        delimiter = r"\s+" if len(unquoted.split()) > 2 else ","
    try:
        frame = pd.read_csv(
            io.BytesIO(content),
            sep=delimiter,
            encoding="utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig",
            dtype=str,
            header=None,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
        )
    except pd.errors.ParserError as error:
        reason = re.sub(r".*C error: ", "", str(error).strip().splitlines()[-1])
        kind = _DELIMITERS.get(delimiter, "spaces")
        raise TableError(f"{name}: not a table separated by {kind} ({reason})") from None
    blank = (frame == "").all(axis=1)
    top = int((~blank).to_numpy().argmax())
    columns = [str(c).strip() for c in frame.iloc[top]]
    body = frame.iloc[top + 1 :].reset_index(drop=True)
    end = int((~blank.iloc[top + 1 :]).to_numpy().nonzero()[0].max(initial=-1)) + 1
    body = body.iloc[:end].set_axis(columns, axis=1)
    comma = delimiter != "," and _comma_is_decimal(body)
    said = [] if delimiter == "," else [f"separated by {_DELIMITERS.get(delimiter, 'spaces')}"]
    return Table(body, name, "line", above + top + 2, comma, tuple(said + ["decimal commas"] * comma))


def _comma_is_decimal(frame) -> bool:
    """Whether some number has a comma that cannot group thousands, and none has one that must."""
    cells = [c.strip() for k in range(min(50, frame.shape[1])) for c in frame.iloc[:200, k]]
    with_comma = [c for c in cells if "," in c and re.fullmatch(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?", c)]
    grouped = any(c.count(",") > 1 or (_THOUSANDS.fullmatch(c) and "." in c) for c in with_comma)
    return not grouped and any(_DECIMAL_COMMA.fullmatch(c.replace(".", "")) for c in with_comma)
