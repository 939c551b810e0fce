"""LDTM_DATABASE_URL: what is no URL is refused, without a word of it."""

import pytest

from ldtm_cli.database_diagnosis import encryption_findings
from ldtm_lib.database.connection import masked_url
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


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://user:s%40cret@host:5432/db?sslmode=require", "postgresql://user:***@host:5432/db?sslmode=require"),
        ("postgresql://user:s:e@a,b:1/db", "postgresql://user:***@a,b:1/db"),
        ("postgresql://host/db?user=me&p%61ssword=secret&sslpassword=x", "postgresql://host/db?user=me&p%61ssword=***&sslpassword=***"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db?host=/run/postgresql"),
    ],
)  # fmt: skip
def test_the_password_of_a_url_is_masked_wherever_it_stands(url: str, masked: str) -> None:
    assert masked_url(url) == masked


@pytest.mark.parametrize(
    ("host", "host_address", "is_encrypted", "level"),
    [
        ("/run/postgresql", "", False, None),
        ("@abstract", "", False, None),
        ("localhost", "127.0.0.1", False, None),
        ("db.example.org", "127.0.0.1", False, None),
        ("::1", "::1", False, None),
        ("db.example.org", "203.0.113.7", True, "ok"),
        ("db.example.org", "203.0.113.7", False, "warn"),
        ("localhost", "203.0.113.7", False, "warn"),
        ("203.0.113.7", "", False, "warn"),
    ],
)
def test_an_unencrypted_connection_to_another_host_is_a_warning(
    host: str, host_address: str, is_encrypted: bool, level: str | None
) -> None:
    found = encryption_findings(host, host_address, is_encrypted=is_encrypted)
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all("sslmode=verify-full" in finding.remedy for finding in found if finding.level == "warn")
