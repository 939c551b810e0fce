"""The server of the dashboard: where it listens, what it refuses, and a message where its packages are missing."""

import importlib.util

import pytest

from ldtm_dashboard.screens.parts import plain
from ldtm_dashboard.server import require_extra, server_command
from ldtm_lib.errors import MissingExtra


def test_it_listens_on_loopback_tells_nobody_and_keeps_its_protections() -> None:
    words = server_command(8501)
    settings = dict(zip(words[5::2], words[6::2], strict=True))
    assert words[1:4] == ["-m", "ldtm_dashboard.process", "run"]
    assert settings["--server.address"] == "127.0.0.1"
    assert settings["--server.port"] == "8501"
    assert settings["--browser.gatherUsageStats"] == "false"
    assert settings["--server.enableXsrfProtection"] == "true"
    assert settings["--server.enableCORS"] == "true", "only then are websockets of other origins refused"
    assert settings["--server.headless"] == "true"
    assert int(settings["--server.maxUploadSize"]) <= 2
    assert settings["--client.showErrorDetails"] == "none", "an error shows no code and no value to a visitor"


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"needs streamlit and altair, of the extra `dashboard`; run .* 'ldtm\[dashboard\]'"
    ):
        require_extra()


def test_words_of_others_become_no_markup() -> None:
    assert plain("![x](http://a.b)") == r"\!\[x\]\(http\://a\.b\)"
    assert plain("no bar of AAPL, $5") == r"no bar of AAPL, \$5"
