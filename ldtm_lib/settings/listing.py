"""Every setting of a configuration with its value, default and description."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import PydanticUndefined, to_jsonable_python

from ldtm_lib.settings.file import Settings
from ldtm_lib.settings.refusal import owner_fields
from ldtm_lib.settings.section import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key of the configuration file."""

    section: str
    """Empty for a key at the top of the file."""
    name: str
    value: Any
    """As JSON holds it; a URL without user and password."""
    default: Any
    """None where there is none, or where the default is to be absent."""
    is_changed: bool
    description: str


def listed(settings: Settings) -> list[Setting]:
    """List the settings in the order of the file's schema, the keys at the top first."""
    top = [_setting("", settings, name) for name in owner_fields(Settings) if not _is_section(settings, name)]
    below = {name: getattr(settings, name) for name in owner_fields(Settings) if _is_section(settings, name)}
    return top + [_setting(section, owner, name) for section, owner in below.items() for name in _names(owner)]


def section_description(section: str) -> str:
    """The description of a section of the file."""
    model = Settings.model_fields[section].annotation
    return " ".join(str(model.__doc__).split())


def _names(owner: Section) -> list[str]:
    return list(owner_fields(type(owner)))


def _is_section(settings: Settings, name: str) -> bool:
    return isinstance(getattr(settings, name), Section)


def _setting(section: str, owner: Section, name: str) -> Setting:
    field = type(owner).model_fields[name]
    default = field.get_default(call_default_factory=True, validated_data={})
    has_default = default is not PydanticUndefined
    return Setting(
        section=section,
        name=name,
        value=_without_password(to_jsonable_python(getattr(owner, name))),
        default=to_jsonable_python(default) if has_default else None,
        is_changed=has_default and getattr(owner, name) != default,
        description=" ".join((field.description or "").split()),
    )


def _without_password(value: Any) -> Any:
    """A URL without its user and password; any other value as it is."""
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
