"""Try a new GPU within a minute: the probe, an epoch of all networks, and one compared with the CPU reference.

Run on a machine with CUDA: .venv/bin/python benchmarks/gpu_smoke.py  (less than a minute on an H100)

The exit status is 1 if a step fails, or if a section exceeds its time limit. `gpu.py` measures the figures.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from sections import Section, print_by_line, run_section, run_sections

SECTIONS = (
    Section(name="device", title="Device", limit_seconds=60, expected_seconds=7, essential=True),
    Section(
        name="smoke",
        title="The probe, one epoch of 103 networks x 1,000 windows, one network compared with the reference",
        limit_seconds=45,
        expected_seconds=25,
    ),
)


def device(rehearse: bool) -> bool:
    """Print the device and the versions."""
    import gpu_device
    from gpu_sizes import FIGURES, REHEARSAL

    return gpu_device.device(REHEARSAL if rehearse else FIGURES, Path())


def smoke(rehearse: bool) -> bool:
    """Print each step of the library's trial as it ends; returns True if all of them passed."""
    from gpu_sizes import FIGURES, REHEARSAL

    from ldtm_lib.models.on_gpu.trial import TrialSizes, trial
    from ldtm_lib.settings import GpuConfig, TrainingConfig

    sizes = REHEARSAL if rehearse else FIGURES
    few = TrialSizes(num_networks=3, num_rows=64) if rehearse else None
    passed = True
    for step in trial(sizes.device, sizes.architecture, TrainingConfig(), GpuConfig(), sizes=few, half_precision=True):
        print(f"  {step}")
        passed = passed and step.passed
    return passed


WORK: dict[str, Callable[[bool], bool]] = {"device": device, "smoke": smoke}


def main() -> int:
    """Run each section in a process of its own; returns the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--patience", type=float, default=1.0, help="multiplies the limits, for slower machines")
    arguments.add_argument("--rehearse", action="store_true", help=argparse.SUPPRESS)  # tiny sizes, on the CPU
    arguments.add_argument("--child", choices=[*WORK], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        return run_section(lambda: WORK[given.child](given.rehearse))
    print_by_line()
    rehearsal = ["--rehearse"] if given.rehearse else []

    def command(name: str, folder: Path) -> list[str]:
        return [sys.executable, "-u", __file__, *rehearsal, "--child", name]

    return run_sections(SECTIONS, command, patience=given.patience)


if __name__ == "__main__":
    sys.exit(main())
