"""The settings of every service in docs/data-sources.md load, and read an answer in the form that it documents."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.prices.sources.url.source import UrlSource
from ldtm_lib.prices.splits import Split
from ldtm_lib.settings import Settings, load_settings
from tests.integration.prices.url.fetching import EVENING, FIRST, LAST
from tests.integration.prices.url.web_service import KEY, Reply, WebService
from tests.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "data-sources.md").read_text()
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))
BLOCKS = {name: re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for name, text in SECTIONS.items()}
BARS = [(date(2026, 11, 19), 50.25, 51.5, 49.75, 51.0, 2_000_000.0), (date(2026, 11, 20), 51.0, 52.0, 50.5, 51.75, 1e6)]
"""What every answer says of the two sessions."""

ANSWERS = {path.stem: path for path in (Path(__file__).parent / "answers").iterdir()}
"""A short answer in the documented form of each service, by the name of its section with `_` for a blank."""


def key_of(name: str) -> str:
    return name.lower().replace(" ", "_")


def settings_of(name: str, folder: Path, service: WebService | None = None) -> Settings:
    """The settings of a section of the page; their host may be a service of the tests, which is asked without pause."""
    (block,) = BLOCKS[name]
    if service is not None:
        block = re.sub(r'"https://[^/]+/[^?"]*\?', f'"{service.url}/{{ticker}}?', block)
        block = re.sub(r"requests_per_minute = .*", "", block)
    (folder / "universe.toml").write_text(f'tickers = ["AAPL", "BRK.B"]\n{block}')
    return load_settings(folder / "universe.toml")


def test_every_service_of_the_page_has_settings_and_an_answer() -> None:
    assert len(BLOCKS) >= 5
    assert {key_of(name) for name in BLOCKS} == set(ANSWERS)
    rows = re.findall(r"^\| ([A-Z][\w .()]+?) \| yes", PAGE, re.MULTILINE)
    assert [row.partition(" (")[0] for row in rows] == list(BLOCKS)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_settings_of_a_service_keep_its_key_out_of_the_file(name: str, tmp_path: Path) -> None:
    settings = settings_of(name, tmp_path)
    assert len(settings.url.variables) == 1
    source = open_source(settings, {settings.url.variables[0]: KEY}, EVENING)
    assert isinstance(source, UrlSource)
    assert settings.url.template is not None
    assert settings.url.template.host.startswith("https://")
    filled = settings.url.template.fill(
        ticker="AAPL", first=FIRST, last=LAST, environ={settings.url.variables[0]: "K3Y"}
    )
    assert "{" not in filled
    assert "AAPL" in filled


@pytest.mark.parametrize("name", BLOCKS)
def test_the_documented_answer_of_a_service_is_read(name: str, service: WebService, tmp_path: Path) -> None:
    settings = settings_of(name, tmp_path, service)
    service.replies["AAPL"] = Reply(body=ANSWERS[key_of(name)].read_bytes())
    delivery = open_source(settings, {settings.url.variables[0]: KEY}, EVENING).fetch(["AAPL"], FIRST, LAST)
    assert delivery.failures == {}
    assert delivery.bars.rows() == [("AAPL", *bar) for bar in BARS]
    is_raw = settings.source.basis == "raw"
    assert delivery.splits == ((Split(ticker="AAPL", session=LAST, ratio=2.0),) if is_raw else ())


def test_the_settings_of_yahoo_load(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGE.rpartition("## Yahoo")[2], re.MULTILINE | re.DOTALL)
    assert tomllib.loads(block)["source"] == {"kind": "yfinance"}
    (tmp_path / "universe.toml").write_text(f'tickers = ["BRK.B"]\n{block}')
    assert load_settings(tmp_path / "universe.toml").symbols == {"BRK.B": "BRK-B"}
