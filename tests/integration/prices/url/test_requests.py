"""Requests are few: paced, several at once, and conditional where an answer is stored."""

import time
from pathlib import Path

import pytest

from ldtm_lib.prices.sources.url.pacing import RequestPacer, RequestPatience
from tests.integration.prices.url.fetching import CLOSES, CSV, SHORT, closes, fetch
from tests.integration.prices.url.web_service import Received, Reply, WebService

ETAG = {"ETag": '"v1"', "Last-Modified": "Fri, 20 Nov 2026 22:00:00 GMT"}


def revalidating(request: Received) -> Reply:
    """Sends bars once, and 304 to whoever has them."""
    if request.headers.get("if-none-match") == ETAG["ETag"]:
        return Reply(status=304)
    return Reply(body=CSV.encode(), headers=ETAG)


def test_no_more_requests_than_allowed_are_sent_in_a_minute(service: WebService, tmp_path: Path) -> None:
    tickers = [f"T{n}" for n in range(9)]
    service.replies = dict.fromkeys(tickers, Reply(body=CSV.encode()))
    began = time.monotonic()
    delivery = fetch(service, tmp_path, tickers, requests_per_minute=4)  # of the tests' minute of half a second
    assert delivery.failures == {}
    assert 1.0 <= time.monotonic() - began < 3.0, "4 at once, 4 in the next minute, 1 in the third"


def test_fewer_requests_than_one_a_minute_may_be_allowed() -> None:
    pacer = RequestPacer(RequestPatience(minute=0.1))
    began = time.monotonic()
    for _ in range(3):
        pacer.wait_for_turn(0.5)
    assert 0.4 <= time.monotonic() - began < 1.0


def test_several_requests_are_open_at_once(service: WebService, tmp_path: Path) -> None:
    tickers = [f"T{n}" for n in range(8)]
    service.replies = dict.fromkeys(tickers, Reply(body=CSV.encode(), wait_seconds=0.3))
    began = time.monotonic()
    assert fetch(service, tmp_path, tickers, requests_in_flight=8).failures == {}
    assert time.monotonic() - began < 1.5, "one after the other they take 2.4 s"


def test_an_unchanged_answer_is_not_sent_again(service: WebService, tmp_path: Path) -> None:
    service.replies["AAPL"] = revalidating
    assert closes(fetch(service, tmp_path)) == CLOSES
    assert closes(fetch(service, tmp_path)) == CLOSES
    first, second = service.received
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"] == ETAG["ETag"]
    assert second.headers["if-modified-since"] == ETAG["Last-Modified"]


def test_a_changed_answer_replaces_the_stored_one(service: WebService, tmp_path: Path) -> None:
    service.replies["AAPL"] = [
        Reply(body=CSV.encode(), headers=ETAG),
        Reply(body=CSV.replace("103.125,1004", "103.5,1004").encode(), headers={"ETag": '"v2"'}),
        Reply(status=304),
    ]
    assert closes(fetch(service, tmp_path))[-1] == 103.125
    assert closes(fetch(service, tmp_path))[-1] == 103.5
    assert closes(fetch(service, tmp_path))[-1] == 103.5
    assert service.received[-1].headers["if-none-match"] == '"v2"'


def test_a_damaged_or_missing_stored_answer_is_asked_for_in_full(service: WebService, tmp_path: Path) -> None:
    service.replies["AAPL"] = revalidating
    fetch(service, tmp_path)
    (stored,) = (tmp_path / "answers").iterdir()
    for damage in (stored.read_bytes()[:-5], b"", b"{}\n"):
        stored.write_bytes(damage)
        assert closes(fetch(service, tmp_path)) == CLOSES
        assert "if-none-match" not in service.received[-1].headers
    stored.unlink()
    assert closes(fetch(service, tmp_path)) == CLOSES


def test_an_answer_to_another_address_is_not_taken_for_this_one(service: WebService, tmp_path: Path) -> None:
    service.replies["AAPL"] = revalidating
    fetch(service, tmp_path, query="?to=2026-11-19")
    fetch(service, tmp_path, query="?to=2026-11-20")
    assert "if-none-match" not in service.received[-1].headers


def test_nothing_new_without_a_stored_answer_is_asked_again_past_caches(service: WebService, tmp_path: Path) -> None:
    service.replies["AAPL"] = [Reply(status=304), Reply(body=CSV.encode())]
    assert closes(fetch(service, tmp_path)) == CLOSES
    assert service.received[1].headers["cache-control"] == "no-cache"
    service.replies["AAPL"] = Reply(status=304)
    (error,) = fetch(service, tmp_path).failures.values()
    assert "answers that nothing has changed, but no answer is stored, after 3 attempts; try again later" in str(error)


def test_an_answer_that_cannot_be_read_is_not_stored(service: WebService, tmp_path: Path) -> None:
    service.replies["AAPL"] = Reply(body=b"<html>", headers=ETAG)
    assert list(fetch(service, tmp_path).failures) == ["AAPL"]
    assert not (tmp_path / "answers").exists()


def test_a_folder_that_takes_no_answer_is_a_note_and_no_failure(service: WebService, tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file in its place")
    service.replies = dict.fromkeys(("AAPL", "MSFT"), revalidating)
    delivery = fetch(service, tmp_path, ["AAPL", "MSFT"])
    assert closes(delivery) == CLOSES
    assert len(delivery.notes) == 1
    assert "cannot be cached in" in delivery.notes[0]


@pytest.mark.parametrize("num_silent", [1, 2])
def test_a_service_that_answers_in_between_is_not_given_up(num_silent: int) -> None:
    pacer = RequestPacer(SHORT)
    for _ in range(5):
        for _ in range(num_silent):
            pacer.note_silence("is away")
        pacer.note_answer()
    assert pacer.blocked is None
    for _ in range(3):
        pacer.note_silence("is away")
    assert pacer.blocked == "is away"
