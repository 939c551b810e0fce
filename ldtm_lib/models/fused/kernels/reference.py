"""The operations of `interface` in plain PyTorch: the reference that the Triton kernels are tested against.

They work in place in the caller's buffers, so that the memory of a training step is known before it starts. Axes as in
`interface`.
"""

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
    on exit it holds the activated gates, and `hidden` and `cell` the states after every session. `active` says which
    networks have windows in this step; the results of the others mean nothing.
    """
    del active_M  # whoever calls this on the CPU leaves the others out
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
    """Turn the activated gates into the gradients of what went into them.

    The gradient of the hidden states comes as that of every session, of the last one, or both.
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
    """Decoupled weight decay as in Loshchilov and Hutter 2019, all in place and in float32.

    `grads` are gradients times a scale, and may be float16; `half` receives the parameters in float16. A network that
    does not take part keeps its weights and momenta, whatever its gradients are.
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
    """Put scaled windows into a buffer, in float32 the same to the bit as `WindowSet.gather`; padding is left alone."""
    sessions_T = torch.arange(inputs_MTBK.shape[1], device=rows_MB.device)
    rows_MB = rows_MB.long()
    windows_MTBI = bars_SI[starts_W[rows_MB][:, None, :] + sessions_T[:, None]]
    span_MBI = span_WI[rows_MB]
    windows_MTBI -= low_WI[rows_MB][:, None]
    windows_MTBI /= torch.where(span_MBI > 0, span_MBI, torch.inf)[:, None]
    inputs_MTBK[..., : bars_SI.shape[1]] = windows_MTBI
