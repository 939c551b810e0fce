"""A program that feeds files to the source `files` by coverage: `python -m tests.unit.prices.bar_file_fuzzer FOLDER`.

Further arguments are those of libFuzzer. The first byte of an input decides the kind of its file.
"""

import sys
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports] optional

with atheris.instrument_imports(include=["ldtm_lib.prices.sources"]):
    from tests.unit.prices.damaged_files import require_one_outcome

NAMES = ("AAPL.csv", "AAPL.csv.gz", "AAPL.parquet")


def main() -> None:
    """Fuzz until libFuzzer's own limits; the first failure ends the process."""
    folder = Path(sys.argv.pop(1))

    def one_input(data: bytes) -> None:
        if data:
            require_one_outcome(folder, {NAMES[data[0] % len(NAMES)]: data[1:]})

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
