"""Files of a source folder that were made to mislead: links, special files, bombs, absurd numbers, escapes."""

import os
import subprocess
import sys
import zlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ldtm_lib.errors import LdtmError
from ldtm_lib.prices.bars import validate
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.sessions import exchange_calendar

HEADER = "Date,Open,High,Low,Close,Volume\n"
BAR = "2024-01-29,1,1,1,1,5\n"
REWRITE = "write it again, as pandas.DataFrame.to_parquet or polars.DataFrame.write_parquet do"
SPLIT_UP = "split it into one file per ticker"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bars"
    path.mkdir()
    (path / "FINE.csv").write_text(HEADER + BAR)
    return path


def fetch(folder: Path, *tickers: str) -> Delivery:
    return FilesSource(folder, "adjusted").fetch(tickers, date(2020, 1, 2), date(2026, 1, 2))


def failure(folder: Path, ticker: str = "AAPL") -> str:
    delivery = fetch(folder, ticker, "FINE")
    assert delivery.bars["ticker"].to_list() == ["FINE"]
    assert isinstance(delivery.failures[ticker], LdtmError)
    return str(delivery.failures[ticker])


def secret(tmp_path: Path) -> Path:
    path = tmp_path / "shadow"
    path.write_text("root:$6$SECRET:19000\n")
    return path


def test_a_link_that_leads_out_of_the_folder_is_not_read(folder: Path, tmp_path: Path) -> None:
    (folder / "AAPL.csv").symlink_to(secret(tmp_path))
    assert failure(folder) == ("AAPL.csv is a link that leads out of the source folder; copy the file into the folder")
    (folder / "AAPL.csv").unlink()
    outside = tmp_path / "AAPL.csv"
    outside.write_text(HEADER + BAR)
    (folder / "AAPL.csv").symlink_to(Path("..") / "AAPL.csv")
    assert "leads out of the source folder" in failure(folder), "well-formed bars are no exception"
    assert FilesSource(folder, "adjusted").coverage(["AAPL"]).lacking == ("AAPL",)


def test_splits_behind_a_link_are_not_read(folder: Path, tmp_path: Path) -> None:
    (folder / "splits.csv").symlink_to(secret(tmp_path))
    message = str(fetch(folder, "FINE").failures["FINE"])
    assert message.startswith("splits.csv is a link that leads out of the source folder")


def test_links_within_the_folder_and_a_folder_that_is_a_link_are_read(folder: Path, tmp_path: Path) -> None:
    (folder / "store").mkdir()
    (folder / "store" / "AAPL.txt").write_text(HEADER + BAR)
    (folder / "AAPL.csv").symlink_to(Path("store") / "AAPL.txt")
    (tmp_path / "linked").symlink_to(folder)
    delivery = fetch(tmp_path / "linked", "AAPL")
    assert (delivery.failures, delivery.bars.height) == ({}, 1)


@pytest.mark.parametrize("is_hard", [True, False])
def test_one_file_under_the_names_of_two_tickers_is_of_neither(folder: Path, is_hard: bool) -> None:
    (folder / "IBM.csv").write_text(HEADER + BAR)
    (os.link if is_hard else os.symlink)(folder / "IBM.csv", folder / "MSFT.csv")
    delivery = fetch(folder, "IBM", "MSFT", "FINE")
    assert delivery.bars["ticker"].to_list() == ["FINE"]
    assert {str(error) for error in delivery.failures.values()} == {
        "MSFT.csv is a link to IBM.csv, and the bars of one file cannot be of MSFT and of IBM; remove the link"
    }


def test_special_files_are_not_opened(folder: Path) -> None:
    """Opening a FIFO would wait for its writer for ever."""
    os.mkfifo(folder / "AAPL.csv")
    assert "holds AAPL" in failure(folder)
    os.mkfifo(folder / "splits.csv")
    assert str(fetch(folder, "FINE").failures["FINE"]) == "splits.csv is not a regular file; remove it"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}2024-01-29,1,\x1b[31m{'S' * 100_000},1,1,1\n",
        f"\x1b[2J{'S' * 100_000}\n",
        f"Date,{'S' * 200_000},Open,High,Low,Close,Volume\n{BAR}",
        f"{HEADER}{BAR}2024-01-30,1,1,1,1,1,{'S' * 200_000}\n",
    ],
)
def test_a_message_shows_little_of_a_file_and_no_control_characters(folder: Path, text: str) -> None:
    (folder / "AAPL.csv").write_text(text)
    message = failure(folder)
    assert len(message) < 250
    assert message.isprintable()


