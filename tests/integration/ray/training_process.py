"""A training in a process of its own, which tests interrupt: its tasks come from stdin, and never end."""

import pickle
import sys

from ldtm_lib.models.on_ray.engine import RayEngine
from ldtm_lib.settings import ArchitectureConfig, EngineConfig, TrainingConfig
from tests.integration.ray import faults

if __name__ == "__main__":
    engine = RayEngine(config=EngineConfig(kind="ray", address=sys.argv[1]), train_shard=faults.endless)
    tasks = pickle.load(sys.stdin.buffer)
    print(list(engine(tasks, recipe=TrainingConfig(), architecture=ArchitectureConfig(), device="cpu")))
