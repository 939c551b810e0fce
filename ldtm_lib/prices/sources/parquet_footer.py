"""The footer and the page headers of a Parquet file, read before polars reads the file, and their bounds.

A few bytes of a page may encode billions of values, and a deep schema may crash the process. A file states its sizes in
its footer, which may be false, and in the header of each page. Format:
https://parquet.apache.org/docs, `parquet.thrift` in Thrift's compact protocol.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import cast

from ldtm_lib.errors import MalformedFile
from ldtm_lib.wording import counted

MAGIC = b"PAR1"
MOST_FOOTER_BYTES = 2 * 2**20
MOST_SCHEMA_ELEMENTS = 256
MOST_SCHEMA_DEPTH = 8
MOST_CELLS = 30_000_000
"""Rows times columns of bars: 100 tickers, seven columns and a century of sessions are 18 million."""
MOST_UNCOMPRESSED_BYTES = 512 * 2**20
MOST_ROW_GROUPS = 10_000
MOST_PAGES = 200_000
MOST_PAGE_HEADER_BYTES, MOST_HEADER_BYTES = 2**16, 8 * 2**20
"""Bounds of the header of one page, and of all headers."""
MOST_STRUCT_DEPTH = 12
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY, BYTE_STREAM_SPLIT = 0, 2, 3, 8, 9
ENCODINGS = (PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY, BYTE_STREAM_SPLIT)
"""Encodings whose values take no more memory than their number and the size of their pages state."""
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
PLACES_OF_PAGE_HEADERS = {DATA_PAGE: (5, 2), DICTIONARY_PAGE: (7, 2), DATA_PAGE_V2: (8, 4)}
"""By type of page: the field that holds the header of this type, and the field of the encoding in that header."""
REPEATED = 2
REMEDY = "write it again, as pandas.DataFrame.to_parquet or polars.DataFrame.write_parquet do"

Struct = dict[int, object]


class _Damaged(Exception):
    """The bytes are not a struct of the compact protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column at the top of the schema."""

    name: str
    is_flat: bool
    """True if it holds one value a row, and no lists or groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """Content of the footer."""

    columns: tuple[Column, ...]
    num_rows: int
    row_groups: tuple[Struct, ...]
    start: int
    """The position of the footer in the file."""


def footer_size(name: str, end: bytes) -> int:
    """The bytes that the footer of a file takes with its length and magic, by the last eight bytes of the file.

    Raises MalformedFile for a file that is not Parquet, or whose footer is too large.
    """
    if len(end) < 8 or end[-4:] != MAGIC:
        raise MalformedFile(f"{name} is not a complete Parquet file (its end is not {MAGIC.decode()}); {REMEDY}")
    size = int.from_bytes(end[-8:-4], "little")
    _require(name, "footer", size, MOST_FOOTER_BYTES, "bytes")
    return size + 8


def read_footer(name: str, end: bytes, file_size: int) -> Footer:
    """The footer of a file, of which `end` is the last bytes; raises MalformedFile for a damaged or too large one."""
    size = footer_size(name, end)
    if size > len(end):
        raise MalformedFile(f"{name} is not a complete Parquet file (its footer is cut); {REMEDY}")
    try:
        metadata = _Reader(end[-size:-8]).struct()
        schema = [_struct(element) for element in _list(metadata, 2)]
        row_groups = tuple(_struct(group) for group in _list(metadata, 4))
        _require(name, "schema", len(schema), MOST_SCHEMA_ELEMENTS, "elements")
        _require(name, "footer", len(row_groups), MOST_ROW_GROUPS, "row groups")
        columns = _columns(name, schema)
        num_rows = max(_int(metadata, 3), sum(_int(group, 3) for group in row_groups))
    except _Damaged as error:
        raise MalformedFile(f"{name} is not a complete Parquet file ({error}); {REMEDY}") from None
    return Footer(columns=columns, num_rows=num_rows, row_groups=row_groups, start=file_size - size)


