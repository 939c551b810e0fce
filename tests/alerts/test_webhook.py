"""Alerts over a real socket: a receiver on the loopback takes them, refuses them, or never answers."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ldtm_lib.alerts.configured import channels
from ldtm_lib.alerts.log_lines import LogLines
from ldtm_lib.alerts.protocol import Alert, send
from ldtm_lib.alerts.webhook import Webhook
from ldtm_lib.errors import AlertNotDelivered, ConfigurationError
from tests.alerts.receiver import SECRET, Receiver, listening

ALERT = Alert(
    kind="gate",
    severity="warning",
    title="Gate of 2026-11-20: 1 promoted, 1 refused",
    lines=("AAPL v1.2026-11-20 is active", "MSFT stays candidate: next-day direction right in 113 of 222 forecasts"),
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as server:
        yield server


def test_a_receiver_gets_the_whole_alert_as_json(receiver: Receiver) -> None:
    [hook] = channels({"LDTM_ALERT_WEBHOOK": receiver.url})
    assert send(ALERT, [hook]) == []
    [(path, content_type, body)] = receiver.taken
    assert (path, content_type) == (f"/services/{SECRET}", "application/json")
    assert body == {
        "kind": "gate",
        "severity": "warning",
        "title": ALERT.title,
        "lines": list(ALERT.lines),
        "text": "\n".join([ALERT.title, *ALERT.lines]),
    }


def test_without_an_address_there_is_no_channel() -> None:
    assert channels({}) == []
    assert channels({"LDTM_ALERT_WEBHOOK": ""}) == []


@pytest.mark.parametrize(
    "url", ["hooks.example.org/x", "ftp://example.org/x", "https:///", "http://a b/x", "http://h:x/"]
)
def test_what_is_no_web_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LDTM_ALERT_WEBHOOK is not a web address") as refused:
        channels({"LDTM_ALERT_WEBHOOK": f"{url}{SECRET}"})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("answer", [404, 500])
def test_a_refusal_is_told_with_its_status_and_without_the_secret(receiver: Receiver, answer: int) -> None:
    receiver.answer = answer
    hook = Webhook(receiver.url, source="test")
    with pytest.raises(AlertNotDelivered) as refused:
        hook.send(ALERT)
    assert str(refused.value).startswith(f"webhook http://127.0.0.1:{receiver.server_port} answered {answer} ")
    assert SECRET not in str(refused.value)
    assert SECRET not in hook.name


def test_nobody_listening_is_told_and_the_other_channels_go_on(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dead = Webhook(f"http://127.0.0.1:{port}/{SECRET}", source="test")
    alive = Webhook(receiver.url, source="test")
    with caplog.at_level(logging.INFO):
        [failure] = send(ALERT, [dead, LogLines(logging.getLogger("alerts")), alive])
    assert failure.channel == f"webhook http://127.0.0.1:{port}"
    assert failure.reason == f"webhook http://127.0.0.1:{port} did not take the alert: Connection refused"
    assert len(receiver.taken) == 1
    [entry] = caplog.records
    assert (entry.levelno, entry.getMessage()) == (logging.WARNING, ALERT.text)


def test_a_receiver_that_never_answers_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}", source="test", timeout_seconds=0.2)
        with pytest.raises(AlertNotDelivered, match="it did not answer in time"):
            hook.send(ALERT)


def test_a_redirect_is_no_delivery_and_is_not_followed(receiver: Receiver) -> None:
    receiver.answer, receiver.location = 302, f"{receiver.url}/login"
    with pytest.raises(AlertNotDelivered, match="answered 302"):
        Webhook(receiver.url, source="test").send(ALERT)
    assert len(receiver.taken) == 1


def test_a_body_that_never_ends_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(100):
                    connection.sendall(b".")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        started = time.monotonic()
        Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}", source="test").send(ALERT)
        assert time.monotonic() - started < 2, "it drips for five seconds"
        thread.join()


def test_an_answer_that_is_no_http_is_no_delivery() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"what?\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        hook = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}", source="test")
        with pytest.raises(AlertNotDelivered, match="did not take the alert: BadStatusLine"):
            hook.send(ALERT)
        thread.join()
