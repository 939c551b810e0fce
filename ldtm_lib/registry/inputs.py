"""Inputs that a training depends on. Equal keys give equal networks, so a key on record need not be trained again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from ldtm_lib.features.window_set import WindowSet
from ldtm_lib.settings import Settings, fingerprint


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class InputKey:
    """One training's ticker, last session, and fingerprints of its architecture, recipe and data."""

    ticker: str
    trained_on: date
    """The last session whose bars the training could see."""
    architecture_sha256: str
    recipe_sha256: str
    data_sha256: str


def input_key(windows: WindowSet, settings: Settings, trained_on: date) -> InputKey:
    """The key of a ticker's training on windows that are known by `trained_on`."""
    return InputKey(
        ticker=windows.ticker,
        trained_on=trained_on,
        architecture_sha256=settings.architecture.fingerprint(),
        recipe_sha256=recipe_fingerprint(settings),
        data_sha256=windows.data_sha256(),
    )


def recipe_fingerprint(settings: Settings) -> str:
    """SHA-256 of the settings of training and of windows, as hexadecimal digits."""
    return fingerprint(settings.training, settings.window)


def key_columns(keys: Iterable[InputKey]) -> dict[str, Sequence[object]]:
    """Keys as the array parameters that the statements of the registry share."""
    listed = list(keys)
    return {
        "tickers": [key.ticker for key in listed],
        "trained_on": [key.trained_on for key in listed],
        "architectures": [key.architecture_sha256 for key in listed],
        "recipes": [key.recipe_sha256 for key in listed],
        "data": [key.data_sha256 for key in listed],
    }
