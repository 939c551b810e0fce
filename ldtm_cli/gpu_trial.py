"""A trial of a GPU, in a training slot."""

import subprocess
import sys
from dataclasses import replace

from ldtm_assets.training.placement import training_place
from ldtm_assets.training.progress import LogLines
from ldtm_cli.invocation import console
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.models.device import choose_device, torch_version
from ldtm_lib.models.on_gpu.trial import TrialSizes
from ldtm_lib.project import Project
from ldtm_lib.settings import EngineConfig


def try_gpu(project: Project) -> bool:
    """Lease the GPU with the most free memory and test it in a separate process, whose lines are printed as they come.

    Returns True if every step passed. Raises ConfigurationError if there is no GPU.
    """
    if choose_device("auto") == "cpu":
        raise ConfigurationError(
            f"PyTorch {torch_version()} finds no CUDA device here; install a CUDA build of it that the driver supports "
            "(nvidia-smi names the driver), or train with the device cpu"
        )
    settings = project.settings
    here = replace(project, settings=settings.replace(engine=EngineConfig()))  # not on a cluster

    def log(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    with training_place(here, "cuda", log, LogLines(), num_tickers=TrialSizes().num_networks) as place:
        assert place.lease is not None
        command = [
            *(sys.executable, "-m", "ldtm_lib.models.on_gpu.trial", place.device, str(place.lease.memory_mib)),
            *("--architecture", settings.architecture.model_dump_json()),
            *("--recipe", settings.training.model_dump_json()),
        ]
        return subprocess.run(command, check=False).returncode == 0