def require_bounded(name: str, content: bytes, footer: Footer, columns: Collection[str]) -> None:
    """Raise MalformedFile unless some flat columns of a file stay within the bounds when they are read."""
    _require(name, "file", footer.num_rows * len(columns), MOST_CELLS, "values in columns of bars")
    num_bytes, num_pages, num_header_bytes = 0, 0, 0
    try:
        for group in footer.row_groups:
            num_rows = _int(group, 3)
            for chunk in _chunks(group, columns):
                num_values = 0
                for page in _pages(content, chunk, footer.start):
                    num_pages, num_bytes = num_pages + 1, num_bytes + page.uncompressed_bytes
                    num_values, num_header_bytes = num_values + page.num_values, num_header_bytes + page.header_bytes
                    _require(name, "file", num_header_bytes, MOST_HEADER_BYTES, "bytes in headers of pages")
                    _require(name, "file", num_pages, MOST_PAGES, "pages")
                    _require(name, "file", num_bytes, MOST_UNCOMPRESSED_BYTES, "uncompressed bytes")
                    if page.encoding not in ENCODINGS:
                        raise MalformedFile(
                            f"{name} has a page with the unsupported encoding {page.encoding}; {REMEDY}"
                        )
                if num_values != num_rows or _int(chunk, 5) != num_rows:
                    raise _Damaged(
                        f"a column has {counted(num_values, 'value')} in a group of {counted(num_rows, 'row')}"
                    )
    except _Damaged as error:
        raise MalformedFile(f"{name} is not a complete Parquet file ({error}); {REMEDY}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    uncompressed_bytes: int
    num_values: int
    """Rows of a data page; 0 of a dictionary."""
    encoding: int
    header_bytes: int


def _pages(content: bytes, chunk: Struct, end_of_data: int) -> Iterator[_Page]:
    """The pages of a column chunk, by their headers."""
    start = _int(chunk, 9) if 11 not in chunk else min(_int(chunk, 9), _int(chunk, 11) or _int(chunk, 9))
    end = start + _int(chunk, 7)
    if not 4 <= start <= end <= end_of_data:
        raise _Damaged("a column is outside of the file")
    at = start
    while at < end:
        reader = _Reader(content, at, min(end, at + MOST_PAGE_HEADER_BYTES))
        header = reader.struct()
        kind, uncompressed, compressed = _int(header, 1), _int(header, 2), _int(header, 3)
        header_bytes, at = reader.at - at, reader.at + compressed
        if at > end:
            raise _Damaged("a page is cut")
        if kind not in PLACES_OF_PAGE_HEADERS:
            raise _Damaged(f"a page is of the unknown type {kind}")
        field, field_of_encoding = PLACES_OF_PAGE_HEADERS[kind]
        about = _struct(header.get(field))
        num_values = _int(about, 1)
        if kind == DICTIONARY_PAGE and num_values > uncompressed:
            raise _Damaged("a dictionary has more values than bytes")
        yield _Page(
            uncompressed_bytes=uncompressed,
            num_values=0 if kind == DICTIONARY_PAGE else num_values,
            encoding=_int(about, field_of_encoding),
            header_bytes=header_bytes,
        )


def _chunks(group: Struct, columns: Collection[str]) -> Iterator[Struct]:
    """The metadata of each chunk of some columns."""
    for chunk in _list(group, 1):
        metadata = _struct(_struct(chunk).get(3))
        path = [_text(part) for part in _list(metadata, 3)]
        if path[:1] and path[0] in columns:
            yield metadata


def _columns(name: str, schema: list[Struct]) -> tuple[Column, ...]:
    """The children of the root, in their order. Elements come depth first; each states its number of children."""
    if not schema:
        raise _Damaged("it has no schema")
    columns = list[Column]()
    open_children = [_int(schema[0], 5)]
    for element in schema[1:]:
        while open_children and open_children[-1] == 0:
            open_children.pop()
        if not open_children:
            raise _Damaged("its schema has more elements than it states")
        open_children[-1] -= 1
        num_children = _int(element, 5) if 5 in element else 0
        if len(open_children) == 1:
            is_flat = num_children == 0 and element.get(3) != REPEATED
            columns.append(Column(name=_text(element.get(4)), is_flat=is_flat))
        open_children.append(num_children)
        _require(name, "schema", len(open_children), MOST_SCHEMA_DEPTH, "levels")
    if any(open_children):
        raise _Damaged("its schema has fewer elements than it states")
    return tuple(columns)


def _require(name: str, what: str, number: int, most: int, unit: str) -> None:
    if number > most:
        owner, remedy = (
            (name, "split it into one file per ticker") if what == "file" else (f"the {what} of {name}", REMEDY)
        )
        raise MalformedFile(f"{owner} has {number:,} {unit}, above the bound of {most:,}; {remedy}")


class _Reader:
    """Structs of Thrift's compact protocol, from one position of some bytes to another."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self._data, self.at, self._end = data, at, len(data) if end is None else end

    def struct(self, depth: int = 0) -> Struct:
        """One struct: values by the numbers of their fields."""
        if depth > MOST_STRUCT_DEPTH:
            raise _Damaged("its metadata is nested too deeply")
        fields, number = Struct(), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int, *, in_list: bool = False) -> object:
        if kind in (1, 2):
            return self._byte() == 1 if in_list else kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind in (7, 8):
            return self._bytes(8 if kind == 7 else self._varint())
        if kind in (9, 10):
            if depth > MOST_STRUCT_DEPTH:
                raise _Damaged("its metadata is nested too deeply")
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            if size > self._end - self.at:
                raise _Damaged("a list of its metadata is cut")
            return [self._value(head & 15, depth + 1, in_list=True) for _ in range(size)]
        if kind == 12:
            return self.struct(depth + 1)
        raise _Damaged(f"its metadata has a value of the unknown type {kind}")

    def _byte(self) -> int:
        if self.at >= self._end:
            raise _Damaged("its metadata is cut")
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, size: int) -> bytes:
        if size > self._end - self.at:
            raise _Damaged("its metadata is cut")
        self.at += size
        return self._data[self.at - size : self.at]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise _Damaged("its metadata has a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _struct(value: object) -> Struct:
    if not isinstance(value, dict):
        raise _Damaged("a struct of its metadata is missing")
    return cast(Struct, value)


def _list(struct: Struct, number: int) -> list[object]:
    value = struct.get(number, list[object]())
    if not isinstance(value, list):
        raise _Damaged("a list of its metadata is missing")
    return cast(list[object], value)


def _int(struct: Struct, number: int) -> int:
    """A number in a struct; no number of the metadata is below zero."""
    value = struct.get(number)
    if not isinstance(value, int) or value < 0:
        raise _Damaged("a number of its metadata is missing or below zero")
    return value


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        raise _Damaged("a name of its schema is missing")
    return value.decode("utf-8", "replace")
