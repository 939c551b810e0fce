"""Names and error texts with markup or mentions arrive as plain text, and notify nobody by name."""

import html
import re
from collections.abc import Iterator
from datetime import date

import pytest
from apprise.plugins.discord import NotifyDiscord
from apprise.plugins.slack import NotifySlack
from apprise.plugins.telegram import NotifyTelegram

from ldtm_lib.alerts.channels import Channel
from ldtm_lib.alerts.notifications import UnnotifiedAlert, notification_of
from tests.integration.alerts.mailbox import mailbox
from tests.integration.alerts.receiver import Receiver, listening

LINK = "http://127.0.0.1:3000/assets/daily_forecast?view=partitions"
HOSTILE = "<b>X</b> *a* _b_ ~c~ `d` ||e|| [x](http://evil) @everyone @room @owner <!channel> <@123> # h &amp;"
BODY = f"{LINK}\n\nERROR  ticker  {HOSTILE}"
INVISIBLE = "\u200b"
MENTION = re.compile(r"@\w")
TOKEN = "J" * 64


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with listening() as server:
        at = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(NotifyDiscord, "notify_url", f"{at}/discord")
        monkeypatch.setattr(NotifySlack, "webhook_url", f"{at}/slack")
        monkeypatch.setattr(NotifyTelegram, "notify_url", f"{at}/bot")
        yield server


def sent(receiver: Receiver, url: str) -> dict[str, object]:
    """What the service of an address got last."""
    Channel(url, source="an address").send(title="LDTM: 1 error", body=BODY, severity="error")
    return receiver.taken[-1][2]


def test_discord_shows_the_text_and_pings_nobody(receiver: Receiver) -> None:
    """Discord renders the content of every message as Markdown, and apprise does not escape it."""
    posted = sent(receiver, f"discord://4174296324183/{TOKEN}")
    _, link, _, row = str(posted["content"]).splitlines()
    assert link == LINK.replace("_", "%5F"), "the same address: a backslash would become part of it"
    assert not MENTION.search(row)
    assert not re.search(r"(?<!\\)[*_~`|\[\]<>#]", row), "each is escaped"
    assert row.replace("\\", "").replace(INVISIBLE, "") == f"ERROR  ticker  {HOSTILE}"
    assert "allow_mentions" not in posted


def test_discord_pings_nobody_in_a_card_either(receiver: Receiver) -> None:
    """With format=markdown apprise looks for mentions in the text and asks Discord to ping them."""
    posted = sent(receiver, f"discord://4174296324183/{TOKEN}?format=markdown")
    assert not {"allow_mentions", "content"} & posted.keys()
    assert not MENTION.search(str(posted["embeds"]))


def test_mattermost_shows_the_text_and_notifies_nobody(receiver: Receiver) -> None:
    posted = sent(receiver, f"mmost://127.0.0.1:{receiver.server_port}/3ccdd113474722377935511fc85d3dd4")
    row = str(posted["text"]).splitlines()[-1]
    assert not MENTION.search(row)
    assert row.replace("\\", "").replace(INVISIBLE, "") == f"ERROR  ticker  {HOSTILE}"
    assert "\\[x\\]" in row


@pytest.mark.parametrize("options", ["", "?blocks=yes"])
def test_slack_shows_the_text_and_notifies_nobody(receiver: Receiver, options: str) -> None:
    receiver.said = b"ok"
    posted = str(sent(receiver, f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/{options}"))
    assert html.escape("<b>X</b>", quote=False) in posted
    assert "&lt;!channel&gt;" in posted
    assert not re.search(r"<[!@]|mrkdwn'?: True|'type': 'mrkdwn'", posted)
    assert not MENTION.search(posted)


def test_telegram_shows_the_text_and_notifies_nobody(receiver: Receiver) -> None:
    posted = sent(receiver, "tgram://123456789:abcdefg_hijklmnop/12315544/")
    assert posted["parse_mode"] == "HTML"
    row = str(posted["text"]).splitlines()[-1]
    assert html.unescape(row).replace(INVISIBLE, "") == f"ERROR  ticker  {HOSTILE}"
    assert not re.search(r"<|@\w", row)


@pytest.mark.parametrize("options", ["", "?format=html"])
def test_matrix_shows_the_text_and_notifies_nobody(receiver: Receiver, options: str) -> None:
    receiver.said = b'{"access_token": "t", "room_id": "!a:127.0.0.1", "user_id": "@u:127.0.0.1", "event_id": "$1"}'
    Channel(f"matrix://user:token@127.0.0.1:{receiver.server_port}/!a:127.0.0.1{options}", source="it").send(
        title="LDTM: 1 error", body=BODY, severity="error"
    )
    (message,) = (body for path, _, body in receiver.taken if "/send/m.room.message/" in path)
    assert not MENTION.search(str(message["body"]))
    formatted = str(message.get("formatted_body", ""))
    assert ("formatted_body" in message) == bool(options)
    assert not re.search(r"<(?!/?(h1|br/)\b|br/)|@\w", formatted)


def test_a_mail_has_no_markup_of_a_text_in_its_html() -> None:
    with mailbox() as box:
        Channel(f"{box.url}&format=html", source="it").send(title="LDTM: 1 error", body=BODY, severity="error")
        [mail] = box.mails
    page = mail.get_body(("html",))
    assert page is not None
    content = page.get_content()
    assert not re.search(r"<(?!/?br\s*/?>)", content)
    assert "&lt;b&gt;X&lt;/b&gt;" in content


@pytest.mark.parametrize("kind", ["json", "ntfy"])
def test_a_service_without_markup_gets_the_text_unchanged(receiver: Receiver, kind: str) -> None:
    assert sent(receiver, f"{kind}://127.0.0.1:{receiver.server_port}/topic")["message"] == BODY


def test_an_alert_is_one_line_whatever_its_subject_and_summary_hold() -> None:
    hostile = "A\nERROR  forged\x1b[31m\u202e"
    alert = UnnotifiedAlert(
        alert_id=1,
        kind="ticker",
        severity="error",
        session=date(2026, 11, 20),
        subject=hostile,
        summary=hostile,
        link=None,
        is_resolved=False,
        age_seconds=0.0,
    )
    body = notification_of(date(2026, 11, 20), [alert], "http://127.0.0.1:3000").body
    assert body == "ERROR  ticker  A ERROR forged[31m  A ERROR forged[31m"
