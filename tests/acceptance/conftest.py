"""Installations that several tests of a module share."""

from collections.abc import Iterator

import pytest

from tests.acceptance.installation import Installation, installed


@pytest.fixture(scope="module")
def small() -> Iterator[Installation]:
    """The demo with networks that are trained for one epoch only."""
    with installed(max_epochs="1") as installation:
        yield installation
