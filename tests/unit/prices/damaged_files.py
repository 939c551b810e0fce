"""Files of bars and what damages them, and the one outcome that a damaged file may have."""

import gzip
from collections.abc import Callable, Mapping
from datetime import date
from io import BytesIO
from pathlib import Path

import polars as pl
from hypothesis import strategies as st

from ldtm_lib.errors import LdtmError
from ldtm_lib.prices.bars import BAR_SCHEMA, validate
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.sessions import FIRST_DAY, exchange_calendar

LAST = date(2026, 1, 2)
HEADER = "Date,Open,High,Low,Close,Volume\n"
BARS = [
    (date(2024, 1, 26), 192.01, 192.2, 189.58, 191.73, 47145622.0),
    (date(2024, 1, 29), 190.94, 191.8, 187.47, 188.04, 55859370.0),
    (date(2024, 1, 30), 183.985, 186.95, 183.82, 186.86, 64885408.0),
]
PLAIN = HEADER + "".join(",".join(map(str, bar)) + "\n" for bar in BARS)
FINE = HEADER + "2024-01-29,1,1,1,1,5\n"
PARQUET = BytesIO()
pl.DataFrame(BARS, schema=["Date", "Open", "High", "Low", "Close", "Volume"], orient="row").write_parquet(PARQUET)
ZIPPED = gzip.compress(PLAIN.encode(), mtime=0)
TEXTS = [
    PLAIN.encode(),
    PLAIN.replace("\n", "\r").encode(),
    PLAIN.replace("\n", "\r\n").encode(),
    PLAIN.encode("utf-16"),
    ("Datum von Börse\n" + PLAIN).encode("latin-1"),
    PLAIN.replace(",", ";").replace(".", ",").encode("utf-8-sig"),
    "".join(f'"{line}"\n' for line in PLAIN.replace(",", '","').splitlines()).encode(),
    b"time,open,high,low,close,volume\n1706279400,1,1,1,1,5\n1706538600,1,1,1,1,5\n",
    b"Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n2024-01-29,1,1,1,1,5\n",
    b"ticker,date,open,high,low,close,volume\nAAPL,2024-01-29 16:00:00-05:00,1,1,1,1,5\n",
]
PIECES = [
    b'"', b'""', b'","', b"\x00", b"\r", b"\n", b"\r\n", b",", b";", b"\t", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\x1f\x8b\x08\x00", b"x\x9c", b"PAR1", b"-", b"+", b"1e999", b"nan", b"9" * 30, b"2024-01-28", b"99999-01-01",
    b" 25:61:00+99:99", b"x" * 200_000, b"(000s)", b"#", b"'", b"=1+1", "é".encode("latin-1"), "\u2028".encode(),
    HEADER.encode(),
]  # fmt: skip

Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """One damage: a flipped bit, a cut, a piece that is inserted, or a part that stands twice."""
    kind, at, length = draw(st.sampled_from("fcid")), draw(st.floats(0, 1)), draw(st.integers(1, 40))
    piece = draw(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=8))
    bit = draw(st.integers(0, 7))

    def damage(content: bytes) -> bytes:
        place = int(at * len(content))
        if kind == "f":
            return (
                content[:place] + bytes(byte ^ (1 << bit) for byte in content[place : place + 1]) + content[place + 1 :]
            )
        if kind == "c":
            return content[:place] if length > 30 else content[:place] + content[place + length :]
        return content[:place] + (piece if kind == "i" else content[place : place + length]) + content[place:]

    return damage


def damaged(content: bytes, done: list[Damage]) -> bytes:
    for damage in done:
        content = damage(content)
    return content


def require_one_outcome(folder: Path, files: Mapping[str, bytes]) -> None:
    """AAPL, of damaged files, has bars or one failure that can be acted on; FINE, of a whole file, has its bar."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "FINE.csv").write_text(FINE)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    source = FilesSource(folder, "adjusted")
    source.coverage(["AAPL", "MSFT", "FINE"])
    delivery = source.fetch(["AAPL", "FINE"], FIRST_DAY, LAST)
    found = set(delivery.bars["ticker"])
    assert "FINE" in found
    assert delivery.bars.schema == BAR_SCHEMA
    assert ("AAPL" in found) != ("AAPL" in delivery.failures)
    validate(delivery.bars, exchange_calendar(), delivery.places)
    for error in delivery.failures.values():
        message = str(error)
        assert isinstance(error, LdtmError)
        assert any(name in message for name in files) or "no file in" in message
        assert "; " in message
        assert message.isprintable()
        assert len(message) < 700
        assert "Panic" not in message


@st.composite
def damaged_files(draw: st.DrawFn, suffix: str) -> tuple[str, bytes]:
    """A damaged file of AAPL by its name: a text, a text that was compressed before or after, a Parquet file."""
    done = draw(st.lists(damages(), min_size=1, max_size=4))
    if suffix == ".parquet":
        return "AAPL.parquet", damaged(PARQUET.getvalue(), done)
    if suffix == ".csv.gz" and draw(st.booleans()):
        return "AAPL.csv.gz", damaged(ZIPPED, done)
    content = damaged(draw(st.sampled_from(TEXTS)), done)
    return f"AAPL{suffix}", gzip.compress(content) if suffix == ".csv.gz" else content
