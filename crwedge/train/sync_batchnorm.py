"""BatchNorm that shares its statistics among processes, on GPUs and on CPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def sync_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with its BatchNorm layers replaced by ones that share statistics; weights and their names stay.

    On a GPU they are PyTorch's `SyncBatchNorm`, which refuses tensors on a CPU; there they are `CpuSyncBatchNorm`.
    """
    if device.type != "cpu":
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return synced
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = CpuSyncBatchNorm
    return model


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes: what `SyncBatchNorm` computes, over gloo."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        if not self.training:
            return super().forward(x)
        kind = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(kind, torch.float32))
            count = x.new_tensor([x.numel() / x.shape[1]])
            sums = _sum_over_processes(torch.cat([x.sum(dim=(0, 2, 3)), count]))
            total = sums[-1]
            mean = sums[:-1] / total
            centred = x - mean[None, :, None, None]
            variance = _sum_over_processes(centred.square().sum(dim=(0, 2, 3))) / total
            with torch.no_grad():
                step = self.momentum if self.momentum is not None else 0.1
                assert self.running_mean is not None
                assert self.running_var is not None
                assert self.num_batches_tracked is not None
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), step)
                self.running_var.lerp_((variance * total / (total - 1)).to(self.running_var.dtype), step)
                self.num_batches_tracked.add_(1)
            y: Tensor = centred * (torch.rsqrt(variance + self.eps) * self.weight)[None, :, None, None]
            return (y + self.bias[None, :, None, None]).to(kind)


class _Sum(torch.autograd.Function):
    """Sum over processes; the gradient of each process's input is the sum of the gradients of all outputs."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The gradient of this process's input."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)
    return total
