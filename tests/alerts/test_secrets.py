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
    ("text", "told"),
    [
        ("tgram://123456789:abcdefg_hijk/99 refused", "*** refused"),
        ("password pa/ss of jane.doe, or pa%2Fss", "password *** of ***, or ***"),
    ],
)
def test_an_address_before_a_comma_and_a_password_that_is_decoded_are_secrets_too(text: str, told: str) -> None:
    environ = {
        "LDTM_ALERT_URLS": "tgram://123456789:abcdefg_hijk/99,json://h.example.org/x",
        "LDTM_DATABASE_URL": "postgresql://jane%2Edoe:pa%2Fss@h/db",
    }
    assert without_secrets(text, environ) == told
