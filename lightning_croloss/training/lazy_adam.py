"""LazyAdam: Adam whose step costs as much as the rows that it touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from lightning_croloss.training.row_sums import RowSums

LAST = "last_step"


class LazyAdam(Optimizer):
    """Adam, for parameters whose gradient holds a few rows of many.

    Of a sparse gradient only the rows at hand are touched. Their moments first decay by the steps that they
    missed, so that moments and bias correction are those of ``torch.optim.Adam``. What differs: a row without
    a gradient does not move, where Adam goes on along its fading momentum. Parameters with dense gradients
    are updated as by Adam.

    ``weight_decay`` is decoupled, as in ``torch.optim.AdamW``. A row that was not touched for k steps shrinks
    k times at once when it is touched again, at the learning rate of then; until then it has not shrunk.

    Checkpoints: the state is Adam's, with the last step of each row beside it. The state of an Adam or AdamW
    can be loaded, and theirs can load this.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled weight decay.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not value >= 0.0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas must be in 0 … 1, 1 excluded, got {betas}")
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; return what the closure, if there is one, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            dense: dict[int, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step = self._begin(parameter)
                    if parameter.grad.is_sparse:
                        self._update_sparse(parameter, group, step)
                    else:
                        dense.setdefault(step, []).append(parameter)
            for step, parameters in dense.items():
                self._update_dense(parameters, group, step)
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back a state; the last steps of the rows stay integers, which PyTorch would make floats."""
        super().load_state_dict(state_dict)
        kept = [index for group in state_dict["param_groups"] for index in group["params"]]
        own = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, parameter in zip(kept, own, strict=True):
            step = self.state.get(parameter, {}).get("step")
            # that of fused steps may lie on a device, and would be waited for in each step
            if isinstance(step, Tensor):
                self.state[parameter]["step"] = step.cpu()
            last = state_dict["state"].get(index, {}).get(LAST)
            if last is not None:
                self.state[parameter][LAST] = last.to(parameter.device, torch.int64, copy=True)

    def _begin(self, parameter: Tensor) -> int:
        """Make the state of a parameter if there is none, and return the number of its next step."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device="cpu")
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        return int(state["step"])

    def _update_sparse(self, parameter: Tensor, group: dict[str, Any], step: int) -> None:
        """Update the rows that a sparse gradient holds."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if LAST not in state:  # a dense state: every row is at the last step
            rows = parameter.shape[0]
            state[LAST] = torch.full((rows,), step - 1, dtype=torch.int64, device=parameter.device)
        self._update_rows(parameter, RowSums.of(gradient), state, group, step)

    def _update_dense(self, parameters: list[Tensor], group: dict[str, Any], step: int) -> None:
        """Update parameters with dense gradients, all in the same few operators."""
        for parameter in parameters:
            state = self.state[parameter]
            if LAST in state:  # the rows have moments of different steps: bring all to the same one
                self._catch_up(state, group["betas"], step - 1)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        first, second = (
            [self.state[parameter][name] for parameter in parameters] for name in ("exp_avg", "exp_avg_sq")
        )
        self._apply(parameters, gradients, first, second, 1.0, group, step)

    def _update_rows(
        self, parameter: Tensor, gradient: RowSums, state: dict[str, Any], group: dict[str, Any], step: int
    ) -> None:
        """Update the rows of a sparse gradient; one that comes several times, each time alike."""
        rows = gradient.rows
        if not len(rows):
            return
        missed = _exactly(step - state[LAST][rows], parameter.dtype)
        missed = missed.view(-1, *[1] * (parameter.dim() - 1))
        # the last of the missed steps is this one, which the update itself decays
        waited = missed - 1
        beta1, beta2 = group["betas"]
        first = state["exp_avg"].index_select(0, rows).mul_(torch.pow(beta1, waited))
        second = state["exp_avg_sq"].index_select(0, rows).mul_(torch.pow(beta2, waited))
        values = parameter.index_select(0, rows)
        self._apply([values], [gradient.values], [first], [second], missed, group, step)
        parameter.index_copy_(0, rows, values)
        state["exp_avg"].index_copy_(0, rows, first)
        state["exp_avg_sq"].index_copy_(0, rows, second)
        state[LAST].index_fill_(0, rows, step)

    @staticmethod
    def _apply(
        values: list[Tensor],
        gradients: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        missed: Tensor | float,
        group: dict[str, Any],
        step: int,
    ) -> None:
        """Update values and both moments in place, decayed to the step before this one."""
        lr, eps, weight_decay = (float(group[name]) for name in ("lr", "eps", "weight_decay"))
        beta1, beta2 = group["betas"]
        if weight_decay:
            kept = (1.0 - lr * weight_decay) ** missed
            for value in values:
                value.mul_(kept)
        gradients = [gradient.to(moment) for gradient, moment in zip(gradients, first, strict=True)]
        # of many tensors at once: on a device each operator costs the host more than the device
        torch._foreach_lerp_(first, gradients, 1.0 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1.0 - beta2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_div_(roots, (1.0 - beta2**step) ** 0.5)
        torch._foreach_add_(roots, eps)
        torch._foreach_addcdiv_(values, first, roots, value=-lr / (1.0 - beta1**step))

    @staticmethod
    def _catch_up(state: dict[str, Any], betas: tuple[float, float], step: int) -> None:
        waited = _exactly(step - state.pop(LAST), state["exp_avg"].dtype)
        for name, beta in zip(("exp_avg", "exp_avg_sq"), betas, strict=True):
            state[name].mul_(torch.pow(beta, waited).view(-1, *[1] * (state[name].dim() - 1)))


def _exactly(steps: Tensor, dtype: torch.dtype) -> Tensor:
    """Return numbers of steps as floats, in float32 at least: half precision cannot count them."""
    return steps.to(torch.promote_types(dtype, torch.float32))
