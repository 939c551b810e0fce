"""Every page draws an empty and a full record, with what to do where nothing is there; torch stays out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from ldtm_dashboard.reading import READER_VARIABLE, Reader
from tests.repository import REPOSITORY

PAGES = ("leaderboard", "tonight", "ticker", "models", "record", "operations")
REMEDIES = {
    "leaderboard": "`ldtm bootstrap` simulates past sessions",
    "tonight": "`ldtm bootstrap` loads bars",
    "ticker": "`ldtm bootstrap` loads bars",
    "models": "`ldtm bootstrap` or `ldtm train` trains and judges",
    "record": "`ldtm audit seal` makes one now",
    "operations": "`ldtm up` starts them",
}


def script(page: str) -> None:
    from importlib import import_module

    import_module(f"ldtm_dashboard.screens.{page}").page()


def shown(page: str) -> AppTest:
    test = AppTest.from_function(script, default_timeout=60, kwargs={"page": page})
    return test.run()


def use(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    monkeypatch.setenv(READER_VARIABLE, reader.project.database.url)
    monkeypatch.setenv("LDTM_CONFIG", str(reader.project.settings.path))


def words(test: AppTest) -> str:
    kinds = (test.info, test.markdown, test.caption, test.warning, test.success, test.error, test.header, test.text)
    return "\n".join(element.value for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_record_says_what_to_do(reader: Reader, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    use(reader, monkeypatch)
    test = shown(page)
    assert not test.exception
    assert REMEDIES[page] in words(test)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_a_full_record_is_drawn(large: Reader, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    use(large, monkeypatch)
    test = shown(page)
    assert not test.exception
    assert [header.value for header in test.header] or page == "models"
    assert "None" not in words(test)


def test_filters_of_the_leaderboard_change_what_is_counted(large: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    use(large, monkeypatch)
    test = shown("leaderboard")
    assert "of 18 tickers have a 95% interval entirely above 50%" in words(test)
    before = test.caption[0].value
    test.selectbox[1].select(90).run()
    assert test.caption[0].value != before
    test.selectbox[0].select("late").run()
    assert "No forecast has been filled yet (late, all versions)" in words(test)
    (table,) = shown("leaderboard").dataframe
    assert list(table.value.columns[:3]) == ["ticker", "rank", "ranks"]


def test_a_ticker_that_left_is_shown_with_its_history(large: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    use(large, monkeypatch)
    test = shown("ticker")
    assert "has not been measured here" in words(test)
    test.selectbox[0].select("T004").run()
    assert "T004 left the universe on 2026-01-02. Its history stays on record." in words(test)
    assert not test.exception


def test_no_page_imports_torch(large: Reader) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        READER_VARIABLE: large.project.database.url,
        "LDTM_CONFIG": str(large.project.settings.path),
    }
    program = Path(__file__).with_name("render_pages.py")
    done = subprocess.run(
        [sys.executable, str(program), *PAGES], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["6", "pages,", "torch:", "False"]
