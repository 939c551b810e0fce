"""The places of a model's parts in the bytes of an ONNX file, found without reading the weights.

A file of a hundred networks is 94 MB, and parsing it as a protocol buffer copies all of it. This module reads only the
outer fields (onnx/onnx.proto), so that a file can be checked, and a part of its networks cut out of it, in milliseconds
and without the package onnx.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from mmap import mmap

Content = bytes | mmap

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""
MODEL_IR, MODEL_PRODUCER, MODEL_GRAPH, MODEL_OPSET, MODEL_METADATA = 1, 2, 7, 8, 14
OPSET_DOMAIN, OPSET_VERSION = 1, 2
ENTRY_KEY, ENTRY_VALUE = 1, 2
GRAPH_NODE, GRAPH_NAME, GRAPH_CONSTANT, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
NAME_FIELDS = {GRAPH_NODE: 3, GRAPH_CONSTANT: 8, GRAPH_INPUT: 1, GRAPH_OUTPUT: 1}
"""The field that holds the name of each kind of part."""


class NotAModel(Exception):
    """Bytes that are not a complete ONNX model; the message gives the reason, without the name of the file."""


@dataclass(frozen=True, slots=True)
class MessageField:
    """One field of a message: its number, and the places of its tag and of its value."""

    number: int
    tag_start: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """A node, constant, input or output of the graph."""

    kind: int
    name: str
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class ModelLayout:
    """The outer fields of a model."""

    opsets: dict[str, int] = field(default_factory=dict[str, int])
    """Version by domain; the standard operators have the domain ""."""
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    header: list[MessageField] = field(default_factory=list[MessageField])
    """All fields but the graph and the metadata."""
    parts: list[Part] = field(default_factory=list[Part])

    def names(self, kind: int) -> list[str]:
        """The names of all parts of a kind, in the order of the file."""
        return [part.name for part in self.parts if part.kind == kind]


def read_layout(content: Content) -> ModelLayout:
    """The layout of a model; raises NotAModel."""
    found = ModelLayout()
    for outer in _fields(content, 0, len(content)):
        if outer.number == MODEL_GRAPH:
            found.parts += list(_parts(content, outer))
            continue
        if outer.number == MODEL_METADATA:
            values = {f.number: _text(content, f) for f in _fields(content, outer.start, outer.end)}
            found.metadata[values.get(ENTRY_KEY, "")] = values.get(ENTRY_VALUE, "")
            continue
        found.header.append(outer)
        if outer.number == MODEL_OPSET:
            domain, version = "", 0
            for inner in _fields(content, outer.start, outer.end):
                if inner.number == OPSET_DOMAIN:
                    domain = _text(content, inner)
                elif inner.number == OPSET_VERSION:
                    version, _ = _varint(content, inner.start, inner.end)
            found.opsets[domain] = version
    if not found.parts or not found.opsets:
        raise NotAModel("it holds no graph or no version of its operators")
    return found


def cut_out(content: Content, layout: ModelLayout, parts: Iterable[Part]) -> bytes:
    """A model with the header and some parts of another one, without metadata."""
    kept = [content[part.start : part.end] for part in parts]
    graph = b"".join([*kept, _tag(GRAPH_NAME), b"\x04part"])
    header = [content[field.tag_start : field.end] for field in layout.header]
    return b"".join([*header, _tag(MODEL_GRAPH), _encoded(len(graph)), graph])


def _parts(content: Content, graph: MessageField) -> Iterator[Part]:
    for outer in _fields(content, graph.start, graph.end):
        if outer.number in NAME_FIELDS:
            wanted = NAME_FIELDS[outer.number]
            inner = (f for f in _fields(content, outer.start, outer.end) if f.number == wanted)
            name = next((_text(content, f) for f in inner), "")
            yield Part(outer.number, name, outer.tag_start, outer.end)


def _fields(content: Content, start: int, end: int) -> Iterator[MessageField]:
    at = start
    while at < end:
        tag_start = at
        tag, at = _varint(content, at, end)
        kind = tag & 7
        if kind == LENGTH:
            length, at = _varint(content, at, end)
        elif kind == VARINT:
            length = _varint(content, at, end)[1] - at
        elif kind in (FIXED_32, FIXED_64):
            length = 4 if kind == FIXED_32 else 8
        else:
            raise NotAModel(f"byte {tag_start} starts no field of a protocol buffer")
        if at + length > end:
            raise NotAModel(f"it ends within the field at byte {tag_start}")
        yield MessageField(tag >> 3, tag_start, at, at + length)
        at += length


def _varint(content: Content, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotAModel(f"it ends within the number before byte {at}")


def _text(content: Content, field: MessageField) -> str:
    try:
        return content[field.start : field.end].decode()
    except UnicodeDecodeError:
        raise NotAModel(f"the text at byte {field.start} is not UTF-8") from None


def _tag(number: int) -> bytes:
    return _encoded(number << 3 | LENGTH)


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
