"""`ldtm settings`: every setting with its value, default and description."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ldtm_lib.settings import Settings, load_settings
from ldtm_lib.settings.listing import Setting, listed, section_description

WIDTH = 80


def settings_as_dicts(config: Path) -> list[dict[str, Any]]:
    """The settings of a file, for `--json`."""
    return [asdict(setting) for setting in listed(load_settings(config))]


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration file."""
    return Settings.model_json_schema()


def settings_text(config: Path) -> str:
    """The settings of a file in lines of at most 80 columns; an asterisk marks what differs from the default."""
    settings = load_settings(config)
    lines = [f"{settings.path}", "* differs from the default", ""]
    section = ""
    for setting in listed(settings):
        if setting.section != section:
            section = setting.section
            lines += ["", *textwrap.wrap(f"[{section}]  {section_description(section)}", WIDTH), ""]
        lines += _lines(setting)
    return "\n".join(lines)


def _lines(setting: Setting) -> list[str]:
    mark = "*" if setting.is_changed else " "
    value = textwrap.wrap(
        f"{mark} {setting.name} = {_toml(setting.value)}", WIDTH, subsequent_indent="      ", break_long_words=True
    )
    default = [f"      default: {_toml(setting.default)}"] if setting.is_changed else []
    text = textwrap.wrap(setting.description, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return [*value, *(line[:WIDTH] for line in default), *text]


def _toml(value: Any) -> str:
    """A value as TOML spells it, as far as one line can; `(none)` where it is absent."""
    return "(none)" if value is None else json.dumps(value)
