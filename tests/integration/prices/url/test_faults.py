"""Whatever a web service does wrong concerns one ticker, and is named with the remedy and without the key."""

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from ldtm_lib.prices.sources.url.pacing import RequestPacer, RequestPatience
from tests.integration.prices.url.fetching import CLOSES, CSV, SHORT, VARIABLE, closes, fetch, source_of
from tests.integration.prices.url.web_service import KEY, Reply, WebService, make_certificate, serving

PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"


def failure(service: WebService, folder: Path, reply: Reply | list[Reply], **arguments: object) -> str:
    """The message for XYZ, while AAPL and MSFT beside it are delivered."""
    service.replies["XYZ"] = reply
    delivery = fetch(service, folder, ("AAPL", "XYZ", "MSFT"), **arguments)
    assert closes(delivery, "AAPL") == closes(delivery, "MSFT") == CLOSES
    assert list(delivery.failures) == ["XYZ"]
    message = str(delivery.failures["XYZ"]).replace(service.host, "HOST")
    assert KEY not in message
    return message


def test_the_bars_of_every_ticker_come_from_a_request_of_its_own(service: WebService, tmp_path: Path) -> None:
    delivery = fetch(service, tmp_path, ("AAPL", "MSFT"))
    assert delivery.failures == {}
    assert closes(delivery, "AAPL") == closes(delivery, "MSFT") == CLOSES
    assert set(delivery.basis.values()) == {delivery.bars["session"].max()}
    assert sorted(request.path for request in service.received) == ["/AAPL", "/MSFT"]


def test_an_unknown_ticker_is_reported_with_where_to_write_its_spelling(service: WebService, tmp_path: Path) -> None:
    assert failure(service, tmp_path, Reply(status=404)) == (
        "XYZ: HOST answers with the status 404 Not Found; "
        "name the service's spelling of the ticker under [symbols], or correct url.url"
    )
    assert service.num_requests("XYZ") == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_reported_with_the_words_of_the_service(
    service: WebService, tmp_path: Path, status: int
) -> None:
    said = Reply(status=status, body=f'{{"detail": "the key {KEY} is not valid"}}'.encode())
    message = failure(service, tmp_path, said, query=f"?apikey={{env:{VARIABLE}}}")
    assert '{"detail": "the key *** is not valid"}; check the key in the environment variable' in message
    assert service.num_requests("XYZ") == 1


def test_a_service_that_is_asked_too_often_is_asked_again_after_the_wait_it_names(
    service: WebService, tmp_path: Path
) -> None:
    service.replies["AAPL"] = [Reply(status=429, headers={"Retry-After": "1"}), Reply(body=CSV.encode())]
    began = time.monotonic()
    assert closes(fetch(service, tmp_path)) == CLOSES
    assert 1.0 <= time.monotonic() - began < 3.0
    assert service.num_requests("AAPL") == 2


def test_a_wait_that_is_named_as_a_date_is_counted_by_the_clock_of_the_service(
    service: WebService, tmp_path: Path
) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    service.replies["AAPL"] = [Reply(status=503, headers={"Retry-After": until}), Reply(body=CSV.encode())]
    began = time.monotonic()
    assert closes(fetch(service, tmp_path)) == CLOSES
    assert 0.9 <= time.monotonic() - began < 4.0, "dates have whole seconds"


def test_a_service_that_asks_for_an_hour_is_not_asked_for_the_other_tickers(
    service: WebService, tmp_path: Path
) -> None:
    service.replies["XYZ"] = Reply(status=429, headers={"Retry-After": "3600"}, body=b"daily limit reached")
    pacer = RequestPacer(SHORT)
    delivery = fetch(service, tmp_path, ("XYZ", "AAPL"), pacer=pacer, requests_in_flight=1)
    assert {ticker: str(error).replace(service.host, "HOST") for ticker, error in delivery.failures.items()} == {
        "XYZ": "XYZ: HOST answers with the status 429 Too Many Requests: daily limit reached and asks to wait 60 min; "
        "set url.requests_per_minute to what the service allows",
        "AAPL": "AAPL: not requested, since HOST asks to wait 60 min; try again later",
    }
    assert len(service.received) == 1
    assert list(fetch(service, tmp_path, pacer=pacer).failures) == ["AAPL"], "the next fetch of the process knows"
    assert len(service.received) == 1


