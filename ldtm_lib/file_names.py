"""Names of files that belong to a ticker."""

from urllib.parse import quote


def ticker_file_name(ticker: str) -> str:
    """The stem of the file name for a ticker; `urllib.parse.unquote` restores the ticker.

    Letters, digits, `-`, `_` and `.` are kept, so that AAPL and BRK.B stay unchanged; `^`, `/` and `=` become %5E, %2F
    and %3D. A leading dot, which would hide the file, becomes %2E.
    """
    quoted = quote(ticker, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def plain_name(ticker: str) -> str:
    """The common form of a ticker's spellings in file names: one of aapl.us and AAPL, one of BRK-B, BRK_B and BRK.B."""
    return without_us_suffix(ticker).replace("-", ".").replace("_", ".").replace(" ", ".").replace("/", ".")


def without_us_suffix(ticker: str) -> str:
    """A ticker in capital letters, without the suffix that some services give a share listed in the US."""
    name = ticker.strip().upper()
    for suffix in (".US", "_US", "-US"):
        name = name.removesuffix(suffix)
    return name
