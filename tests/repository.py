"""The root of the repository, for tests that start programs from it or read its files."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