def test_a_limit_that_persists_fails_after_the_last_attempt(service: WebService, tmp_path: Path) -> None:
    message = failure(service, tmp_path, Reply(status=429))
    assert message == (
        "XYZ: HOST answers with the status 429 Too Many Requests, after 3 attempts; "
        "set url.requests_per_minute to what the service allows"
    )
    assert service.num_requests("XYZ") == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_of_the_server_is_tried_again_with_growing_pauses(
    service: WebService, tmp_path: Path, status: int
) -> None:
    service.replies["AAPL"] = [Reply(status=status), Reply(status=status), Reply(body=CSV.encode())]
    pacer = RequestPacer(RequestPatience(first_pause=0.1))
    began = time.monotonic()
    assert closes(fetch(service, tmp_path, pacer=pacer)) == CLOSES
    assert 0.3 <= time.monotonic() - began < 2.0, "0.1 s and 0.2 s"


def test_a_web_page_is_no_answer(service: WebService, tmp_path: Path) -> None:
    for reply in (
        Reply(body=PAGE),
        Reply(body=b"please sign in", headers={"Content-Type": "text/html; charset=utf-8"}),
    ):
        assert failure(service, tmp_path, reply) == (
            "the answer of HOST for XYZ is a web page instead of CSV; "
            "compare [url] with the service's documentation, the key included"
        )


def test_a_truncated_body_is_tried_again_and_never_taken_for_whole(service: WebService, tmp_path: Path) -> None:
    cut = Reply(body=CSV.encode()[:-20], missing_bytes=20)
    message = failure(service, tmp_path, cut)
    assert message.startswith("XYZ: HOST broke off in the middle of its answer (")
    assert message.endswith("), after 3 attempts; try again later")
    service.replies["XYZ"] = [cut, Reply(body=CSV.encode())]
    assert closes(fetch(service, tmp_path, ["XYZ"]), "XYZ") == CLOSES


def test_a_text_that_ends_in_the_middle_of_a_line_is_refused(service: WebService, tmp_path: Path) -> None:
    message = failure(service, tmp_path, Reply(body=CSV.encode()[:-20]))
    assert "line 6 ends after" in message
    assert message.endswith("the file seems truncated; compare [url] with the service's documentation")


@pytest.mark.parametrize(
    "reply", [Reply(body=CSV.encode(), wait_seconds=3), Reply(body=CSV.encode(), drip_seconds=0.1)]
)
def test_a_slow_answer_is_given_up_after_the_time_limit(service: WebService, tmp_path: Path, reply: Reply) -> None:
    began = time.monotonic()
    message = failure(service, tmp_path, reply, timeout_seconds=0.5, num_attempts=1)
    assert message == (
        "XYZ: HOST has not answered completely within 0.5 s; try again later, or raise url.timeout_seconds"
    )
    assert time.monotonic() - began < 2.5


def test_a_service_that_does_not_answer_is_not_asked_for_every_ticker(tmp_path: Path) -> None:
    with serving() as gone:
        address, host = gone.url, gone.host
    delivery = fetch(address, tmp_path, [f"T{n}" for n in range(30)], requests_in_flight=1)
    messages = [str(error).replace(host, "HOST") for error in delivery.failures.values()]
    assert messages[0] == "T0: HOST cannot be reached (Connection refused), after 3 attempts; try again later"
    assert messages[1:] == [
        f"T{n}: not requested, since HOST cannot be reached (Connection refused); try again later" for n in range(1, 30)
    ]


