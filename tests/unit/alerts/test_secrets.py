"""What no message may hold, as it is written and as it is meant."""

import pytest

from ldtm_lib.alerts.secrets import without_secrets


def test_no_secret_of_the_environment_is_in_a_text() -> None:
    environ = {
        "LDTM_ALERT_URLS": "jsons://a.b/T0KEN12 tgram://T0KEN34",
        "LDTM_IB_ACCOUNT": "U1234567",
        "HOME": "/home/me",
    }
    text = "to jsons://a.b/T0KEN12, tgram://T0KEN34 as U1234567 at ftp://u:p@h/ in /home/me"
    assert without_secrets(text, environ) == "to ***, *** as *** at ftp://***@h/ in /home/me"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tgram://123456789:abcdefg_hijk/99 refused", "*** refused"),
        ("password pa/ss of jane.doe, or pa%2Fss", "password *** of ***, or ***"),
    ],
)
def test_an_address_before_a_comma_and_a_password_that_is_decoded_are_secrets_too(text: str, expected: str) -> None:
    environ = {
        "LDTM_ALERT_URLS": "tgram://123456789:abcdefg_hijk/99,json://h.example.org/x",
        "LDTM_DATABASE_URL": "postgresql://jane%2Edoe:pa%2Fss@h/db",
    }
    assert without_secrets(text, environ) == expected


SLACK, TELEGRAM = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", "tgram://123456789:abcdefg_hijk/99"


@pytest.mark.parametrize(
    ("environ", "text", "expected"),
    [
        (
            {"LDTM_DATABASE_URL": "postgresql:///db?host=h&user=me&password=s3cr%2Ftpw"},
            "no login with s3cr/tpw to db on h, sslmode=require",
            "no login with *** to db on h, sslmode=require",
        ),
        (
            {"LDTM_ALERT_URLS": SLACK},
            "POST https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ refused by services",
            "POST https://hooks.slack.com/services/***/***/*** refused by services",
        ),
        (
            {"LDTM_ALERT_URLS": f"{TELEGRAM} jsons://hooks.example.org:8443/webhooks/ldtm"},
            "POST https://api.telegram.org/bot123456789:abcdefg_hijk/sendMessage, hooks.example.org has no webhooks",
            "POST https://api.telegram.org/bot***:***/sendMessage, hooks.example.org has no webhooks",
        ),
        (
            {"LDTM_ALERT_URLS": "ntfys://ntfy.example.org/quietbrownfoxes"},
            "POST https://ntfy.example.org/quietbrownfoxes refused",
            "POST https://ntfy.example.org/*** refused",
        ),
        ({"POLYGON_API_KEY": "abcdefgh"}, "GET /bars?apiKey=abcdefgh", "GET /bars?apiKey=***"),
        (
            {"LDTM_DATABASE_URL": "postgresql://ldtm:ldtm@db/ldtm"},
            "schema ldtm lacks steps: `ldtm db` of postgresql://ldtm:ldtm@db/ldtm or ldtm:ldtm@db, password=ldtm",
            "schema ldtm lacks steps: `ldtm db` of *** or ldtm:***@db, password=***",
        ),
        (
            {"LDTM_DATABASE_URL": "postgresql://ldtm:ldtm@db/ldtm"},
            "of postgresql+psycopg2://ldtm:ldtm@db/ldtm_dagster",
            "of postgresql+psycopg2://***@db/ldtm_dagster",
        ),
        ({"SOME_URL": "http://127.0.0.1:3000"}, "see http://127.0.0.1:3000/runs/1", "see http://127.0.0.1:3000/runs/1"),
    ],
)
def test_what_a_value_keeps_secret_is_masked_wherever_it_is_repeated_and_words_that_are_none_are_not(
    environ: dict[str, str], text: str, expected: str
) -> None:
    assert without_secrets(text, environ) == expected
