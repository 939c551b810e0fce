"""LDTM_DATABASE_URL: what is no URL is refused, without a word of it."""

import pytest

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.project import checked_url

GOOD = (
    "postgresql://",
    "postgres://host/db",
    "postgresql://user@/db?host=/run/postgresql",
    "postgresql://user:p%2F%40%25:x!$&'()*+,;=~@host:5432/db?sslmode=require",
    "postgresql://user:secret@[::1]:5432/db",
    "postgresql://user:secret@one:1,two:2/db",
)


@pytest.mark.parametrize("url", GOOD)
def test_a_url_is_taken_as_it_is(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize("unquoted", ["/", "@", "?", "#", "%", "%zz", "[", " ", "\t"])
def test_a_password_that_would_be_read_as_a_host_is_refused_and_not_shown(unquoted: str) -> None:
    with pytest.raises(ConfigurationError, match="as %XX, such as %40 for @") as refused:
        checked_url(f"postgresql://user:sec{unquoted}ret@host:5432/db")
    assert "ret" not in str(refused.value).replace("write", "")


def test_another_form_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="is not a PostgreSQL URL; write postgresql://") as refused:
        checked_url("host=x password=hidden")
    assert "hidden" not in str(refused.value)
