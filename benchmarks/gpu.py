"""Measure training on a GPU: agreement with the reference, kernels, epochs, memory, a retrain, another tenant.

Run on a machine with CUDA: .venv/bin/python benchmarks/gpu.py | tee gpu.txt  (at most 8 minutes; --quick takes five)

The exit status is 1 if a section fails, exceeds its time limit, or finds results that differ from the reference. The
windows are those of seeded random walks: they take as much work as real ones, but the forecasts are meaningless. The
benchmark needs torch, numpy and pydantic; a section that needs more is left out, with the reason. The retrain needs
PostgreSQL: the embedded one, or the server that LDTM_TEST_DATABASE_URL names.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sections import Section, print_by_line, run_section, run_sections


def remove_database(folder: Path) -> None:
    """Stop or clear the database of a retrain, however the retrain ended."""
    if (folder / "database").exists():
        from gpu_training import RETRAIN_SCHEMA
        from temporary_database import remove_database

        remove_database(folder, RETRAIN_SCHEMA)


SECTIONS = (
    Section(name="device", title="Device", limit_seconds=60, expected_seconds=8, essential=True),
    Section(
        name="sameness",
        title="Agreement of float16 with the float32 reference on the CPU: gradients, then trainings of five epochs",
        limit_seconds=60,
        expected_seconds=25,
    ),
    Section(
        name="kernels",
        title="Recurrence kernels of a step of 103 networks, median of 20 timings by CUDA events",
        limit_seconds=80,
        expected_seconds=40,
    ),
    Section(
        name="step",
        title="AdamW and gathering of windows of a step of 103 networks",
        limit_seconds=25,
        expected_seconds=12,
    ),
    Section(
        name="epochs",
        title="One epoch of 103 networks x 5,000 windows, float16: the fastest of several",
        limit_seconds=85,
        expected_seconds=65,
    ),
    Section(
        name="memory",
        title="Memory: the allocator's peak and the formula, MiB; seconds per epoch within that budget",
        limit_seconds=45,
        expected_seconds=35,
    ),
    Section(
        name="retrain",
        title="Retrain from database to registry, 103 tickers x 20 years, early stopping on; one fold instead of four",
        limit_seconds=80,
        expected_seconds=50,
        clean_up=remove_database,
    ),
    Section(
        name="neighbours",
        title="Step of another tenant (products of 4,096 x 4,096, float16) in ms: median and 99th percentile",
        limit_seconds=45,
        expected_seconds=35,
    ),
)
"""The limits add up to 8 minutes."""
MODULES = {
    "device": "gpu_device",
    "sameness": "gpu_training",
    "kernels": "gpu_kernels",
    "step": "gpu_step",
    "epochs": "gpu_training",
    "memory": "gpu_training",
    "retrain": "gpu_training",
    "neighbours": "gpu_neighbours",
}
SLOW = ("retrain", "neighbours")


def main() -> int:
    """Run the sections that the command line asks for; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help=f"leave out {' and '.join(SLOW)}")
    arguments.add_argument("--section", action="append", choices=[*MODULES], help="only this section; may be repeated")
    arguments.add_argument("--patience", type=float, default=1.0, help="multiplies all limits, for slower GPUs")
    arguments.add_argument("--rehearse", action="store_true", help=argparse.SUPPRESS)  # tiny sizes, on the CPU
    arguments.add_argument("--child", choices=[*MODULES], help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--process", choices=["alone", "tenant"], help=argparse.SUPPRESS)
    arguments.add_argument("--batch", type=int, default=64, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child or given.process:
        from gpu_sizes import FIGURES, REHEARSAL

        sizes = REHEARSAL if given.rehearse else FIGURES
        sizes.prepare()
        if given.child:
            section = getattr(importlib.import_module(MODULES[given.child]), given.child)
            return run_section(lambda: section(sizes, given.folder))
        processes = importlib.import_module("gpu_processes")
        if given.process == "alone":
            processes.alone(sizes, given.batch)
        else:
            processes.serve_tenant(sizes, sys.stdin)
        return 0

    def command(name: str, folder: Path) -> Sequence[str]:
        rehearsal = ["--rehearse"] if given.rehearse else []
        return [sys.executable, "-u", __file__, *rehearsal, "--child", name, "--folder", str(folder)]

    print_by_line()
    if given.rehearse:
        os.environ["OMP_NUM_THREADS"] = "1"  # threads of several tiny processes would wait for each other
    chosen = [
        section
        for section in SECTIONS
        if section.essential or (section.name in given.section if given.section else True)
        if not (given.quick and section.name in SLOW)
    ]
    return run_sections(chosen, command, patience=given.patience)


if __name__ == "__main__":
    sys.exit(main())