def test_the_name_of_a_file_is_shown_without_control_characters(folder: Path) -> None:
    (folder / "x\x1b[31m\nAAPL.csv").write_text("ticker," + HEADER)
    (ignored,) = (name for name in fetch(folder, "FINE").ignored if name.startswith("x"))
    assert ignored == "x\\x1b[31m\\nAAPL.csv has a header but no bars; export it again or remove it"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2024-01-30,1e308,1e308,1e308,1e308,5", "close 1e308 is above the bound of 1e+12"),
        ("2024-01-30,1e-300,1e-300,1e-300,1e-300,5", "close 1e-300 is below the bound of 1e-08"),
        ("2024-01-30,1,1,1,1,1e300", "volume 1e300 is above the bound of 1e+15"),
        ("2024-01-30,1,1,1,1,-5", "volume -5.0 is negative"),
        ("2024-01-30,-1,1,1,1,5", "open -1.0 is not above zero"),
        ("2024-01-30,1,1e9,1,1,5", "high 1e9 is more than 10,000 times low 1.0"),
    ],
)
def test_an_absurd_number_is_refused_with_file_line_value_and_bound(folder: Path, line: str, reason: str) -> None:
    (folder / "AAPL.csv").write_text(f"{HEADER}{BAR}{line}\n")
    delivery = fetch(folder, "AAPL")
    judged = validate(delivery.bars, exchange_calendar(), delivery.places)
    assert judged.valid["session"].to_list() == [date(2024, 1, 29)]
    (found,) = judged.refused["reason"]
    assert found.startswith("AAPL.csv, line 3: ")
    assert reason in found.replace("e+30", "e30").replace("1000000000.0", "1e9")


def test_neighbouring_closes_beyond_the_bound_fail_their_ticker(folder: Path) -> None:
    (folder / "AAPL.csv").write_text(f"{HEADER}2024-01-29,1e-7,1e-7,1e-7,1e-7,5\n2024-01-30,1e9,1e9,1e9,1e9,5\n")
    assert failure(folder) == (
        "AAPL.csv, line 3: the close goes from 1e-07 (AAPL.csv, line 2) to 1e+09, above the bound of a ratio of "
        "10,000; correct the bar"
    )


def test_a_declared_split_beyond_any_real_one_is_refused(folder: Path) -> None:
    (folder / "splits.csv").write_text("ticker,session,ratio\nFINE,2024-01-29,1e300\n")
    assert str(fetch(folder, "FINE").failures["FINE"]).startswith(
        "splits.csv, line 2 is not a split: FINE,2024-01-29,1e300;"
    )


def compressed(text: str, times: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(text.encode()) for _ in range(times)), packer.flush()])


def test_compressed_splits_are_not_decompressed(folder: Path) -> None:
    """Polars decompresses what begins like gzip: 300 KB became 150 MB, and minutes of reading."""
    (folder / "splits.csv").write_bytes(compressed("A,2024-01-29,2\n" * 100_000, 100))
    assert "splits.csv has control characters" in str(fetch(folder, "FINE").failures["FINE"])


def test_a_header_that_begins_like_a_compressed_file_is_refused(folder: Path) -> None:
    """Bytes that are valid text and valid zlib at once would be decompressed by polars."""
    (folder / "AAPL.csv").write_bytes(b"x\x01\x00@\xc2\xbf=," + HEADER.encode() + BAR.encode())
    assert failure(folder) == "AAPL.csv, line 1 has control characters; save it as CSV in UTF-8"


def test_text_files_are_bounded_by_size_fields_and_columns(folder: Path) -> None:
    path = folder / "AAPL.csv"
    path.write_text(HEADER)
    os.truncate(path, 300 * 2**20)
    assert failure(folder) == f"AAPL.csv has 300 MiB, above the bound of 256 MiB; {SPLIT_UP}"
    path.write_text(HEADER + ",\n" * 6_000_000)
    assert failure(folder) == f"AAPL.csv has 36,000,000 fields, above the bound of 30,000,000; {SPLIT_UP}"
    path.write_text(f"{HEADER.strip()}{',x' * 300}\n{BAR}")
    assert failure(folder) == "AAPL.csv has 306 columns, above the bound of 256; export fewer"


FRAME = {"Date": date(2024, 1, 29), **dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), 1.0)}


def repeated(num_rows: int) -> pl.DataFrame:
    return pl.select(**{name: pl.repeat(value, num_rows) for name, value in FRAME.items()})


