"""Names of files that belong to a ticker."""

from urllib.parse import quote


def ticker_file_name(ticker: str) -> str:
    """The beginning of a file's name for a ticker; `urllib.parse.unquote` makes the ticker of it again.

    Letters, digits, `-`, `_` and `.` stand for themselves, so that AAPL and BRK.B keep their names; `^`, `/` and `=`
    become %5E, %2F and %3D. A leading dot, which would hide the file, becomes %2E.
    """
    quoted = quote(ticker, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
