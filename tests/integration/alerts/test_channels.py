"""Channels over real sockets: receivers on the loopback accept notifications, refuse them, or never answer."""

import contextlib
import html
import io
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from apprise.plugins.telegram import NotifyTelegram

from ldtm_lib.alerts import channels as channels_module
from ldtm_lib.alerts.channels import Channel, NoAnswer, valid_channels
from ldtm_lib.errors import ConfigurationError, NotificationNotDelivered
from tests.integration.alerts.mailbox import mailbox
from tests.integration.alerts.receiver import SECRET, Receiver, listening

TITLE = "LDTM 2026-11-20: 1 error, 1 warning"
BODY = "ERROR  check   snapshots/every_ticker_has_a_row  2 rows are missing\nWARN   ticker  AAPL    no bar, <b>yet</b>"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as server:
        yield server


def one(url: str) -> Channel:
    (channel,) = valid_channels({"LDTM_ALERT_URLS": url})
    return channel


def send(url: str) -> None:
    one(url).send(title=TITLE, body=BODY, severity="error")


def test_a_webhook_gets_title_text_and_severity_as_json(receiver: Receiver) -> None:
    send(receiver.url)
    [(path, content_type, body)] = receiver.taken
    assert (path.rstrip("/"), content_type) == (f"/services/{SECRET}", "application/json")
    assert (body["title"], body["message"], body["type"]) == (TITLE, BODY, "failure")


def test_a_mail_has_the_title_as_its_subject_and_the_table_in_its_columns() -> None:
    with mailbox() as box:
        send(box.url)
        [mail] = box.mails
    assert (mail["Subject"], mail["To"]) == (TITLE, "owner@example.org")
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().splitlines() == BODY.splitlines()


def test_a_server_of_ntfy_gets_its_topic_and_the_notification(receiver: Receiver) -> None:
    send(f"ntfy://127.0.0.1:{receiver.server_port}/{SECRET}")
    [(_, _, body)] = receiver.taken
    assert (body["topic"], body["title"], body["message"]) == (SECRET, TITLE, BODY)


def test_addresses_are_separated_by_white_space_or_commas_and_each_counts_once(receiver: Receiver) -> None:
    urls = f" {receiver.url},\n{receiver.url}\tmailto://localhost?to=a@example.org,b@example.org , ntfy://localhost/x "
    assert [channel.shown_as for channel in valid_channels({"LDTM_ALERT_URLS": urls})] == [
        *(receiver.shown_as, "mailto://localhost", "ntfy://***")
    ]
    assert valid_channels({}) == []
    assert valid_channels({"LDTM_ALERT_URLS": " \n"}) == []


@pytest.mark.parametrize(
    ("url", "shown_as"),
    [
        (f"jsons://me:{SECRET}@hooks.example.org:8443/{SECRET}", "jsons://hooks.example.org:8443"),
        (f"mailtos://me:{SECRET}@example.org?to={SECRET}@example.org", "mailtos://example.org"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "tgram://***"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", "slack://***"),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "https://discord.com"),
    ],
)
def test_of_an_address_only_scheme_and_host_are_shown_and_no_token_that_stands_where_a_host_would(
    url: str, shown_as: str
) -> None:
    channel = one(url)
    assert (channel.shown_as, repr(channel)) == (shown_as, f"Channel({shown_as})")
    assert url not in channel.key


@pytest.mark.parametrize("url", ["hooks.example.org/", "none://example.org/", "json://", "json://h:x/", "https://a.b/"])
def test_what_is_no_address_is_refused_by_its_place_without_being_repeated(receiver: Receiver, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^address 2 of 2 in LDTM_ALERT_URLS is not an address") as refused:
        valid_channels({"LDTM_ALERT_URLS": f"{receiver.url} {url}{SECRET if url != 'json://' else ''}"})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("answer", [302, 404, 503])
def test_a_refusal_is_reported_with_its_status_and_a_redirect_is_one(receiver: Receiver, answer: int) -> None:
    receiver.answer, receiver.location = answer, f"http://127.0.0.1:{receiver.server_port}/login"
    with pytest.raises(NotificationNotDelivered, match=f"^{receiver.shown_as} answered {answer}$") as refused:
        send(receiver.url)
    assert not isinstance(refused.value, NoAnswer)
    assert len(receiver.taken) == 1, "a redirect is not followed"


def test_an_unreachable_server_is_reported_as_such_and_the_notification_was_not_delivered() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"json://127.0.0.1:{port}/{SECRET}", f"mailto://127.0.0.1:{port}?to=a@b.org&from=c@d.org"):
        with pytest.raises(NotificationNotDelivered, match=r"^\w+://127.0.0.1:\d+ could not be reached$") as refused:
            send(url)
        assert not isinstance(refused.value, NoAnswer)


def test_a_receiver_that_never_answers_may_have_the_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "READ_SECONDS", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NoAnswer, match=r"^json://127.0.0.1:\d+ did not answer in time$"),
    ):
        send(f"json://127.0.0.1:{silent.getsockname()[1]}/{SECRET}?rto=60")


def test_a_receiver_that_drips_its_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "SEND_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(60):
                    connection.sendall(b".")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        started = time.monotonic()
        with pytest.raises(NoAnswer, match="did not answer in time"):
            send(f"json://127.0.0.1:{server.getsockname()[1]}/{SECRET}")
        assert time.monotonic() - started < 2, "it drips for three seconds"
        thread.join()