def test_an_empty_answer_is_reported(service: WebService, tmp_path: Path) -> None:
    assert failure(service, tmp_path, Reply(body=b" \n")).startswith("the answer of HOST for XYZ is empty; ")
    assert failure(service, tmp_path, Reply(status=204)).startswith(
        "XYZ: HOST answers with the status 204 No Content; "
    )
    header = CSV.splitlines(keepends=True)[0].encode()
    assert failure(service, tmp_path, Reply(body=header)).startswith("the answer of HOST for XYZ has no bars; ")


def test_wrong_columns_are_reported_with_the_header(service: WebService, tmp_path: Path) -> None:
    assert failure(service, tmp_path, Reply(body=b"Exceeded the daily hits limit")) == (
        "the answer of HOST for XYZ, line 1 names no columns of bars: 'Exceeded the daily hits limit'; "
        "compare [url] with the service's documentation"
    )
    assert failure(service, tmp_path, Reply(body=b"Date,Open,High,Low,Close\n2026-11-20,1,1,1,1\n")) == (
        "the answer of HOST for XYZ, line 1 has no column for volume; compare [url] with the service's documentation"
    )


def test_a_field_that_is_no_number_is_named_with_its_line(service: WebService, tmp_path: Path) -> None:
    assert failure(service, tmp_path, Reply(body=CSV.replace("99.25,1002", "oops,1002").encode())) == (
        "the answer of HOST for XYZ, line 4 has no readable close: 'oops'; "
        "compare [url] with the service's documentation"
    )


@pytest.mark.parametrize(
    ("records", "body", "message"),
    [
        (
            "results",
            b'{"Error Message": "Invalid API call"}',
            """the answer of HOST for XYZ has no 'results': {"Error Message": "Invalid API call"}; """
            "compare [url] with the service's documentation",
        ),
        (
            None,
            b'{"Information": "25 requests per day"}',
            """the answer of HOST for XYZ has no list of bars at its top: {"Information": "25 requests per day"}; """
            "name its place in url.records",
        ),
        (
            "results",
            b'{"status": "OK", "results": []}',
            """the answer of HOST for XYZ has no bars: {"status": "OK", "results": []}; """
            "try again later, or list it under [retired] if it was delisted",
        ),
        (
            "results",
            b'{"results": [{"t": 1',
            """the answer of HOST for XYZ is not JSON: {"results": [{"t": 1; """
            "compare [url] with the service's documentation",
        ),
        (
            None,
            b'[{"date": "2026-11-20", "price": 1}]',
            "the answer of HOST for XYZ has no column for open, high, low, volume; "
            "compare [url] with the service's documentation",
        ),
    ],
)
def test_a_json_answer_without_bars_is_shown(
    service: WebService, tmp_path: Path, records: str | None, body: bytes, message: str
) -> None:
    service.replies["XYZ"] = Reply(body=body)
    (error,) = fetch(service, tmp_path, ["XYZ"], format="json", records=records).failures.values()
    assert str(error).replace(service.host, "HOST") == message


def test_an_error_object_instead_of_csv_is_shown_without_the_key(service: WebService, tmp_path: Path) -> None:
    said = f'{{"Information": "We have detected your API key as {KEY} and the daily limit is 25"}}'.encode()
    message = failure(service, tmp_path, Reply(body=said), query=f"?apikey={{env:{VARIABLE}}}")
    assert "is JSON instead of CSV: {" in message
    assert "API key as *** and the daily limit" in message


