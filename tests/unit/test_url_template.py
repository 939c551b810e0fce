"""Templates of web addresses: what they may hold, and that a key in the file is refused without being shown."""

from datetime import date

import pytest

from ldtm_lib.url import UrlTemplate

FIRST, LAST = date(2026, 1, 2), date(2026, 11, 20)


def test_places_are_filled_with_quoted_values() -> None:
    template = UrlTemplate.parse(
        "https://a.example:8443/d/{ticker}.csv?f={first}&l={last:%Y%m%d}&k={env:A_KEY}&x={{1}}"
    )
    filled = template.fill(ticker="RDS/A", first=FIRST, last=LAST, environ={"A_KEY": "a b&c"})
    assert filled == "https://a.example:8443/d/RDS%2FA.csv?f=2026-01-02&l=20261120&k=a%20b%26c&x={1}"
    assert template.variables == ("A_KEY",)
    assert template.host == "https://a.example:8443"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://a.example/daily", "it has no {ticker}; write {ticker} where the ticker belongs"),
        ("https://a.example/{ticker", "its braces do not match; its placeholders are {ticker}"),
        ("https://a.example/{symbol}/{ticker}", "{symbol} is not a placeholder; its placeholders are"),
        ("https://a.example/{}/{ticker}", "{} is not a placeholder; its placeholders are"),
        ("https://a.example/{ticker:s}", "{ticker:s} has an invalid format; its placeholders are"),
        ("https://a.example/{ticker}/{first:d}", "{first:d} has an invalid format; its placeholders are"),
        ("https://a.example/{ticker!r}", "a placeholder cannot be converted by `!`; its placeholders are"),
        ("https://a.example/{ticker}?k={env:s3cret}", "{env:...} must name an environment variable"),
        ("ftp://a.example/{ticker}", "it must begin with http:// or https://, a host and a path"),
        ("https://{ticker}.example/", "it must begin with http:// or https://, a host and a path"),
        ("https://a.example{ticker}", "it must begin with http:// or https://, a host and a path"),
        ("https://me:s3cret@a.example/{ticker}", "it must not hold a user or a password; name them in url.headers"),
        (
            "https://a.example/{ticker}?apikey=s3cret",
            "the value of its parameter apikey is in the file; set an environment variable to it, such as "
            "LDTM_PRICES_KEY, and write apikey={env:LDTM_PRICES_KEY}",
        ),
        ("https://a.example/q?s={ticker}&api_token=s3cret", "the value of its parameter api_token is in the file"),
    ],
)
def test_what_is_wrong_with_a_template_is_named_and_no_key_shown(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as refused:
        UrlTemplate.parse(text)
    assert str(refused.value).startswith(message)
    assert "s3cret" not in str(refused.value)
