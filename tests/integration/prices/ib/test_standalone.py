"""The peer as a process of its own does what the files beside it say."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.prices.ib.asking import FIRST, LAST, WALKS, fetch, source_of
from tests.repository import REPOSITORY


def test_outages_late_bars_and_the_clock_are_switched_from_outside(tmp_path: Path) -> None:
    bars, outage, late, clock = (tmp_path / name for name in ("bars.parquet", "outage", "late", "clock"))
    WALKS.write_parquet(bars)
    clock.write_text("2026-11-19T23:15:00+00:00")
    options = {"--bars": bars, "--outage": outage, "--late": late, "--clock": clock, "--identical-seconds": 0}
    command = [
        sys.executable,
        "-m",
        "tests.integration.prices.ib.standalone",
        *(str(w) for pair in options.items() for w in pair),
    ]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            assert newest(port) == FIRST.replace(day=19)
            clock.write_text("2026-11-20T23:15:00+00:00")
            assert newest(port) == LAST
            late.write_text("AAPL\n")
            assert eventually(lambda: newest(port) == FIRST.replace(day=19))
            outage.touch()
            assert eventually(lambda: "cannot reach" in str(fetch(port, ["AAPL"]).failures.get("AAPL")))
            outage.unlink()
            late.unlink()
            assert eventually(lambda: fetch(port, ["AAPL"]).failures == {})
            assert eventually(lambda: newest(port) == LAST)
        finally:
            process.terminate()
    assert process.returncode == 0


def newest(port: int) -> object:
    """The newest session that the peer has a bar of."""
    return source_of(port).fetch(["AAPL"], FIRST, LAST).bars["session"].max()


def eventually(claim: Callable[[], bool]) -> bool:
    """Whether a claim comes true within ten seconds."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        if claim():
            return True
        time.sleep(0.05)
    return False