def test_a_key_stands_in_no_message_and_no_log(
    service: WebService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")
    query = f"?apikey={{env:{VARIABLE}}}"
    assert closes(fetch(service, tmp_path, query=query, headers={"Authorization": VARIABLE})) == CLOSES
    request = service.received[0]
    assert request.path == "/AAPL?apikey=k3y%2Fthat%2Bnobody%26may%3Dsee"
    assert request.headers["authorization"] == KEY
    with serving() as gone:
        address = gone.url
    (error,) = fetch(address, tmp_path, query=query, num_attempts=2).failures.values()
    logged = caplog.text
    assert "GET /AAPL?apikey=***" in logged
    for text in (logged, str(error), repr(error), repr(error.__context__), repr(source_of(service, tmp_path)._service)):
        assert KEY not in text
        assert "k3y%2Fthat" not in text
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in stored
    assert b"k3y%2Fthat" not in stored


def test_a_redirect_on_the_same_host_is_followed_with_the_headers(service: WebService, tmp_path: Path) -> None:
    service.replies["XYZ"] = Reply(status=302, headers={"Location": "/AAPL"})
    assert closes(fetch(service, tmp_path, ["XYZ"], headers={"X-Key": VARIABLE}), "XYZ") == CLOSES
    assert [request.headers["x-key"] for request in service.received] == [KEY, KEY]


def test_a_redirect_to_another_host_is_followed_without_the_headers(service: WebService, tmp_path: Path) -> None:
    with serving() as other:
        other.replies["AAPL"] = Reply(body=CSV.encode())
        service.replies["AAPL"] = Reply(status=307, headers={"Location": f"{other.url}/AAPL"})
        assert closes(fetch(service, tmp_path, headers={"X-Key": VARIABLE})) == CLOSES
        assert "x-key" in service.received[0].headers
        assert "x-key" not in other.received[0].headers


def test_a_redirect_that_would_show_the_key_to_another_host_is_refused(service: WebService, tmp_path: Path) -> None:
    with serving() as other:
        service.replies["XYZ"] = lambda request: Reply(status=302, headers={"Location": f"{other.url}{request.path}"})
        query = f"?apikey={{env:{VARIABLE}}}"
        (error,) = fetch(service, tmp_path, ["XYZ"], query=query).failures.values()
        assert str(error) == (
            f"XYZ: {service.host} redirects to {other.url} with the key in the address, which is not followed; "
            "write that host into url.url if the service documents it"
        )
        assert other.received == []


def test_redirects_without_end_are_given_up(service: WebService, tmp_path: Path) -> None:
    message = failure(service, tmp_path, Reply(status=302, headers={"Location": "/XYZ"}))
    assert message == "XYZ: HOST redirects more than 5 times; correct url.url"
    assert service.num_requests("XYZ") == 6


def test_a_trusted_certificate_is_accepted_and_a_redirect_to_http_refused(
    service: WebService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(certificate) as safe:
        safe.replies = {
            "AAPL": Reply(body=CSV.encode()),
            "XYZ": Reply(status=301, headers={"Location": f"{service.url}/AAPL"}),
        }
        delivery = fetch(safe, tmp_path, ["AAPL", "XYZ"], headers={"X-Key": VARIABLE})
        assert closes(delivery) == CLOSES
        assert str(delivery.failures["XYZ"]) == (
            f"XYZ: {safe.host} redirects from https to {service.url}, which is not followed; "
            "write the https address that the service documents into url.url"
        )
    assert service.received == []


def test_a_certificate_that_is_not_trusted_is_refused_before_the_key_is_sent(tmp_path: Path) -> None:
    with serving(make_certificate(tmp_path)) as unknown:
        (error,) = fetch(unknown, tmp_path, headers={"X-Key": VARIABLE}).failures.values()
        assert str(error).startswith(f"AAPL: {unknown.host} has a certificate that is not trusted (self")
        assert str(error).endswith(
            "; correct the host in url.url, or name the authority's certificate in REQUESTS_CA_BUNDLE"
        )
        assert unknown.received == []


def test_a_certificate_of_another_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path, "prices.example.org")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(certificate) as other:
        (error,) = fetch(other, tmp_path).failures.values()
        assert "has a certificate that is not trusted (IP address mismatch" in str(error)
        assert other.received == []
