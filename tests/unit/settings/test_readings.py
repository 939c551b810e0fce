"""Two tickers that a source reads as one are refused; pairs that only look alike are not."""

from pathlib import Path

import pytest

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.settings import Settings, read_settings


def settings(kind: str, tickers: list[str], more: str = "") -> Settings:
    own = f"tickers = {tickers}\n[source]\nkind = '{kind}'\nbasis = 'adjusted'\n{more}"
    return read_settings(own, Path("/somewhere/ldtm.toml"))


@pytest.mark.parametrize(
    ("kind", "tickers", "more", "what"),
    [
        ("files", ["IBM", "IBM.US"], "", "file IBM.csv"),
        ("files", ["MSFT", "IBM_US", "IBM-US"], "", "file IBM.csv"),
        ("files", ["BRK-B", "BRK.B"], "", "file BRK.B.csv"),
        ("url", ["IBM", "IBM.US"], "", "symbol IBM"),
        ("url", ["FB", "META"], "[symbols]\nFB = 'meta.us'", "symbol META"),
        ("yfinance", ["BRK.B", "BRK-B"], "[symbols]\n'BRK.B' = 'BRK-B'", "symbol BRK-B"),
        ("ib", ["IBM", "BIG"], "[contracts.BIG]\nsymbol = 'ibm'", "contract IBM, SMART, USD"),
        ("ib", ["IBM", "BIG"], "[contracts.BIG]\nsymbol='IBM'\nprimary_exchange='NYSE'", "contract IBM, SMART, USD"),
        (
            *("ib", ["IBM", "BIG"]),
            "[contracts.BIG]\ncon_id = 8314\nexchange='NYSE'\n[contracts.IBM]\ncon_id = 8314",
            "contract con_id 8314",
        ),
    ],
)
def test_two_tickers_with_one_reading_are_refused(kind: str, tickers: list[str], more: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(kind, tickers, more)
    one, other = tickers[-2:]
    message = str(refused.value)
    assert f'{one} and {other} in `tickers` are the same for source.kind = "{kind}": both read the {what}' in message
    assert message.endswith("; a ticker that already has forecasts belongs under [retired]")


@pytest.mark.parametrize(
    ("kind", "tickers", "more"),
    [
        ("files", ["BRK-A", "BRK-B", "BF.A", "BF.B", "IBM", "IBM.L", "^GSPC", "GSPC"], ""),
        ("yfinance", ["BRK-A", "BRK-B", "RIO", "RIO.L", "RIO-L", "BTC-USD"], ""),
        ("url", ["FB", "META"], "[symbols]\nFB = 'meta.us'\n[retired]\nFB = 2022-06-09"),
        ("files", ["IBM", "IBM.US"], "[retired]\n'IBM.US' = 2026-11-30"),
        ("ib", ["SHELL", "SHELL.L"], "[contracts.'SHELL.L']\nsymbol='SHELL'\nexchange='LSE'"),
        ("ib", ["AB", "AB2"], "[contracts.AB2]\nsymbol='AB'\ncurrency='CAD'"),
        (
            *("ib", ["AB", "AB2"]),
            "[contracts.AB]\nprimary_exchange='NYSE'\n[contracts.AB2]\nsymbol='AB'\nprimary_exchange='ARCA'",
        ),
        ("ib", ["AB", "AB2"], "[contracts.AB]\ncon_id=1\n[contracts.AB2]\ncon_id=2"),
    ],
)
def test_tickers_that_only_look_alike_are_accepted(kind: str, tickers: list[str], more: str) -> None:
    assert settings(kind, tickers, more).tickers == tuple(tickers)
