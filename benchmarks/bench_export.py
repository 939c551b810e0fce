"""Time forecasts by exported ONNX files and by PyTorch, for 103 networks of the default shape.

The methods answer the same request in turn, so that other load on the machine affects all of them. Load time and memory
are measured in separate processes. GPU parts run only if CUDA and TensorRT are available.
"""

import io
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ldtm_lib.errors import LdtmError
from ldtm_lib.export.engine import EngineForecaster, build_engine, current_gpu
from ldtm_lib.export.onnx_file import OnnxFile, encode, write
from ldtm_lib.export.sessions import OnnxForecaster
from ldtm_lib.models.cpu import on_all_cores
from ldtm_lib.models.forecast import forecast
from ldtm_lib.models.lstm import State, initial_state, network_of
from ldtm_lib.models.parameters import forecast_windows, parameters_of
from ldtm_lib.settings import ArchitectureConfig, WindowConfig

NUM_NETWORKS = 103
NUM_THREADS = 2
REPETITIONS = 100
BATCHES = (1, 103, 256)
SHAPE = ArchitectureConfig()
GOALS = {"universe_ms": 50.0, "ticker_ms": 1.0, "load_s": 1.0, "memory_mib": 300.0}
LOAD = """
import json, sys, time
from pathlib import Path
import numpy as np, onnxruntime
from ldtm_lib.errors import LdtmError
from ldtm_lib.export.engine import EngineForecaster, build_engine, current_gpu
from ldtm_lib.export.onnx_file import OnnxFile
from ldtm_lib.export.sessions import OnnxForecaster

def memory(kind):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(kind)) / 1024

before, start = memory("VmRSS"), time.perf_counter()
file = OnnxFile.open(Path(sys.argv[1]))
forecaster = OnnxForecaster([file], num_threads=int(sys.argv[2]))
seconds = time.perf_counter() - start
forecaster.forecast({t: np.zeros((30, 11), np.float32) for t in forecaster.tickers})
print(json.dumps({"seconds": seconds, "before": before, "after": memory("VmRSS"), "peak": memory("VmHWM")}))
"""
PLAIN = """
import json, sys, time
import numpy, onnxruntime

def memory(kind):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(kind)) / 1024

before, start = memory("VmRSS"), time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
seconds = time.perf_counter() - start
session.run(None, {i.name: numpy.zeros((1, 30, 11), numpy.float32) for i in session.get_inputs()})
print(json.dumps({"seconds": seconds, "before": before, "after": memory("VmRSS"), "peak": memory("VmHWM")}))
"""


