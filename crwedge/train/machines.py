"""Training on several processes under `torchrun`: one writer, the same result as one process.

Plain `torch.distributed`: the gradients of a ResNet-18 are 45 MB, averaged in one message a step, so that nothing has
to wrap the model. BatchNorm shares its sums by a differentiable all-reduce, which unlike torch's SyncBatchNorm also
runs on CPUs over gloo.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from crwedge.core.errors import SettingError
from crwedge.train.config import TrainConfig


@dataclass(frozen=True)
class Group:
    """This process among all."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def writer(self) -> bool:
        """Whether this process writes files and progress."""
        return self.rank == 0

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Average gradients over processes, in place."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Means of figures over processes; all have the same names."""
        if self.world == 1:
            return values
        tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return dict(zip(values, (tensor / self.world).tolist(), strict=True))

    def from_writer(self, value: float) -> float:
        """The writer's value, for what all must agree on, such as its clock."""
        if self.world == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return float(tensor)

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.world == 1:
            return flag
        tensor = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return bool(tensor.item())

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            dist.barrier()

    def leave(self) -> None:
        """End the communication."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(config: TrainConfig) -> Group:
    """Join the processes that `torchrun` started, if it did; choose the device."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if config.device:
        try:
            device = torch.device(config.device)
        except RuntimeError as error:
            raise SettingError(f"device is {config.device!r}; it must be cpu, cuda or cuda:N") from error
    else:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError("no CUDA device is at hand; leave --device out to train on the CPU")
    if world == 1:
        return Group(device=device)
    for part in config.parts:
        if part.batch % (world * config.accumulate):
            raise SettingError(
                f"a batch of {part.batch} clips cannot be divided over {world} processes, "
                f"{config.accumulate} micro-steps each"
            )
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Group(dist.get_rank(), world, device)


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes together."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape; statistics in float32."""
        if not self.training:
            return super().forward(x)
        kind = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if kind != torch.float64 else x
            count = wide.new_tensor([wide.numel() / wide.shape[1]])
            sums = _sum_over_processes(torch.cat([wide.sum(dim=(0, 2, 3)), count]))
            total = sums[-1]
            mean = sums[:-1] / total
            centred = wide - mean[None, :, None, None]
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
    """Sum over processes; what flows back to each is the sum of what all received."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The gradient of each process's share."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)
    return total


def share_batchnorm(model: nn.Module) -> None:
    """Turn every BatchNorm of a model into the shared kind, in place; weights and names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm


def unshare_batchnorm(model: nn.Module) -> None:
    """The inverse of `share_batchnorm`: for a copy that one process uses alone."""
    for module in model.modules():
        if isinstance(module, SharedBatchNorm):
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
