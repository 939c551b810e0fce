"""Print docs/licences.md: the licence of every pinned package that is installed, by its own metadata."""

import re
import sys
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

LONGEST = 60
"""Characters of the field License; a longer one is the text of a licence, and the classifier is used instead."""
HEAD = """# Licences of dependencies

`make licences` writes this list from the metadata of the installed packages. Packages of `constraints.txt` that are not
installed on the machine that wrote it, such as those of the CUDA build of torch, are named at the end.

| package | licence |
|---|---|
"""


def licence_of(about: PackageMetadata) -> str:
    """The SPDX expression of a package, or else its field License in one line, or its classifiers."""
    field = " ".join((about.get("License") or "").split())
    classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    short = field if len(field) <= LONGEST else ""
    return about.get("License-Expression") or short or ", ".join(classified) or "not stated"


def document(constraints: Path) -> str:
    """The text of the list."""
    rows, absent = list[str](), list[str]()
    for name in re.findall(r"^([^=\s]+)==", constraints.read_text(), re.MULTILINE):
        try:
            rows.append(f"| {name} | {licence_of(metadata(name)).replace('|', '/')} |")
        except PackageNotFoundError:
            absent.append(name)
    return HEAD + "\n".join(rows) + f"\n\nNot installed: {', '.join(absent) or 'none'}.\n"


if __name__ == "__main__":
    print(document(Path(sys.argv[1])), end="")
