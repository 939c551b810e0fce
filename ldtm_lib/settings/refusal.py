"""Messages in one line about what is wrong with a configuration file."""

from collections.abc import Mapping
from datetime import date
from typing import Any, get_args

from annotated_types import Gt, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "date_type": "a date such as 2026-03-02",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
_TABLES = {
    "retired": "[retired] must be a table such as XYZ = 2026-03-02",
    "contracts": "[contracts] must hold a table per ticker, such as [contracts.META]",
    "symbols": '[symbols] must be a table such as "BRK.B" = "brk-b.us"',
    "url.headers": 'url.headers must be a table such as { Authorization = "LDTM_PRICES_TOKEN" }',
    "url.columns": 'url.columns must be a table such as { close = "c" }',
}
_SECRET_PLACES = (("url", "url"), ("url", "headers"))
"""Settings whose value is not shown: somebody may have written a key there."""
_REMOVED = {
    "architecture.num_inputs": "every network has the same inputs",
    "architecture.num_horizons": "every network has the same horizons",
    "automation.catch_up_sessions": "gaps are searched for in the last 30 sessions and since the start of an outage",
    "automation.longest_retry_minutes": "it is called `automation.max_retry_minutes`",
    "automation.on": "it is called `automation.enabled`",
    "automation.retrained_within_days": "it is called `automation.max_training_age_days`",
    "database.schema": "it is called `database.ldtm_schema`",
    "leakage": "every training and daily run checks samples of a fixed size",
    "pages": "it is called `ui`",
    "registry.degraded": "it is called `registry.degradation_policy`",
}
"""Settings of earlier versions, with the reason for their removal or their new name."""


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """One problem that pydantic found in the contents of a file, an unknown setting first: key, value, what is allowed.

    Values of unknown settings are not shown: they may be secrets. `model` describes the file.
    """
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    kind, loc, value, context = first["type"], first["loc"], first["input"], first.get("ctx", {})
    key = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return unknown_setting(model, loc)
    if loc[:1] == ("tickers",):
        if len(loc) == 1:
            return '`tickers` must be a list of names such as ["AAPL", "MSFT"]'
        return f"{_shown(value)} cannot be a ticker; use letters, digits, '.', '-', '_', '^', '/' and '='"
    if loc[:2] in _SECRET_PLACES and kind != "dict_type":
        return f"{key}: {context['error'] if kind == 'value_error' else 'it must ' + _requirement(model, first)}"
    if kind == "dict_type":
        return _TABLES[key]
    if kind == "model_type":
        return f"`{key}` must be a table, [{key}]"
    if kind == "value_error":
        reason = str(context["error"])
        return reason if isinstance(value, (Mapping, BaseModel)) else f"{key} is {_shown(value)}; {reason}"
    return f"{key} is {_shown(value)}; it must {_requirement(model, first)}"


def _requirement(model: type[BaseModel], problem: Any) -> str:
    """Requirement that a value of the wrong type or out of its range must meet."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _TYPES:
        return f"be {_TYPES[kind]}"
    if kind == "literal_error":
        return f"be one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind not in _BOUNDS:
        return f"be valid: {problem['msg']}"
    section, name = _model_at(model, problem["loc"][:-1]), problem["loc"][-1]
    above = [limit.gt for limit in section.model_fields[name].metadata if isinstance(limit, Gt)]
    below = [limit.lt for limit in section.model_fields[name].metadata if isinstance(limit, Lt)]
    if above and below:
        return f"be between {above[0]} and {below[0]}"
    bound, words = _BOUNDS[kind]
    return f"be {words} {context[bound]:g}"


def unknown_setting(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """The message about a key that is not a setting, without its value: its name, and what to write instead."""
    key = ".".join(str(part) for part in loc)
    if key in _REMOVED:
        return f"unknown setting `{key}`; {_REMOVED[key]}"
    known = ", ".join(sorted(owner_fields(_model_at(model, loc[:-1]))))
    return f"unknown setting `{key}`; known are {known}"


def owner_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section, or of the file, that the owner may set."""
    return {name: field for name, field in model.model_fields.items() if not field.exclude}


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the table at a path; the keys of a mapping, such as tickers, lead to the model of its values."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is not None:
            types = (field.annotation, *get_args(field.annotation))
            model = next((one for one in types if isinstance(one, type) and issubclass(one, BaseModel)), model)
    return model


def _shown(value: object) -> str:
    """A value as TOML spells it, for truth values and dates; the repr of any other value."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else repr(value)