def main() -> None:
    torch.set_num_threads(NUM_THREADS)
    generator = torch.Generator().manual_seed(0)
    states = {f"T{n}": trained_state(generator) for n in range(NUM_NETWORKS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks = {t: parameters_of(state, SHAPE, checkpoint_sha256="0" * 64) for t, state in states.items()}
        start = time.perf_counter()
        content = encode(networks, WindowConfig())
        seconds = time.perf_counter() - start
        write(content, folder / "universe.onnx")
        for ticker, network in networks.items():
            write(encode({ticker: network}, WindowConfig()), folder / f"{ticker}.onnx")
        size = len(content) / 1e6
        print(f"universe file of {NUM_NETWORKS} networks: {size:.1f} MB, encoded and checked in {seconds:.1f} s")
        print_loads(folder)
        print_latencies(folder, states)
        print_graphs(folder, states["T0"])
    if torch.cuda.is_available():
        print_engine(states["T0"])


def trained_state(generator: torch.Generator) -> State:
    """Initial weights with noise, because the last layers of residual heads start at zero."""
    return {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in initial_state(SHAPE, generator).items()
    }


def print_loads(folder: Path) -> None:
    print("\nload of the universe file in a separate process; libraries are imported beforehand")
    for name, code, num_threads in (
        ("numpy and onnxruntime alone", PLAIN, 1),
        ("OnnxForecaster, 1 thread", LOAD, 1),
        (f"OnnxForecaster, {NUM_THREADS} threads", LOAD, NUM_THREADS),
    ):
        command = [sys.executable, "-c", code, str(folder / "universe.onnx"), str(num_threads)]
        found = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(3)]
        best = min(found, key=lambda one: one["seconds"])
        added, peak = best["after"] - best["before"], best["peak"] - best["before"]
        print(
            f"  {name:28} {best['seconds']:.2f} s   {added:4.0f} MiB by the file, {peak:4.0f} at the peak, without "
            f"{best['before']:.0f} of libraries   {verdict(best['seconds'], 'load_s')}, {verdict(peak, 'memory_mib')}"
        )


def print_latencies(folder: Path, states: dict[str, State]) -> None:
    universe = OnnxFile.open(folder / "universe.onnx")
    singles = [OnnxFile.open(folder / f"{ticker}.onnx") for ticker in states]
    names = list(states)
    random = np.random.default_rng(0)
    windows = {ticker: random.random((30, 11), dtype=np.float32) for ticker in names}
    pairs = [(windows[ticker], states[ticker]) for ticker in names]
    one = OnnxForecaster([universe])
    two = OnnxForecaster([universe], num_threads=NUM_THREADS)
    alone = OnnxForecaster(singles)
    alone_two = OnnxForecaster(singles, num_threads=NUM_THREADS)
    torch_way = "torch, one network per core"
    print_table(
        f"{NUM_NETWORKS} tickers, one window each",
        {
            torch_way: lambda: on_all_cores(lambda pair: forecast(*pair, SHAPE), pairs),
            "103 files, 1 thread": lambda: alone.forecast(windows),
            "103 files, 2 threads": lambda: alone_two.forecast(windows),
            "universe file, 1 thread": lambda: one.forecast(windows),
            "universe file, 2 threads": lambda: two.forecast(windows),
        },
        goal="universe_ms",
    )
    first = {names[0]: windows[names[0]]}
    print_table(
        "one ticker, one window",
        {
            torch_way: lambda: on_all_cores(lambda pair: forecast(*pair, SHAPE), pairs[:1]),
            "its own file": lambda: alone.forecast(first),
            "universe file": lambda: one.forecast(first),
        },
        goal="ticker_ms",
    )
    network = parameters_of(states[names[0]], SHAPE, checkpoint_sha256="")
    for size in BATCHES:
        batch = {names[0]: random.random((size, 30, 11), dtype=np.float32)}
        print_table(
            f"one ticker, batch {size}",
            {
                "torch, reference, one core": lambda batch=batch: forecast_windows(batch[names[0]], network),
                "universe file, 1 thread": lambda batch=batch: one.forecast_batches(batch),
            },
        )
    for forecaster in (one, two, alone, alone_two):
        forecaster.close()


def print_engine(state: State) -> None:
    """Print the time of one ticker by an engine of the standard TensorRT, if that is installed."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "T0.onnx"
        write(encode({"T0": parameters_of(state, SHAPE, checkpoint_sha256="0" * 64)}, WindowConfig()), path)
        with OnnxFile.open(path) as file:
            ways: dict[str, Callable[[], object]] = {}
            window = {"T0": np.random.default_rng(1).random((1, 30, 11), dtype=np.float32)}
            for precision in ("fp32", "fp16"):
                engine_path = Path(name) / f"T0.{precision}.engine"
                try:
                    build_engine(file, engine_path, flavour="tensorrt", precision=precision, gpu=current_gpu())
                except LdtmError as error:
                    print(f"no engine: {error}")
                    return
                engine = EngineForecaster(engine_path, file=file, gpu=current_gpu())
                ways[f"TensorRT {precision}"] = lambda engine=engine: engine.forecast_batches(window)
            print_table("one ticker, one window, GPU", ways)


def print_graphs(folder: Path, state: State) -> None:
    """Compare the graph written by hand with torch's own export, in plain sessions of ONNX Runtime."""
    import onnx
    import onnxruntime

    network = network_of(state, SHAPE).eval()
    contents: list[bytes] = []
    start = time.perf_counter()
    for _ in range(2):
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros(2, 30, 11),),
                buffer,
                dynamo=False,
                opset_version=17,
                input_names=["window"],
                output_names=["prices"],
                dynamic_axes={"window": {0: "batch"}, "prices": {0: "batch"}},
            )
        contents.append(buffer.getvalue())
    seconds = (time.perf_counter() - start) / 2
    parameters = parameters_of(state, SHAPE, checkpoint_sha256="0" * 64)
    start = time.perf_counter()
    by_hand = encode({"T0": parameters}, WindowConfig())
    own_seconds = time.perf_counter() - start
    graphs = {"torch.onnx.export(dynamo=False)": contents[0], "written by hand": by_hand}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    ways: dict[str, Callable[[], object]] = {}
    window = np.random.default_rng(1).random((1, 30, 11), dtype=np.float32)
    many = np.random.default_rng(2).random((256, 30, 11), dtype=np.float32)
    expected = forecast_windows(many, parameters)
    print()
    for name, content in graphs.items():
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        feeds = {session.get_inputs()[0].name: window}
        ways[name] = lambda session=session, feeds=feeds: session.run(None, feeds)
        difference = np.abs(session.run(None, {session.get_inputs()[0].name: many})[0] - expected).max()
        num_nodes = len(onnx.load_from_string(content).graph.node)
        took = own_seconds if content is by_hand else seconds
        print(f"{name}: {num_nodes} nodes, {took:.2f} s, {len(content)} bytes, difference to torch {difference:.1e}")
    print(f"two exports by torch have equal bytes: {contents[0] == contents[1]}")
    print_table("one ticker, one window, plain session", ways)


def print_table(title: str, ways: dict[str, Callable[[], object]], goal: str | None = None) -> None:
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(REPETITIONS + 3):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repetition >= 3:
                milliseconds[name].append((time.perf_counter() - start) * 1e3)
    first = np.median(milliseconds[next(iter(ways))])
    print(f"\n{title}")
    for name, values in milliseconds.items():
        p50, p99 = np.quantile(values, [0.5, 0.99])
        reached = f"   {verdict(float(p50), goal)}" if goal and name != next(iter(ways)) else ""
        print(
            f"  {name:34} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   min {min(values):8.2f} ms   "
            f"{first / p50:5.2f} x as fast as the first{reached}"
        )


def verdict(figure: float, goal: str) -> str:
    return f"goal {GOALS[goal]:g} {goal.rpartition('_')[2]}: {'reached' if figure <= GOALS[goal] else 'MISSED'}"


if __name__ == "__main__":
    main()
