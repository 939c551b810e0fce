"""`ldtm settings`: every setting with its value, default and description."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldtm_cli.invocation import AsJson, current_config, print_json
from ldtm_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from ldtm_lib.settings.listing import Setting

WIDTH = 80


def settings(
    sections: Annotated[
        list[str] | None, typer.Argument(metavar="SECTION", help="Sections such as training. Default: all.")
    ] = None,
    as_json: AsJson = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the configuration file.")] = False,
) -> None:
    """Print every setting with its value, default and description; `*` marks those that differ from the default."""
    from ldtm_lib.settings import Settings, load_settings
    from ldtm_lib.settings.listing import listed

    if schema:
        print_json(Settings.model_json_schema())
        return
    loaded = load_settings(current_config())
    listing = listed(loaded)
    known = dict.fromkeys(setting.section for setting in listing if setting.section)
    if unknown := [name for name in sections or () if name not in known]:
        raise ConfigurationError(
            f"{unknown[0]!r} is not a section of the configuration; the sections are {', '.join(known)}"
        )
    listing = [setting for setting in listing if not sections or setting.section in sections]
    print_json([asdict(each) for each in listing]) if as_json else print(settings_text(loaded.path, listing))


def settings_text(config: Path, listing: "list[Setting]") -> str:
    """The settings of a file in lines of at most 80 columns; an asterisk marks what differs from the default."""
    from ldtm_lib.settings.listing import section_description

    lines = [f"{config}", "* differs from the default", ""]
    section = ""
    for setting in listing:
        if setting.section != section:
            section = setting.section
            lines += ["", *textwrap.wrap(f"[{section}]  {section_description(section)}", WIDTH), ""]
        lines += _lines(setting)
    return "\n".join(lines)


def _lines(setting: "Setting") -> list[str]:
    mark = "*" if setting.is_changed else " "
    value = textwrap.wrap(
        f"{mark} {setting.name} = {_toml(setting.value)}", WIDTH, subsequent_indent="      ", break_long_words=True
    )
    default = [f"      default: {_toml(setting.default)}"] if setting.is_changed else []
    text = textwrap.wrap(setting.description, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return [*value, *(line[:WIDTH] for line in default), *text]


def _toml(value: Any) -> str:
    """Format a value as TOML on one line; `(none)` for an absent one."""
    return "(none)" if value is None else json.dumps(value)
