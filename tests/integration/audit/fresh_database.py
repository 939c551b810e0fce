"""A migrated database of its own for every example of a property, where a fixture would make one for all of them."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ldtm_lib.database.connection import Database
from tests.conftest import _create, _drop, _url_of

NUMBERS = itertools.count()


@contextmanager
def fresh_database(server_url: str, template: str) -> Iterator[Database]:
    """A copy of the template, dropped at the end."""
    name = f"ldtm_example_{os.getpid()}_{next(NUMBERS)}"
    _create(server_url, name, template)
    try:
        yield Database(url=_url_of(server_url, name), schema="ldtm")
    finally:
        _drop(server_url, name)
