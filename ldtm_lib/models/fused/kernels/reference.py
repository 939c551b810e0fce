"""The operations of `interface` in plain PyTorch: the reference that the Triton kernels are tested against.

They work in place in the caller's buffers, so that the memory of a training step is known before it starts. Axes as in
`interface`.
"""

import math

import torch
from torch import Tensor


def lstm_forward(
    gates_MTBG: Tensor,
    weight_hh_MGH: Tensor,
    hidden_MTBH: Tensor,
    cell_MTBH: Tensor,
    *,
    active_M: Tensor,
    inputs_MTBK: Tensor | None = None,
    weight_ih_MGI: Tensor | None = None,
) -> None:
    """Run one layer over all sessions, from a hidden and a cell state of 0.

    `gates` holds the share of the layer's inputs in the gates on entry, unless `inputs` and their weights are given;
    on exit it holds the activated gates, and `hidden` and `cell` the states after every session. `active` marks the
    networks that have windows in this step; the results of the others are undefined.
    """
    del active_M  # callers on the CPU ignore the results of the others
    num_sessions, hidden_units = gates_MTBG.shape[1], cell_MTBH.shape[3]
    if inputs_MTBK is not None and weight_ih_MGI is not None:
        inputs = inputs_MTBK.flatten(1, 2)[..., : weight_ih_MGI.shape[2]]
        torch.bmm(inputs, weight_ih_MGI.transpose(1, 2), out=gates_MTBG.flatten(1, 2))
    weight_MHG = weight_hh_MGH.transpose(1, 2)
    for t in range(num_sessions):
        gates = gates_MTBG[:, t]
        if t:
            gates.baddbmm_(hidden_MTBH[:, t - 1], weight_MHG)
        i, f, g, o = gates.chunk(4, dim=2)
        gates[..., : 2 * hidden_units].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        cell = torch.mul(i, g, out=cell_MTBH[:, t])
        if t:
            cell.addcmul_(f, cell_MTBH[:, t - 1])
        torch.mul(o, cell.tanh(), out=hidden_MTBH[:, t])


def lstm_backward(
    gates_MTBG: Tensor,
    weight_hh_MGH: Tensor,
    cell_MTBH: Tensor,
    *,
    active_M: Tensor,
    grad_hidden_MTBH: Tensor | None = None,
    grad_last_MBH: Tensor | None = None,
) -> None:
    """Turn the activated gates into the gradients of their inputs.

    The gradient of the hidden states is given for every session, for the last one, or both.
    """
    del active_M
    num_sessions = gates_MTBG.shape[1]
    grad_hidden = torch.zeros_like(cell_MTBH[:, 0])
    grad_cell = torch.zeros_like(grad_hidden)
    if grad_last_MBH is not None:
        grad_hidden += grad_last_MBH
    for t in reversed(range(num_sessions)):
        if grad_hidden_MTBH is not None:
            grad_hidden += grad_hidden_MTBH[:, t]
        gates = gates_MTBG[:, t]
        i, f, g, o = gates.chunk(4, dim=2)
        tanh_cell = cell_MTBH[:, t].tanh()
        grad_cell += torch.ops.aten.tanh_backward(grad_hidden * o, tanh_cell)
        grad_o = torch.ops.aten.sigmoid_backward(grad_hidden * tanh_cell, o)
        grad_i = torch.ops.aten.sigmoid_backward(grad_cell * g, i)
        grad_g = torch.ops.aten.tanh_backward(grad_cell * i, g)
        grad_f = torch.ops.aten.sigmoid_backward(grad_cell * cell_MTBH[:, t - 1], f) if t else torch.zeros_like(f)
        grad_cell *= f
        torch.cat([grad_i, grad_f, grad_g, grad_o], dim=2, out=gates)
        if t:
            torch.bmm(gates, weight_hh_MGH, out=grad_hidden)


