"""The probe passes what computes the right thing and names what does not, however little a loss would show of it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ldtm_lib.models.fused.kernels.interface import REFERENCE, Operations
from ldtm_lib.models.on_gpu.probe import ProbeFailed, require_same_as_on_the_cpu
from ldtm_lib.models.on_gpu.probe_cache import probe_key, require_probed
from ldtm_lib.settings import ArchitectureConfig, TrainingConfig

CPU = torch.device("cpu")
RECIPE = TrainingConfig(batch_size=24)


def probe(operations: Operations, architecture: ArchitectureConfig, *, half: bool = False) -> None:
    require_same_as_on_the_cpu(
        operations,
        device=CPU,
        recipe=RECIPE,
        architecture=architecture,
        window_sessions=6,
        half_precision=half,
    )


@pytest.mark.parametrize("half", [False, True])
def test_the_reference_passes_in_both_precisions(small: ArchitectureConfig, *, half: bool) -> None:
    probe(REFERENCE, small, half=half)


def forget_gate_without_gradient(gates_MTBG: torch.Tensor, *arguments: Any, **others: Any) -> None:
    REFERENCE.lstm_backward(gates_MTBG, *arguments, **others)
    hidden = gates_MTBG.shape[3] // 4
    gates_MTBG[..., hidden : 2 * hidden] = 0


def last_session_alone(gates_MTBG: torch.Tensor, *arguments: Any, **others: Any) -> None:
    REFERENCE.lstm_backward(gates_MTBG, *arguments, **others)
    gates_MTBG[:, :-2] = 0


def scaled_forward(
    gates_MTBG: torch.Tensor, weight_hh_MGH: torch.Tensor, hidden_MTBH: torch.Tensor, *arguments: Any, **others: Any
) -> None:
    REFERENCE.lstm_forward(gates_MTBG, weight_hh_MGH, hidden_MTBH, *arguments, **others)
    hidden_MTBH *= 1.05


def everybody_is_updated(*arguments: Any, **others: Any) -> None:
    update_M = torch.ones_like(others.pop("update_M"))
    REFERENCE.adamw(*arguments, **others, update_M=update_M)


def without_correction(*arguments: Any, **others: Any) -> None:
    ones_M = torch.ones_like(others.pop("bias_correction1_M"))
    REFERENCE.adamw(*arguments, **others, bias_correction1_M=ones_M)


def shifted_windows(
    bars_SI: torch.Tensor,
    low_WI: torch.Tensor,
    span_WI: torch.Tensor,
    starts_W: torch.Tensor,
    *others: Any,
    **named: Any,
) -> None:
    shifted_W = (starts_W - 1).clamp(min=0)
    REFERENCE.gather_windows(bars_SI, low_WI, span_WI, shifted_W, *others, **named)


def unscaled_windows(
    bars_SI: torch.Tensor, low_WI: torch.Tensor, span_WI: torch.Tensor, *others: Any, **named: Any
) -> None:
    REFERENCE.gather_windows(bars_SI, low_WI, torch.ones_like(span_WI), *others, **named)


def without_decay(*arguments: Any, **others: Any) -> None:
    REFERENCE.adamw(*arguments, **{**others, "weight_decay": 0.0})


def forgetful(*arguments: Any, **others: Any) -> None:
    REFERENCE.adamw(*arguments, **others)
    arguments[4].zero_()


def without_annealing(**books: Any) -> None:
    REFERENCE.plan_updates(**books)
    books["learning_rate_M"].fill_(books["learning_rate"])


def losses_without_units(*arguments: Any, **others: Any) -> None:
    units_ME = arguments[5].clone()
    arguments[5].fill_(1)
    REFERENCE.heads_forward(*arguments, **others)
    arguments[5].copy_(units_ME)


def half_of_the_squares(*arguments: Any, **others: Any) -> None:
    REFERENCE.heads_forward(*arguments, **others)
    if others.get("squares_ME") is not None:
        others["squares_ME"] /= 2


def without_weights(*arguments: Any, **others: Any) -> None:
    REFERENCE.heads_backward(*arguments, **{**others, "weight_ME": torch.ones_like(others["weight_ME"])})


def first_batch_again(
    order_MR: torch.Tensor, num_rows_M: torch.Tensor, cursor_M: torch.Tensor, *a: Any, **b: Any
) -> None:
    REFERENCE.take_rows(order_MR, num_rows_M, cursor_M, *a, **b)
    cursor_M.zero_()


def wrong_for_two_networks(gates_MTBG: torch.Tensor, *arguments: Any, **others: Any) -> None:
    REFERENCE.lstm_backward(gates_MTBG, *arguments, **others)
    if len(gates_MTBG) == 2:
        gates_MTBG *= 1.02


GRADIENTS = r"gradients of lstm\.weight_.h_l0 \(input gate\) of the network with a full batch differ by"


@pytest.mark.parametrize(
    ("part", "broken", "words"),
    [
        ("lstm_backward", forget_gate_without_gradient, GRADIENTS),
        ("lstm_backward", last_session_alone, GRADIENTS),
        ("lstm_forward", scaled_forward, GRADIENTS),
        ("adamw", without_correction, "update of the network with a full batch differ by"),
        ("adamw", everybody_is_updated, "the network without rows was updated"),
        ("gather_windows", shifted_windows, GRADIENTS.replace("_.h_", "_ih_")),
        ("gather_windows", unscaled_windows, GRADIENTS.replace("_.h_", "_ih_")),
        ("adamw", without_decay, "update of the network with a full batch differ by"),
        ("adamw", forgetful, "AdamW's second moments of the network with a full batch differ by"),
        ("plan_updates", without_annealing, "the numbers learning_rate_M of a step differ by"),
        ("heads_forward", losses_without_units, "losses of the network with a full batch differ by"),
        ("heads_forward", half_of_the_squares, "validation squares of the network with a full batch differ by"),
        ("heads_backward", without_weights, "gradients of .* of the network with a full batch differ by"),
        ("take_rows", first_batch_again, "validation losses of the network with a full batch differ by"),
        ("lstm_backward", wrong_for_two_networks, r"gradients of lstm\.weight_ih_l0 \(input gate\)"),
    ],
)
def test_a_broken_operation_is_named(
    small: ArchitectureConfig, part: str, broken: Callable[..., None], words: str
) -> None:
    with pytest.raises(ProbeFailed, match=words):
        probe(dataclasses.replace(REFERENCE, **{part: broken}), small)


def test_an_overflow_that_is_not_skipped_is_found(small: ArchitectureConfig) -> None:
    def some_are_left_out(*arguments: Any, **others: Any) -> None:
        update_M = others.pop("update_M")
        update_M = update_M | (torch.arange(len(update_M)) == 0)
        REFERENCE.adamw(*arguments, **others, update_M=update_M)

    with pytest.raises(ProbeFailed, match="a network whose gradients overflow was updated"):
        probe(dataclasses.replace(REFERENCE, adamw=some_are_left_out), small, half=True)


@pytest.mark.parametrize(
    "recipe",
    [
        TrainingConfig(batch_size=24, max_epochs=1),
        TrainingConfig(batch_size=1),
        TrainingConfig(batch_size=24, huber_delta=1e-4),
        TrainingConfig(batch_size=24, huber_delta=100),
    ],
    ids=["one step", "one window", "small gradients", "squared errors"],
)
def test_unusual_recipes_raise_no_false_alarm(small: ArchitectureConfig, recipe: TrainingConfig) -> None:
    for half in (False, True):
        require_same_as_on_the_cpu(
            REFERENCE, device=CPU, recipe=recipe, architecture=small, window_sessions=6, half_precision=half
        )


def test_a_single_wrong_window_of_a_batch_is_found(small: ArchitectureConfig) -> None:
    def one_window_off(*arguments: Any, **others: Any) -> None:
        REFERENCE.heads_forward(*arguments, **others)
        predictions_MBE = arguments[7]
        predictions_MBE[0, -1] += 0.06 * predictions_MBE[0].square().mean().sqrt()

    with pytest.raises(ProbeFailed, match=r"forecasts of the network with a full batch are 6\.0% off in one window"):
        require_same_as_on_the_cpu(
            dataclasses.replace(REFERENCE, heads_forward=one_window_off),
            device=CPU,
            recipe=TrainingConfig(batch_size=64),
            architecture=small,
            window_sessions=6,
        )


def test_an_overflow_that_is_not_seen_is_found(small: ArchitectureConfig) -> None:
    def all_but_the_last(grads_MP: torch.Tensor, *others: Any) -> None:
        REFERENCE.find_overflows(grads_MP[:, :-1], *others)

    with pytest.raises(ProbeFailed, match="a gradient of inf at -1 marks networks by 0, 0, 0 instead of 1, 0, 0"):
        probe(dataclasses.replace(REFERENCE, find_overflows=all_but_the_last), small, half=True)


class Counted:
    """A probe that counts how often it is run, and fails when told to."""

    def __init__(self) -> None:
        self.runs, self.fails = 0, False

    def __call__(self) -> None:
        self.runs += 1
        if self.fails:
            raise ProbeFailed("gradients are off")


@pytest.fixture
def counted() -> Counted:
    return Counted()


def asked(counted: Counted, what: str, cache: Path, recipe: TrainingConfig = RECIPE) -> None:
    require_probed(
        counted, what, cache, device=CPU, recipe=recipe, architecture=ArchitectureConfig(), window_sessions=30
    )


def test_a_probe_that_was_passed_is_not_run_again_for_the_same_thing(counted: Counted, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "probes.json"
    asked(counted, "chosen", cache)
    asked(counted, "chosen", cache)
    assert counted.runs == 1
    asked(counted, "small", cache)
    asked(counted, "chosen", cache, TrainingConfig(batch_size=64))
    assert counted.runs == 3
    asked(counted, "chosen", cache)
    assert counted.runs == 3


def test_a_probe_that_failed_is_run_again(counted: Counted, tmp_path: Path) -> None:
    counted.fails = True
    for _ in range(2):
        with pytest.raises(ProbeFailed):
            asked(counted, "chosen", tmp_path / "probes.json")
    assert counted.runs == 2


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}'])
def test_a_cache_that_cannot_be_read_is_made_anew(counted: Counted, tmp_path: Path, content: str) -> None:
    cache = tmp_path / "probes.json"
    cache.write_text(content)
    asked(counted, "chosen", cache)
    asked(counted, "chosen", cache)
    assert counted.runs == 1


def test_a_cache_that_cannot_be_written_costs_another_probe(counted: Counted) -> None:
    for _ in range(2):
        asked(counted, "chosen", Path("/proc/ldtm/probes.json"))
    assert counted.runs == 2


def test_the_key_depends_on_what_is_run_and_on_its_shape() -> None:
    def key(what: str, recipe: TrainingConfig, architecture: ArchitectureConfig, sessions: int = 30) -> str:
        return probe_key(what, device=CPU, recipe=recipe, architecture=architecture, window_sessions=sessions)

    base = key("chosen", RECIPE, ArchitectureConfig())
    assert base == key("chosen", RECIPE, ArchitectureConfig())
    others = [
        key("small", RECIPE, ArchitectureConfig()),
        key("chosen", TrainingConfig(batch_size=25), ArchitectureConfig()),
        key("chosen", RECIPE, ArchitectureConfig(hidden=64)),
        key("chosen", RECIPE, ArchitectureConfig(), 60),
    ]
    assert len({base, *others}) == 5
