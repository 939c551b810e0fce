"""Freed memory stays with the process within the block and goes back at its end."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ldtm_lib.models.cpu import keep_freed_memory
from tests.repository import REPOSITORY

MIB = 2**20
NUM_TENSORS, TENSOR_MIB = 40, 4


def page_faults_of_a_step() -> int:
    """How many pages the system had to bring for tensors that are made and freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(TENSOR_MIB * MIB // 4) for _ in range(NUM_TENSORS)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MIB


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see the process's memory")
def test_a_repeated_step_fetches_its_memory_once_and_the_end_gives_it_back() -> None:
    """In a process of its own: what earlier tests freed here would come and go as well."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def measure() -> None:
    """160 MiB are 40,960 pages; a third is for blocks that do not fit where the last ones lay."""
    before = resident_mib()
    with keep_freed_memory():
        page_faults_of_a_step()
        assert page_faults_of_a_step() < NUM_TENSORS * TENSOR_MIB * MIB // resource.getpagesize() // 3
        assert resident_mib() > before + 0.8 * NUM_TENSORS * TENSOR_MIB
    assert resident_mib() < before + 0.2 * NUM_TENSORS * TENSOR_MIB


if __name__ == "__main__":
    measure()