def adamw(
    parameters_MP: Tensor,
    half_MP: Tensor | None,
    grads_MP: Tensor,
    exp_avg_MP: Tensor,
    exp_avg_sq_MP: Tensor,
    *,
    learning_rate_M: Tensor,
    bias_correction1_M: Tensor,
    bias_correction2_sqrt_M: Tensor,
    inverse_scale_M: Tensor,
    update_M: Tensor,
    weight_decay: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """One step of AdamW (Loshchilov and Hutter 2019), all in place and in float32.

    `grads` are gradients times a scale, and may be float16; `half` receives the parameters in float16. A network that
    `update` leaves out keeps its weights and momenta, whatever its gradients are.
    """
    update_M1 = update_M[:, None]
    taking_part_M1 = update_M1.to(parameters_MP.dtype)
    step_size_M1 = (learning_rate_M / bias_correction1_M).to(parameters_MP.dtype)[:, None] * taking_part_M1
    decay_M1 = 1 - (learning_rate_M * weight_decay).to(parameters_MP.dtype)[:, None] * taking_part_M1
    grads_MP = (grads_MP.float() * inverse_scale_M.float()[:, None]).masked_fill_(~update_M1, 0.0)
    parameters_MP.mul_(decay_M1)
    exp_avg_MP.lerp_(grads_MP, (1 - beta1) * taking_part_M1)
    exp_avg_sq_MP.mul_(1 - (1 - beta2) * taking_part_M1).addcmul_(grads_MP, grads_MP, value=1 - beta2)
    denominator_MP = exp_avg_sq_MP.sqrt().div_(bias_correction2_sqrt_M.to(parameters_MP.dtype)[:, None]).add_(eps)
    parameters_MP.sub_(exp_avg_MP.div(denominator_MP).mul_(step_size_M1))
    if half_MP is not None:
        half_MP.copy_(parameters_MP)


def gather_windows(
    bars_SI: Tensor, low_WI: Tensor, span_WI: Tensor, starts_W: Tensor, rows_MB: Tensor, inputs_MTBK: Tensor
) -> None:
    """Put scaled windows into a buffer, in float32 the same to the bit as `WindowSet.gather`; padding is unchanged."""
    sessions_T = torch.arange(inputs_MTBK.shape[1], device=rows_MB.device)
    rows_MB = rows_MB.long()
    windows_MTBI = bars_SI[starts_W[rows_MB][:, None, :] + sessions_T[:, None]]
    span_MBI = span_WI[rows_MB]
    windows_MTBI -= low_WI[rows_MB][:, None]
    windows_MTBI /= torch.where(span_MBI > 0, span_MBI, torch.inf)[:, None]
    inputs_MTBK[..., : bars_SI.shape[1]] = windows_MTBI


def take_rows(
    order_MR: Tensor,
    num_rows_M: Tensor,
    cursor_M: Tensor,
    valid_MB: Tensor,
    rows_MB: Tensor,
    *,
    targets_WE: Tensor | None = None,
    targets_MBE: Tensor | None = None,
) -> None:
    """Take the next batch of each network's rows; the rest of the batch is padding.

    Padding repeats the network's own last row, since a NaN in the row of another network would still be NaN times 0.
    """
    num_windows = valid_MB.shape[1]
    at_MB = cursor_M[:, None] * num_windows + torch.arange(num_windows, device=cursor_M.device)
    torch.lt(at_MB, num_rows_M[:, None], out=valid_MB)
    own_MB = at_MB.minimum(num_rows_M[:, None] - 1).clamp_(min=0)
    torch.gather(order_MR, 1, own_MB, out=rows_MB)
    if targets_WE is not None and targets_MBE is not None:
        targets_MBE.copy_(targets_WE[rows_MB.long()])
    cursor_M += 1


def errors_of(predictions_MBE: Tensor, targets_MBE: Tensor, units_ME: Tensor, valid_MB: Tensor) -> Tensor:
    """Errors (M, B, E) in the units of their horizons; 0 for padding."""
    errors_MBE = (predictions_MBE - targets_MBE) / units_ME[:, None]
    return torch.where(valid_MB[:, :, None], errors_MBE, 0.0)


def heads_forward(
    inner_MBF: Tensor,
    inner_bias_MF: Tensor,
    outer_MED: Tensor,
    outer_bias_ME: Tensor,
    targets_MBE: Tensor,
    units_ME: Tensor,
    valid_MB: Tensor,
    predictions_MBE: Tensor,
    *,
    delta: float,
    losses_ME: Tensor | None = None,
    squares_ME: Tensor | None = None,
) -> None:
    """Finish the heads, whose `inner` units hold their products on entry and their activations on exit.

    The sums over valid windows of `huber(error / unit)` and of squared errors are added to `losses` and `squares`.
    """
    inner_MBF.add_(inner_bias_MF[:, None]).relu_()
    by_head_MBED = inner_MBF.view(*inner_MBF.shape[:2], *outer_MED.shape[1:]).float()
    products_MBE = (by_head_MBED * outer_MED[:, None].float()).sum(3)
    torch.add(products_MBE, outer_bias_ME[:, None], out=predictions_MBE)
    errors_MBE = errors_of(predictions_MBE, targets_MBE, units_ME, valid_MB)
    if losses_ME is not None:
        held_MBE = errors_MBE.clamp(-delta, delta)
        losses_ME += (held_MBE * (2 * errors_MBE - held_MBE)).sum(1)
    if squares_ME is not None:
        squares_ME += errors_MBE.square().sum(1) * units_ME.square()


def heads_backward(
    inner_MBF: Tensor,
    outer_MED: Tensor,
    targets_MBE: Tensor,
    units_ME: Tensor,
    valid_MB: Tensor,
    predictions_MBE: Tensor,
    *,
    delta: float,
    weight_ME: Tensor,
    scale_M: Tensor | None,
    grad_inner_bias_MF: Tensor,
    grad_outer_MED: Tensor,
    grad_outer_bias_ME: Tensor,
) -> None:
    """Turn the activated `inner` units into the gradients of their inputs, and fill the other gradients.

    The gradients are those of the mean losses times a weight by horizon and a scale by network.
    """
    num_valid_M = valid_MB.sum(1).clamp(min=1)
    scaled_ME = weight_ME if scale_M is None else scale_M[:, None] * weight_ME
    factor_ME = 2 * scaled_ME / (num_valid_M * targets_MBE.shape[2])[:, None] / units_ME
    errors_MBE = errors_of(predictions_MBE, targets_MBE, units_ME, valid_MB)
    grad_MBE = errors_MBE.clamp(-delta, delta) * factor_ME.float()[:, None]
    by_head_MBED = inner_MBF.view(*inner_MBF.shape[:2], *outer_MED.shape[1:])
    grad_outer_bias_ME.copy_(grad_MBE.sum(1))
    grad_outer_MED.copy_((grad_MBE[..., None] * by_head_MBED).sum(1))
    spread_MBF = (grad_MBE[..., None] * outer_MED[:, None]).flatten(2)
    torch.mul(spread_MBF, inner_MBF > 0, out=inner_MBF)
    grad_inner_bias_MF.copy_(inner_MBF.sum(1))


def find_overflows(grads_MP: Tensor, active_M: Tensor, overflow_M: Tensor) -> None:
    """Mark the active networks that have a gradient that is not finite."""
    lowest_M, highest_M = torch.aminmax(grads_MP, dim=1)
    overflow_M |= active_M & ~(lowest_M.isfinite() & highest_M.isfinite())


def plan_updates(
    *,
    active_M: Tensor,
    num_steps_M: Tensor,
    attempts_M: Tensor,
    updates_M: Tensor,
    streak_M: Tensor,
    scale_M: Tensor,
    overflow_M: Tensor | None,
    learning_rate_M: Tensor,
    bias_correction1_M: Tensor,
    bias_correction2_sqrt_M: Tensor,
    inverse_scale_M: Tensor,
    update_M: Tensor,
    learning_rate: float,
    beta1: float,
    beta2: float,
    backoff: float,
    growth: float,
    growth_interval: int,
) -> None:
    """Fill the numbers of this step's AdamW, then count the step and adjust the scales of losses.

    The learning rate follows a cosine over all steps of a network. A network whose gradients overflow is left out, and
    its scale is multiplied by `backoff`; after `growth_interval` updates without one it is multiplied by `growth`.
    """
    update_M.copy_(active_M)
    if overflow_M is not None:
        update_M &= overflow_M == 0
    updates_M += update_M
    progress_M = attempts_M.double() / num_steps_M.clamp(min=1)
    learning_rate_M.copy_(learning_rate * 0.5 * (1 + torch.cos(math.pi * progress_M)))
    counts_M = updates_M.clamp(min=1).double()
    bias_correction1_M.copy_(1 - beta1**counts_M)
    bias_correction2_sqrt_M.copy_((1 - beta2**counts_M).sqrt())
    torch.reciprocal(scale_M, out=inverse_scale_M)
    attempts_M += active_M
    if overflow_M is None:
        return
    overflow_M.zero_()
    streak_M.copy_(torch.where(active_M, torch.where(update_M, streak_M + 1, 0), streak_M))
    grows_M = streak_M == growth_interval
    scale_M.mul_(torch.where(active_M & ~update_M, backoff, torch.where(grows_M, growth, 1.0)))
    streak_M.masked_fill_(grows_M, 0)
