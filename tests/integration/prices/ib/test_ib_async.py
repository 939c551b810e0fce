"""The same source on ib_async, ib_insync's successor: in a process where that one and its eventkit are not there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.prices.ib.asking import NUM_SESSIONS, SYMBOLS, asked_of, peer_of
from tests.integration.prices.ib.peer import PACING, TwsPeer
from tests.integration.prices.ib.reactions import Error, LinkLost
from tests.repository import REPOSITORY

FETCH = """
import json, sys
sys.modules["ib_insync"] = None
from ldtm_lib.prices.sources.ib.client import client_module
from tests.integration.prices.ib.asking import fetch
delivery = fetch(int(sys.argv[1]))
failures = {ticker: str(error) for ticker, error in delivery.failures.items()}
print(json.dumps({"client": client_module(), "sessions": delivery.bars["ticker"].to_list(), "failures": failures,
                  "eventkit": sys.modules["eventkit"].__file__}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ib_async and its eventkit, of the pinned versions."""
    folder = tmp_path_factory.mktemp("ib_async")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "0", "--target", str(folder)]
    done = subprocess.run(
        [*pip, "-c", str(REPOSITORY / "constraints.txt"), "ib_async", "aeventkit"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip cannot install ib_async here: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def peer() -> Iterator[TwsPeer]:
    with peer_of() as peer:
        yield peer


def fetched(peer: TwsPeer, installed: Path) -> dict[str, object]:
    """What a process without ib_insync fetches of the week."""
    done = subprocess.run(
        [sys.executable, "-c", FETCH, str(peer.port)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["client"] == "ib_async"
    assert answer["eventkit"].startswith(str(installed))
    return answer


def test_ib_async_brings_the_same_bars_over_the_same_outages(peer: TwsPeer, installed: Path) -> None:
    peer.script("AAPL", Error(162, PACING))
    peer.script("NVDA", LinkLost(0.1, requests_kept=False))
    answer = fetched(peer, installed)
    assert answer["failures"] == {}
    assert answer["sessions"] == [symbol for symbol in SYMBOLS for _ in range(NUM_SESSIONS)]
    assert set(peer.received) == {"71", "20"}


def test_a_request_that_ib_async_takes_321_for_a_warning_of_is_refused_all_the_same(
    peer: TwsPeer, installed: Path
) -> None:
    peer.script("AAPL", Error(321, "Error validating request"))
    answer = fetched(peer, installed)
    assert answer["failures"] == {
        "AAPL": "AAPL: IB says 321, 'Error validating request'; update TWS or Gateway, and correct what the "
        "message names"
    }
    assert asked_of(peer, "AAPL") == 1
