"""`ldtm alerts`: alerts on record, and the channels that accept a notification, shown without their addresses."""

import json
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldtm_cli.commands.alerts import Trial, print_alert, print_alerts, print_trials
from ldtm_cli.main import app
from ldtm_lib.alerts.alert import Alert, raise_alerts
from ldtm_lib.alerts.history import recorded_alerts
from ldtm_lib.database.connection import Connection, Database
from tests.integration.alerts.mailbox import mailbox
from tests.integration.alerts.receiver import SECRET, listening
from tests.integration.ldtm_cli.kept_outputs import MOMENT, compare_at_all_widths
from tests.integration.ldtm_cli.shell import run_ldtm

FAILED = (
    "ConnectionError: the web service of prices did not answer within 30 seconds, three times in a row; 97 of 103 "
    "tickers have no bar of 2026-11-20"
)


def run(urls: str, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["alerts", "test", *arguments], env={"LDTM_ALERT_URLS": urls, "COLUMNS": "200"})
    return done.exit_code, done.output


def test_every_channel_gets_a_test_notification_and_is_named_without_its_secret() -> None:
    with listening() as receiver, mailbox() as box:
        status, said = run(f"{receiver.url} {box.url}")
    assert status == 0
    mail = box.url.partition("?")[0]
    assert said.splitlines() == [
        f"{receiver.shown_as}  accepted the notification",
        f"{mail}  accepted the notification",
    ]
    assert receiver.messages[0][0] == box.mails[0]["Subject"] == "LDTM: test notification"


def test_a_channel_that_takes_nothing_stops_no_other_one_and_is_a_failure() -> None:
    with listening() as receiver:
        status, said = run(f"json://127.0.0.1:1/{SECRET} {receiver.url}", "--json")
    assert status == 1
    assert json.loads(said) == [
        {"channel": "json://127.0.0.1:1", "failure": "json://127.0.0.1:1 could not be reached"},
        {"channel": receiver.shown_as, "failure": None},
    ]
    assert len(receiver.taken) == 1


def test_an_address_that_is_none_is_a_failure_and_the_others_are_tried() -> None:
    with listening() as receiver:
        status, said = run(f"hooks/{SECRET} {receiver.url}")
    assert status == 1
    assert f"{receiver.shown_as}  accepted the notification\n" in said
    assert "LDTM_ALERT_URLS  address 1 of 2 in LDTM_ALERT_URLS is not an address" in said
    assert SECRET not in said
    assert len(receiver.taken) == 1


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ("", "LDTM_ALERT_URLS names no channel"),
        (f"hooks/{SECRET}", "address 1 of 1 in LDTM_ALERT_URLS is not an address"),
    ],
)
def test_without_a_channel_the_command_says_what_to_set_and_repeats_no_address(urls: str, message: str) -> None:
    status, said = run(urls)
    assert status == 2
    assert message in said
    assert SECRET not in said


def test_results_of_a_test_notification_are_printed() -> None:
    trials = [
        Trial(channel="mailtos://example.org", failure=None),
        Trial(channel="jsons://hooks.example.org", failure="jsons://hooks.example.org could not be reached"),
    ]
    compare_at_all_widths("alerts-test", lambda console: print_trials(console, trials), unwrapped="jsons:")


def test_recorded_alerts_are_listed_and_shown_by_their_key(
    tmp_path: Path, database: Database, conn: Connection
) -> None:
    (tmp_path / "universe.toml").write_text('tickers = ["AAPL"]\n')

    def ldtm(*words: str) -> tuple[int, str]:
        done = run_ldtm(tmp_path, database.url, "alerts", *words, COLUMNS="80")
        return done.returncode, done.stdout + done.stderr

    assert ldtm("list") == (0, "No alert is open, and none was resolved in the last seven days.\n")
    alert = Alert(
        key="ticker/2026-11-20/AAPL",
        kind="ticker",
        severity="error",
        session=date(2026, 11, 20),
        subject="AAPL",
        summary="no bar of 2026-11-20 in [data/bars]",
        link="/runs/1",
    )
    later = Alert(key="run/daily_job", kind="run", severity="warning", subject="daily_job", summary="failed: " + FAILED)
    raise_alerts(conn, [alert, later])
    conn.commit()
    alerts = recorded_alerts(conn)
    compare_at_all_widths("alerts-list-open", lambda console: print_alerts(console, alerts), masks=MOMENT)
    for name, recorded in zip(("alerts-show", "alerts-show-long"), alerts, strict=True):
        compare_at_all_widths(name, partial(print_alert, alert=recorded, ui_url="http://127.0.0.1:3000"), masks=MOMENT)
    status, listed = ldtm("list")
    assert status == 0
    assert "ticker/2026-11-20/AAPL" in listed
    assert "open" in listed
    assert max(map(len, listed.splitlines())) <= 80
    status, shown = ldtm("show", "ticker/2026-11-20/AAPL")
    assert status == 0
    for text in ("error", "session 2026-11-20", "no bar of 2026-11-20 in [data/bars]", "not yet", "/runs/1"):
        assert text in shown
    assert json.loads(ldtm("list", "--json")[1])[0]["is_open"] is True
    status, unknown = ldtm("show", "ticker:MSFT")
    assert status == 1
    assert "no alert has the key 'ticker:MSFT'" in unknown