def test_a_mailbox_that_refuses_its_recipient_has_not_accepted_the_notification() -> None:
    with mailbox() as box:
        box.refuses = True
        with pytest.raises(
            NotificationNotDelivered,
            match=r"^mailto://127.0.0.1:\d+ reported a failure without a reason; .* may have been delivered$",
        ):
            send(box.url)
        assert box.mails == []


def test_no_log_has_an_address_at_any_log_level(
    receiver: Receiver, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logging.root, "level", logging.DEBUG)
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(written)])
    logging.getLogger("anything").debug("is written")
    send(receiver.url)
    receiver.answer = 500
    for url in (receiver.url, f"json://me:{SECRET}@127.0.0.1:1/{SECRET}", f"ntfy://127.0.0.1:1/{SECRET}"):
        with pytest.raises(NotificationNotDelivered) as refused:
            send(url)
        assert SECRET not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
    out, err = capfd.readouterr()
    assert written.getvalue() == "is written\n"
    assert SECRET not in out + err


def test_a_notification_that_is_too_long_for_its_channel_is_one_that_is_cut(receiver: Receiver) -> None:
    one(receiver.url).send(title=TITLE, body=f"{BODY}\n" * 1000, severity="warning")
    [(_, text)] = receiver.messages
    assert text.startswith(BODY)
    assert 30_000 < len(text) <= 32_768


LINK = "http://127.0.0.1:3000/assets/snapshots?view=partitions&partition=2026-11-20%7CAAPL"
LONG = "\n".join([f"{LINK}\n", *(f"WARN   ticker  T{n:03}  failed 4 times: no bar & <no> row" for n in range(103))])


@pytest.fixture
def telegram(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Channel:
    """A chat of Telegram, whose server is the receiver."""
    monkeypatch.setattr(NotifyTelegram, "notify_url", f"http://127.0.0.1:{receiver.server_port}/bot")
    return one("tgram://123456789:abcdefg_hijklmnop/12315544/")


def test_telegram_gets_all_that_it_has_room_for_and_how_many_more_lines_there_are(
    receiver: Receiver, telegram: Channel
) -> None:
    """It takes 4,096 characters with its title and as it is marked up, where `<` is four of them."""
    telegram.send(title=TITLE, body=LONG, severity="warning")
    [(_, _, posted)] = receiver.taken
    text = str(posted["text"])
    assert 3900 < len(text) <= 4096
    title, link, *rows, ending = text.splitlines()
    assert title == f"<b>{TITLE}</b>"
    assert link == html.escape(LINK)
    assert [row for row in rows if row] == [html.escape(row) for row in LONG.splitlines()[2 : 2 + len(rows)]]
    assert ending == f"and {103 - len(rows)} lines more, in the UI"


def test_telegram_gets_a_notification_that_fits_whole(receiver: Receiver, telegram: Channel) -> None:
    body = "\n".join(LONG.splitlines()[:50])
    telegram.send(title=TITLE, body=body, severity="warning")
    [(_, _, posted)] = receiver.taken
    assert html.unescape(str(posted["text"])).splitlines()[1:] == [line for line in body.splitlines() if line]


@pytest.mark.parametrize(("letter", "least"), [("a", 3700), ("\u00fc", 2000), ("\U0001f600", 2000)])
def test_a_server_of_ntfy_gets_less_than_the_bytes_that_it_refuses(receiver: Receiver, letter: str, least: int) -> None:
    body = f"{LINK}\n\n" + "\n".join([letter * 20] * 500)
    one(f"ntfy://127.0.0.1:{receiver.server_port}/topic").send(title=TITLE, body=body, severity="warning")
    [(_, message)] = receiver.messages
    assert least < len(message.encode()) <= 4000
    num_kept = message.count("\n")
    assert message.splitlines()[-1] == f"and {502 - num_kept} lines more, in the UI"


def test_the_short_form_of_a_notification_is_its_main_link_and_the_number_of_further_lines(receiver: Receiver) -> None:
    for body in (LONG, BODY):
        one(receiver.url).send(title=TITLE, body=body, severity="warning", is_short=True)
    assert receiver.messages == [
        (TITLE, f"{LINK}\nand 104 lines more, in the UI"),
        (TITLE, "and 2 lines more, in the UI"),
    ]


def test_discord_gets_whole_lines_and_how_many_more_there_are() -> None:
    """It takes 2,000 characters with its title."""
    channel = one(f"discord://4174296324183/{'J' * 64}")
    fitted = channel._fitting(LONG, TITLE)
    [sent] = channel._plugin._apply_overflow(fitted, title=TITLE)
    assert sent["body"].replace("\r", "") == fitted
    assert 1850 < len(fitted) + len(TITLE) <= 2000
    assert fitted.splitlines()[-1] == f"and {105 - fitted.count(chr(10))} lines more, in the UI"


@pytest.mark.parametrize(
    "body", ["IB at 127.0.0.1:4002: Connection refused", "http error=503 from the source", "SSLError, ConnectTimeout"]
)
def test_whether_a_notification_may_have_been_delivered_is_never_read_from_its_text(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"json://127.0.0.1:{silent.getsockname()[1]}/x"
        for seconds in ("READ_SECONDS", "SEND_SECONDS"):
            monkeypatch.setattr(channels_module, seconds, 0.3)
            # with GET the message stands in the address, which errors repeat
            for method in ("", "?method=get"):
                with pytest.raises(NoAnswer, match="did not answer in time"):
                    one(url + method).send(title=TITLE, body=body, severity="error")
    with pytest.raises(NotificationNotDelivered, match="could not be reached") as refused:
        one(f"{url}?method=get").send(title=TITLE, body="Read timed out", severity="error")
    assert not isinstance(refused.value, NoAnswer)
