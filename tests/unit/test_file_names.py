"""Names of files are made of tickers so that two of them never share one, and the ticker can be read back."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldtm_lib.file_names import plain_name, ticker_file_name

TICKERS = st.from_regex(r"[A-Z0-9.^/=_-]{1,12}", fullmatch=True)


@pytest.mark.parametrize(
    ("ticker", "name"),
    [
        ("AAPL", "AAPL"),
        ("BRK.B", "BRK.B"),
        ("BF-B", "BF-B"),
        ("A_B", "A_B"),
        ("^GSPC", "%5EGSPC"),
        ("RDS/A", "RDS%2FA"),
        ("EURUSD=X", "EURUSD%3DX"),
        (".SPX", "%2ESPX"),
    ],
)
def test_ordinary_tickers_keep_their_name_and_others_are_quoted(ticker: str, name: str) -> None:
    assert ticker_file_name(ticker) == name


@given(one=TICKERS, other=TICKERS)
def test_two_tickers_never_share_a_name(one: str, other: str) -> None:
    names = ticker_file_name(one), ticker_file_name(other)
    assert (names[0].lower() == names[1].lower()) == (one == other)
    assert unquote(names[0]) == one
    assert "/" not in names[0]
    assert not names[0].startswith(".")


@given(ticker=TICKERS)
def test_a_file_is_found_by_the_ticker_that_it_is_named_after(ticker: str) -> None:
    assert plain_name(unquote(ticker_file_name(ticker))) == plain_name(ticker)
