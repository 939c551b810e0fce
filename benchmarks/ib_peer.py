"""A peer that speaks TWS's protocol in a separate process, for benchmarks that fetch bars."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def ib_peer(*options: str) -> Iterator[int]:
    """Start a peer with options of `tests.integration.prices.ib.standalone`; yields its port."""
    command = [sys.executable, "-m", "tests.integration.prices.ib.standalone", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        try:
            yield port
        finally:
            process.terminate()
