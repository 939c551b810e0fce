"""Daily runs through Dagster with bars of a web service: one request per ticker, and one failure at most."""

from collections.abc import Iterator

import polars as pl
import pytest

from ldtm_lib.database.connection import Database
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.sessions import FIRST_DAY, Calendar
from tests.integration.ldtm_assets.daily_runs import DailyRun
from tests.integration.prices.url.fetching import VARIABLE
from tests.integration.prices.url.web_service import KEY, Received, Reply, WebService, serving

SETTINGS = f"""
[url]
url = "{{url}}/{{{{ticker}}}}?from={{{{first}}}}&to={{{{last}}}}"
headers = {{{{ X-Key = "{VARIABLE}" }}}}
num_attempts = 1
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, calendar: Calendar) -> Iterator[WebService]:
    """The bars of the sample until 2013-03-01 behind a key."""
    monkeypatch.setenv(VARIABLE, KEY)
    last = calendar.require_session(pl.Series(["2013-03-01"]).str.to_date()[0])
    bars = SampleSource().fetch(["AAPL", "MSFT"], FIRST_DAY, last).bars

    def reply(request: Received) -> Reply:
        ticker = request.path.partition("?")[0].removeprefix("/")
        if request.headers.get("x-key") != KEY:
            return Reply(status=401)
        return Reply(body=bars.filter(ticker=ticker).drop("ticker").write_csv().encode(), headers={"ETag": '"1"'})

    with serving() as running:
        running.replies = {"AAPL": reply, "MSFT": reply}
        yield running


@pytest.mark.slow
def test_a_daily_run_records_the_bars_of_a_web_service(
    daily_run: DailyRun, service: WebService, database: Database
) -> None:
    more = SETTINGS.format(url=service.url)
    result = daily_run("2013-03-01", source="url", more=more)
    assert result.success
    with database.connect() as conn:
        stored = current_bars(conn, ["AAPL", "MSFT"])
        (sources,) = conn.execute("select array_agg(distinct source) from ldtm.bar").fetchone() or ([],)
    assert sources == ["url"]
    assert stored.group_by("ticker").agg(pl.len() > 3000, pl.col("session").max().cast(pl.String)).sort(
        "ticker"
    ).rows() == [
        ("AAPL", True, "2013-03-01"),
        ("MSFT", True, "2013-03-01"),
    ]
    assert sorted(request.path.partition("?")[0] for request in service.received) == ["/AAPL", "/MSFT"]


@pytest.mark.slow
def test_a_ticker_that_the_service_refuses_does_not_hold_up_the_others(
    daily_run: DailyRun, service: WebService, database: Database
) -> None:
    service.replies["MSFT"] = Reply(status=404)
    result = daily_run("2013-03-01", source="url", more=SETTINGS.format(url=service.url))
    done = {
        str(event.partition)
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == "prices"
    }
    assert done == {"2013-03-01|AAPL"}
    with database.connect() as conn:
        assert set(current_bars(conn, ["AAPL", "MSFT"])["ticker"]) == {"AAPL"}
