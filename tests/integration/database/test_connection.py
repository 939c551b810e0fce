"""Messages when PostgreSQL is not there, goes away, or is named wrongly."""

import psycopg
import pytest

from ldtm_lib.database.connection import Database, address
from ldtm_lib.errors import ConfigurationError, DatabaseUnavailable

NOBODY_LISTENS = "postgresql://me:top-secret@127.0.0.1:1/prices"


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        Database(url=NOBODY_LISTENS, schema="ldtm").connect()
    assert "PostgreSQL at 127.0.0.1:1/prices does not answer" in str(refused.value)
    assert "ldtm up" in str(refused.value)
    assert "top-secret" not in str(refused.value)


def test_a_url_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="LDTM_DATABASE_URL is not a PostgreSQL URL"):
        Database(url="mysql://somewhere", schema="ldtm").connect()


def test_an_address_shows_no_user_and_no_password() -> None:
    assert address(NOBODY_LISTENS) == "127.0.0.1:1/prices"


def test_a_connection_lost_in_a_transaction_is_reported_and_nothing_is_kept(database: Database) -> None:
    def lose_the_connection() -> None:
        with database.transaction() as conn:
            conn.execute("insert into split values ('X', '2020-01-02', 2)")
            with psycopg.connect(database.url, autocommit=True) as other:
                other.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
            conn.execute("select 1")

    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        lose_the_connection()
    with database.transaction() as conn:
        assert conn.execute("select count(*) from split").fetchone() == (0,)


def test_other_errors_of_the_database_pass_as_they_are(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), database.transaction() as conn:
        conn.execute("insert into split values ('X', '2020-01-02', 1)")


def test_the_url_for_dagster_names_driver_and_schema() -> None:
    given = Database(url="postgresql://me:pw@db:5432/prices?sslmode=require", schema="dagster_part")
    assert given.sqlalchemy_url() == (
        "postgresql+psycopg2://me:pw@db:5432/prices?sslmode=require&options=-csearch_path%3Ddagster_part"
    )
