"""`ldtm init`: writes the configuration and the folders of a new project."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from ldtm_cli.invocation import console, ticker_list
from ldtm_lib.atomic_io import write_whole
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.installation import FILES, ldtm_command, pip_command

TICKER_LIST = re.compile(r"^tickers = \[.*?^\]$", re.MULTILINE | re.DOTALL)
SOURCE_KIND = re.compile(r'^kind = "files"', re.MULTILINE)
BY_DATE = re.compile(r'^# by = "date"', re.MULTILINE)
FOLDERS = ("data/bars",)
"""Folders next to the configuration that its settings name."""

NEXT_STEPS = """
Next steps:
  1. Edit {config}: the tickers, and where their daily bars come from.
  2. {bars}
  3. {ldtm} doctor              shows what is missing and how to fix it.
  4. {ldtm} bootstrap           loads bars, trains, and simulates past sessions.
  5. {ldtm} up                  starts the Dagster UI, schedules and sensors.
     {ldtm} down                stops them.

To see the whole loop on bundled bars first: {ldtm} demo
"""
BARS = {
    "files": "Put one CSV or Parquet file of daily bars per ticker into {folder}.",
    "url": "Describe the web service under [url],\n     and export the variables with its keys.",
    "yfinance": "Install Yahoo's client: {install}",
    "ib": "Start TWS or IB Gateway with its API enabled;\n     set LDTM_IB_HOST and LDTM_IB_PORT if needed.",
}


def init(
    context: typer.Context,
    tickers: Annotated[str | None, typer.Option(help="Tickers such as AAPL,MSFT. Default: 103 large ones.")] = None,
    source: Annotated[
        Literal["files", "ib", "url", "yfinance"], typer.Option(help="Where daily bars come from.")
    ] = "files",
) -> None:
    """Write universe.toml and the folders that a project needs into the working folder, and show the next steps.

    Never overwrites anything.
    """
    config = context.obj or Path("universe.toml")
    for path in create_project(config, ticker_list(tickers), source):
        console.print(f"created {path}", highlight=False, markup=False, soft_wrap=True)
    console.print(next_steps(config, source), highlight=False, markup=False, soft_wrap=True, end="")


def create_project(config: Path, tickers: list[str] | None, source: str) -> list[Path]:
    """Write the configuration and the folders that it names; returns what was created.

    Raises ConfigurationError, and writes nothing, if the configuration exists or a ticker is invalid.
    """
    from ldtm_lib.settings.file import load_settings
    from ldtm_lib.settings.operation import MOST_TICKERS_UNASKED

    if config.exists():
        raise ConfigurationError(f"{config} exists; `ldtm init` overwrites nothing. Edit it, or choose another folder")
    text = (FILES / "universe.toml").read_text()
    if tickers is not None:
        listed = ", ".join(f'"{ticker}"' for ticker in tickers)
        text = TICKER_LIST.sub(lambda _: f"tickers = [{listed}]", text, count=1)
        if len(tickers) > MOST_TICKERS_UNASKED:
            text = BY_DATE.sub('by = "date"', text, count=1)
    text = SOURCE_KIND.sub(f'kind = "{source}"', text, count=1)
    config.parent.mkdir(parents=True, exist_ok=True)
    write_whole(config, text.encode())
    try:
        load_settings(config)
    except ConfigurationError:
        config.unlink()
        raise
    created = [config]
    for folder in (config.parent / name for name in FOLDERS):
        if not folder.exists():
            folder.mkdir(parents=True)
            created.append(folder)
    return created


def next_steps(config: Path, source: str) -> str:
    """Steps to take after `ldtm init`, in plain text."""
    from ldtm_lib.prices.sources.yahoo import RELEASE

    bars = BARS[source].format(folder=config.parent / FOLDERS[0], install=pip_command("install", RELEASE))
    return NEXT_STEPS.format(config=config, bars=bars, ldtm=ldtm_command())
