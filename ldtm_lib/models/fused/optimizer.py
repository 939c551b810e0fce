"""One step of AdamW for many networks, of which some may be left out, in plain PyTorch.

Axes: M fused networks, P elements of a network's row.
"""

from torch import Tensor


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
