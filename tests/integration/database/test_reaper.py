"""A test process that is killed leaves no server behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ldtm_assets.run_tags import running_process
from ldtm_lib.database import embedded
from tests.repository import REPOSITORY

pytestmark = pytest.mark.slow

PROGRAM = """
import time
from ldtm_lib.database import embedded
from tests.databases import server_home
with server_home() as home:
    embedded.start(home)
    print(home, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_test_process_leaves_no_postgresql_server(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    home = Path(process.stdout.readline().strip())
    postmaster = embedded.postmaster_pid(home / embedded.FOLDER)
    assert postmaster is not None
    os.kill(postmaster, 0)
    os.kill(process.pid, number)
    process.wait()
    deadline = time.monotonic() + 60
    while home.exists() or embedded.is_running(home):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    while running_process(postmaster) is not None:  # an ended process may wait for its parent to take notice
        assert time.monotonic() < deadline
        time.sleep(0.1)
