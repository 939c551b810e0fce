"""A service that every test of this folder may ask."""

from collections.abc import Iterator

import pytest

from tests.integration.prices.url.fetching import CSV
from tests.integration.prices.url.web_service import Reply, WebService, serving


@pytest.fixture
def service() -> Iterator[WebService]:
    """A service that has AAPL and MSFT."""
    with serving() as running:
        running.replies = {ticker: Reply(body=CSV.encode()) for ticker in ("AAPL", "MSFT")}
        yield running
