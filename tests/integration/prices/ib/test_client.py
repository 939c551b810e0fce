"""Which client of TWS is installed, where TWS is, and how `ldtm doctor` tells it."""

import time
from pathlib import Path

import pytest

from ldtm_cli.diagnosis import examine
from ldtm_cli.finding import Finding
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.prices.sources.ib.client import MODULES, client_module
from ldtm_lib.prices.sources.ib.connection import Address, address_of
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.settings import IbConfig, Settings, SourceConfig
from tests.integration.prices.ib.asking import AFTER_CLOSE, peer_of

CONFIG = """
tickers = ["AAPL"]
[source]
kind = "ib"
[ib]
connect_timeout_seconds = 0.5
"""
ACCOUNT = "U7654321"


@pytest.mark.parametrize("installed", MODULES)
def test_the_client_that_is_installed_is_used(installed: str) -> None:
    assert client_module(lambda name: object() if name == installed else None) == installed


def test_no_client_and_two_clients_are_refused_with_what_to_install() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"neither ib_insync nor ib_async is installed; run `.* -m pip install ib_insync==0.9.86`",
    ):
        client_module(lambda _: None)
    with pytest.raises(
        ConfigurationError, match=r"both installed, and each brings its own module `eventkit`.*pip uninstall"
    ):
        client_module(lambda _: object())


def test_the_environment_names_tws_and_the_account_stays_out_of_sight() -> None:
    assert address_of({}) == Address(host="127.0.0.1", port=7497, client_id=17, account=None)
    named = address_of(
        {
            "LDTM_IB_HOST": "gateway",
            "LDTM_IB_PORT": "4002",
            "LDTM_IB_CLIENT_ID": "0",
            "LDTM_IB_ACCOUNT": ACCOUNT,
        }
    )
    assert named == Address(host="gateway", port=4002, client_id=0, account=ACCOUNT)
    assert ACCOUNT not in f"{named} {named!r}"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LDTM_IB_PORT", "0", "LDTM_IB_PORT is '0'; it must be a whole number from 1 to 65535"),
        ("LDTM_IB_PORT", "65536", "LDTM_IB_PORT is '65536'; it must be"),
        ("LDTM_IB_PORT", "paper", "LDTM_IB_PORT is 'paper'; it must be"),
        ("LDTM_IB_CLIENT_ID", "-1", "LDTM_IB_CLIENT_ID is '-1'; it must be a whole number from 0 to 2147483647"),
    ],
)
def test_a_number_that_is_none_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        address_of({name: value})


def test_a_configuration_of_kind_ib_opens_the_source(tmp_path: Path) -> None:
    settings = Settings(
        path=tmp_path / "universe.toml",
        tickers=("AAPL",),
        source=SourceConfig(kind="ib"),
        ib=IbConfig(connect_timeout_seconds=2.0),
    )
    with peer_of() as peer:
        source = open_source(settings, {"LDTM_IB_PORT": str(peer.port)}, AFTER_CLOSE)
        assert source.name == "ib"
        assert source.coverage(["AAPL"]).lacking == ()
        assert source.fetch(["AAPL"], AFTER_CLOSE.date(), AFTER_CLOSE.date()).bars.height == 1


def test_the_doctor_logs_on_asks_for_nothing_and_shows_no_account(tmp_path: Path) -> None:
    with peer_of(accounts=ACCOUNT) as peer:
        found = _source(tmp_path, peer.port)
        assert (found.level, found.found) == (
            "ok",
            f"ib: ib_insync 0.9.86, TWS or Gateway at 127.0.0.1:{peer.port} accepts the logon of LDTM",
        )
        deadline = time.monotonic() + 10
        while peer.num_clients and time.monotonic() < deadline:  # it sees the end a moment later
            time.sleep(0.01)
        assert (peer.received, peer.num_clients) == (["71"], 0)


@pytest.mark.parametrize(
    ("problem", "words", "remedy"),
    [
        ("account", "is logged in without the account that LDTM_IB_ACCOUNT names", "correct one of them"),
        ("client id", "the client ids 17 to 21 of TWS", "end the other programs, or set LDTM_IB_CLIENT_ID to a free"),
        ("dialog", "did not complete the logon in 0.5 s", "check whether it is logged in, has the API enabled, or"),
        ("away", "cannot reach TWS or Gateway", "start it, and check LDTM_IB_HOST and LDTM_IB_PORT"),
    ],
)
def test_the_doctor_tells_why_tws_does_not_let_it_in(
    problem: str, words: str, remedy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with peer_of(accounts="DU1234567" if problem == "account" else ACCOUNT) as peer:
        if problem == "client id":
            peer.taken_client_ids = set(range(17, 22))
        peer.is_mute = problem == "dialog"
        if problem == "away":
            peer.start_outage()
        found = _source(tmp_path, peer.port)
    assert found.level == "fail"
    assert words in found.found
    assert found.remedy.startswith(remedy)
    assert "DU1234567" not in repr(found)
    assert capfd.readouterr().err == ""


def _source(folder: Path, port: int) -> Finding:
    config = folder / "universe.toml"
    config.write_text(CONFIG)
    findings = examine(config, {"LDTM_IB_PORT": str(port), "LDTM_IB_ACCOUNT": ACCOUNT})
    assert ACCOUNT not in repr(findings)
    return next(finding for finding in findings if finding.what == "source")
