"""Training on several processes under `torchrun`, by `DistributedDataParallel`: the same result as one process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from crwedge.core.errors import SettingError
from crwedge.train.sync_batchnorm import sync_batchnorm


@dataclass(frozen=True)
class DistributedContext:
    """This process among all."""

    rank: int = 0
    world: int = 1
    """Number of processes."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and progress."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to call in place of the model: gradients and BatchNorm's statistics are those of the whole batch."""
        if self.world == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(sync_batchnorm(model, self.device), device_ids=devices)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Means of figures over processes; all have the same names."""
        if self.world == 1:
            return values
        tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return dict(zip(values, (tensor / self.world).tolist(), strict=True))

    def from_main(self, value: float) -> float:
        """The main process's value, for what all must agree on, such as its clock."""
        if self.world == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return float(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        tensor = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return bool(tensor.item())

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        """End the communication."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def init(device: str, batch: int) -> DistributedContext:
    """Connect the processes that `torchrun` started, if it did, and choose the device.

    Args:
        device: cpu, cuda, cuda:1; "" takes the GPU if there is one.
        batch: clips of a step, over all processes.

    Raises:
        SettingError: there is no such device, or the batch cannot be divided.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if device:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise SettingError(f"device is {device!r}; it must be cpu, cuda or cuda:N") from error
    else:
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise SettingError("no CUDA device is at hand; leave --device out to train on the CPU")
    if world == 1:
        return DistributedContext(device=chosen)
    if batch % world:
        raise SettingError(f"a batch of {batch} clips cannot be divided over {world} processes; change data.batch")
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return DistributedContext(dist.get_rank(), world, chosen)
