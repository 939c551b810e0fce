from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from ldtm_lib.export.graph import SHARED, branch_constants, branch_names
from ldtm_lib.export.onnx_file import OnnxFile, encode, write
from ldtm_lib.export.sessions import OnnxForecaster
from ldtm_lib.models.parameters import NetworkParameters, forecast_windows
from ldtm_lib.settings import ArchitectureConfig, WindowConfig
from tests.unit.export.networks import SMALL, network, windows

SHAPES = [
    ArchitectureConfig(hidden=hidden, num_layers=num_layers, head_hidden=head_hidden, residual=residual)
    for hidden, head_hidden in ((16, 8), (128, 64))
    for num_layers in (1, 2)
    for residual in (False, True)
]


def forecasts(parameters: NetworkParameters, inputs: np.ndarray, folder: Path) -> np.ndarray:
    """By ONNX Runtime, from a file."""
    write(encode({"A": parameters}, WindowConfig()), folder / "A.onnx")
    with OnnxFile.open(folder / "A.onnx") as file, OnnxForecaster([file]) as forecaster:
        return forecaster.forecast_batches({"A": inputs})["A"]


@pytest.mark.parametrize("architecture", SHAPES, ids=str)
@pytest.mark.parametrize("num_rows", [1, 5])
def test_onnx_runtime_agrees_with_torch(architecture: ArchitectureConfig, num_rows: int, tmp_path: Path) -> None:
    """1e-6: float32 sums of 128 products in another order, outputs of the size of 1; 1.2e-7 was the most seen."""
    parameters, inputs = network(architecture), windows(num_rows)
    found = forecasts(parameters, inputs, tmp_path)
    assert found.shape == (num_rows, 3)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, forecast_windows(inputs, parameters), rtol=0, atol=1e-6)
    assert num_rows == 1 or np.ptp(found, axis=0).min() > 1e-3


def test_the_graph_means_the_same_to_the_reference_of_onnx() -> None:
    """1e-6: the reference of the standard computes in numpy; another implementation than ONNX Runtime's."""
    parameters, inputs = network(), windows(3)
    evaluator = ReferenceEvaluator(onnx.load_from_string(encode({"A": parameters}, WindowConfig())))
    (found,) = evaluator.run(None, {"window_A": inputs})
    np.testing.assert_allclose(found, forecast_windows(inputs, parameters), rtol=0, atol=1e-6)


def test_a_graph_has_eight_nodes_with_native_lstms_and_three_more_for_residual_heads() -> None:
    plain = ["Transpose", "LSTM", "Squeeze", "LSTM", "Squeeze", "Gemm", "Relu", "Gemm"]
    for residual, expected in ((False, plain), (True, [*plain, "Slice", "Squeeze", "Add"])):
        parameters = network(SMALL.model_copy(update={"residual": residual}))
        model = onnx.load_from_string(encode({"A": parameters}, WindowConfig()))
        assert [node.op_type for node in model.graph.node] == expected


def test_the_inferred_shape_of_the_output_has_a_dynamic_batch() -> None:
    model = onnx.load_from_string(encode({"A": network()}, WindowConfig()))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    for dimension in model.graph.output[0].type.tensor_type.shape.dim:
        dimension.Clear()
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [d.dim_param or d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim] == ["batch", 3]
    assert [d.dim_param or d.dim_value for d in inferred.graph.input[0].type.tensor_type.shape.dim] == ["batch", 30, 11]


@given(seed=st.integers(0, 1000), residual=st.booleans())
@settings(max_examples=10, deadline=None)
def test_equal_parameters_give_equal_bytes_and_one_altered_weight_others(seed: int, residual: bool) -> None:
    architecture = SMALL.model_copy(update={"residual": residual})
    content = encode({"A": network(architecture, seed)}, WindowConfig())
    assert encode({"A": network(architecture, seed)}, WindowConfig()) == content
    altered = network(architecture, seed)
    name = sorted(altered.arrays)[seed % len(altered.arrays)]
    altered.arrays[name].flat[0] = np.nextafter(altered.arrays[name].flat[0], np.float32(2))
    assert encode({"A": altered}, WindowConfig()) != content


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2, unique=True))
@example(["shared", "_shared"])
def test_names_of_different_tickers_are_different_identifiers(tickers: list[str]) -> None:
    first, second = (branch_names(ticker) for ticker in tickers)
    assert first.window.isidentifier()
    assert first.window.isascii()
    assert first.window != second.window
    assert not first.prefix.startswith(second.prefix)
    assert not second.prefix.startswith(first.prefix)
    assert not first.prefix.startswith(SHARED)


def test_every_parameter_is_in_the_constants_once_and_all_others_are_zero() -> None:
    parameters = network()
    for array in parameters.arrays.values():
        array[array == 0] = 1
    constants = branch_constants(parameters)
    stored = np.sort(np.concatenate([array.ravel() for array in constants.values()]))
    given = np.sort(np.concatenate([array.ravel() for array in parameters.arrays.values()]))
    assert np.array_equal(stored[stored != 0], given)
    assert np.count_nonzero(stored == 0) == 2 * 3 * SMALL.head_hidden