def test_a_small_parquet_file_of_many_rows_is_refused_before_it_is_read(folder: Path) -> None:
    path = folder / "AAPL.parquet"
    repeated(5_500_000).write_parquet(path, compression="zstd", statistics=False)
    assert path.stat().st_size < 200_000
    assert failure(folder) == (
        f"AAPL.parquet has 33,000,000 values in columns of bars, above the bound of 30,000,000; {SPLIT_UP}"
    )


def test_a_page_with_more_values_than_its_footer_says_is_refused(folder: Path) -> None:
    path = folder / "AAPL.parquet"
    repeated(1000).write_parquet(path)
    content, thousand, most = path.read_bytes(), b"\xd0\x0f", b"\xfe\x7f"
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[:footer].replace(thousand, most) + content[footer:])
    assert failure(folder) == (
        "AAPL.parquet is not a complete Parquet file (a column has 8,191 values in a group of 1,000 rows); " + REWRITE
    )


def test_a_column_of_values_that_repeat_a_long_text_is_refused(folder: Path) -> None:
    repeated(10).with_columns(Date=pl.lit("2024-01-29" + " " * 10_000)).write_parquet(folder / "AAPL.parquet")
    assert failure(folder) == (
        "AAPL.parquet has a session of 10,010 bytes, above the bound of 40; write numbers and dates"
    )


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def encoded(fields: Mapping[int, object]) -> bytes:
    """A struct of Thrift's compact protocol of numbers, bytes and lists of structs."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            out += b"\x05" + varint(number * 2) + varint(value * 2)
        elif isinstance(value, bytes):
            out += b"\x08" + varint(number * 2) + varint(len(value)) + value
        elif isinstance(value, list):
            out += b"\x09" + varint(number * 2) + b"\xfc" + varint(len(value)) + b"".join(value)
    return out + b"\x00"


def parquet(fields: Mapping[int, object]) -> bytes:
    footer = encoded(fields)
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (parquet({2: [encoded({4: b"x", 5: 1})] * 200 + [encoded({4: b"y"})], 3: 1}), "has 9 levels"),
        (parquet({2: [encoded({4: b"x", 5: 1})] * 5000, 3: 1}), "has 5,000 elements"),
        (parquet({2: [encoded({4: b"r", 5: 10**9})], 3: 1}), "its schema has fewer elements than it states"),
        (b"PAR1\x00" + (2**31).to_bytes(4, "little") + b"PAR1", "has 2,147,483,648 bytes"),
        (b"PAR1" + b"\x19" * 500 + (500).to_bytes(4, "little") + b"PAR1", "its metadata is nested too deeply"),
        (b"PAR1" + b"\x1c" * 500 + (500).to_bytes(4, "little") + b"PAR1", "its metadata is nested too deeply"),
        (b"PAR1\x29\xfc\xff\xff\xff\xff\x0f" + (7).to_bytes(4, "little") + b"PAR1", "a list of its metadata is cut"),
        (b"", "its end is not PAR1"),
    ],
)
def test_a_footer_that_is_damaged_or_too_deep_is_refused(folder: Path, content: bytes, reason: str) -> None:
    """Polars follows a schema as deep as it is, and ends the process."""
    (folder / "AAPL.parquet").write_bytes(content)
    message = failure(folder)
    assert reason in message
    assert message.endswith(REWRITE)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_just_within_the_bounds_is_read_in_bounded_memory(folder: Path, suffix: str) -> None:
    """4.2 million rows of seven columns; peaks of 1.6 GiB (csv) and 1.3 GiB (parquet) were measured."""
    days = pl.date_range(date(1800, 1, 1), date(2023, 12, 31), eager=True).to_frame("Date")
    tickers = pl.DataFrame({"Ticker": [f"T{number:02}" for number in range(51)]})
    frame = tickers.join(days, how="cross").with_columns(pl.lit(1.25).alias(name) for name in [*FRAME][1:])
    path = folder / f"all.{suffix}"
    _ = frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    code = (
        "import sys; from datetime import date; from pathlib import Path; import resource\n"
        "from ldtm_lib.prices.sources.files import FilesSource\n"
        "read = FilesSource(Path(sys.argv[1]), 'adjusted').fetch(['T07'], date(2020, 1, 2), date(2026, 1, 2))\n"
        "print(read.bars.height, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    num_bars, peak_mib = map(int, ran.stdout.split())
    assert num_bars == 1460
    assert peak_mib < 4096
