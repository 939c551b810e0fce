"""The base of every section of the configuration: an immutable, strictly validated pydantic model."""

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
"""A probability or a share, without the bounds 0 and 1 themselves."""


MAX_TIMEOUT_SECONDS = 600.0
"""A longer timeout would delay the daily run."""


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("fill it in, or remove the setting")
    return text


Text = Annotated[str, AfterValidator(_not_empty)]
"""A text that is not blank."""


class Section(BaseModel, frozen=True):
    """One table of the configuration file.

    A whole number is accepted where a float is expected and stored as a float, so that 1 and 1.0 have one
    fingerprint; no other type is converted. The docstring under a field is its description for the owner.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with the named fields changed, validated like a new object (`model_copy` does not validate).

        Raises pydantic.ValidationError.
        """
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**(kept | changes))


def canonical_json(*configs: Section) -> str:
    """Sections by their class names, field names and values as JSON; equal sections give equal text."""
    named = [{type(config).__name__: config.model_dump(mode="json")} for config in configs]
    return json.dumps(named, sort_keys=True)


def fingerprint(*configs: Section) -> str:
    """SHA-256 of sections by their class names, field names and values, as hexadecimal digits."""
    return hashlib.sha256(canonical_json(*configs).encode()).hexdigest()
