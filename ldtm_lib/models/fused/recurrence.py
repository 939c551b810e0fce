"""The recurrence of one LSTM layer for many networks, forwards and backwards, in plain PyTorch.

It works in place in buffers of the caller's, so that what a training step needs in memory is known before it starts.
`kernels` holds the same functions for CUDA; this is what they are tested against.

Axes: M fused networks, T sessions of a window, B windows, K input columns (padding included), I inputs,
H hidden units, G = 4 H gates in the order of `nn.LSTM`: input, forget, cell, output.
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
