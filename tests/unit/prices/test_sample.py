"""The sample answers as a broker does on the evening of the last session asked for."""

from datetime import UTC, date, datetime

import pytest

from ldtm_lib.errors import ConfigurationError, MissingBar, SourceError
from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.settings import Settings, SourceConfig

SAMPLE = SampleSource()
MOMENT = datetime(2013, 3, 1, 23, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "close"), [(date(2000, 6, 20), 101.25), (date(2000, 6, 21), 50.625), (date(2013, 3, 1), 25.3125)]
)
def test_only_splits_up_to_the_last_session_are_applied(last: date, close: float) -> None:
    bars = SAMPLE.fetch(["AAPL"], date(2000, 6, 20), last).bars
    assert bars["session"][0] == date(2000, 6, 20)
    assert bars["close"][0] == close
    assert bars.schema == BAR_SCHEMA


def test_tickers_without_bars_are_failures_and_the_others_go_on() -> None:
    delivery = SAMPLE.fetch(["NVDA", "IBM", "FB"], date(2010, 1, 4), date(2010, 1, 8))
    assert delivery.bars["ticker"].to_list() == ["IBM"] * 5
    assert type(delivery.failures["NVDA"]) is SourceError
    assert "the sample has no NVDA, it has AAPL, FB, GOOG, IBM, MSFT" in str(delivery.failures["NVDA"])
    assert isinstance(delivery.failures["FB"], MissingBar)
    assert "no bar of FB from 2010-01-04 to 2010-01-08; its bars go from 2012-05-18 to 2013-03-01" in str(
        delivery.failures["FB"]
    )


def test_asking_for_nothing_or_twice_is_fine() -> None:
    assert SAMPLE.fetch([], date(2010, 1, 4), date(2010, 1, 8)).bars.schema == BAR_SCHEMA
    assert SAMPLE.fetch(["IBM", "IBM"], date(2010, 1, 4), date(2010, 1, 8)).bars.height == 5


def test_the_configuration_names_the_source(settings: Settings) -> None:
    assert open_source(settings, {}, MOMENT).name == "sample"
    (settings.path.parent / "bars").mkdir()
    files = SourceConfig(kind="files", folder="bars", basis="raw")
    source = open_source(Settings(path=settings.path, tickers=settings.tickers, source=files), {}, MOMENT)
    assert isinstance(source, FilesSource)
    assert source.folder == settings.path.parent / "bars"
    undeclared = SourceConfig(kind="files", folder="bars")
    with pytest.raises(ConfigurationError, match=r"source\.basis is not set.*write basis = .* under \[source\]"):
        open_source(Settings(path=settings.path, tickers=settings.tickers, source=undeclared), {}, MOMENT)
    nowhere = SourceConfig(kind="files", folder="nowhere", basis="raw")
    with pytest.raises(ConfigurationError, match=r"source\.folder is .*nowhere, which is not a folder"):
        open_source(Settings(path=settings.path, tickers=settings.tickers, source=nowhere), {}, MOMENT)


def test_coverage_names_the_tickers_that_the_sample_lacks() -> None:
    assert SAMPLE.coverage(["IBM", "NVDA", "FB", "SPY"]).lacking == ("NVDA", "SPY")
