"""Two gloo processes with two clips each against one process with four: the same gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from crwedge.model.checkpoint import load_tensors, save_tensors
from crwedge.train.batches import batches
from crwedge.train.config_file import dump_config, read_config
from crwedge.train.machines import SharedBatchNorm, join, share_batchnorm, unshare_batchnorm
from crwedge.train.objective import batch_loss, build_model
from crwedge.train.source import open_clips
from tests.unit.train.conftest import small

ROOT = Path(__file__).parents[3]


def gradients(config_file: str, out: str) -> None:
    """One step's gradients of this process's share of a batch, averaged over all processes."""
    torch.set_num_threads(1)
    config = read_config(config_file)
    group = join(config)
    torch.manual_seed(config.seed)
    # In double precision, so that what differs is not the order of rounding.
    model = build_model(config).double()
    if group.world > 1:
        share_batchnorm(model)
    source, _ = open_clips(config)
    batch = next(batches(source, config, start=0, rank=group.rank, world=group.world))
    batch.views = batch.views.double()
    batch.colours = batch.colours.double()
    batch_loss(model, batch, config)[0].loss.backward()
    group.average(model.parameters())
    if group.writer:
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        save_tensors(Path(out), found | dict(model.named_buffers()), {})
    group.leave()


def start(config: Path, out: Path, rank: int, world: int, port: int) -> subprocess.Popen[bytes]:
    code = f"from tests.unit.train.test_machines import gradients; gradients({str(config)!r}, {str(out)!r})"
    environment = os.environ | {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT)


def test_two_processes_have_the_gradients_of_one(clips: Path, tmp_path: Path, free_port: int) -> None:
    config = small(videos=str(clips), batch=4, edge_dropout=0.2, colour=0.2, device="cpu")
    (tmp_path / "c.toml").write_text(dump_config(config))
    one = start(tmp_path / "c.toml", tmp_path / "one.safetensors", 0, 1, free_port)
    two = [start(tmp_path / "c.toml", tmp_path / "two.safetensors", rank, 2, free_port) for rank in (0, 1)]
    assert [process.wait(900) for process in (one, *two)] == [0, 0, 0]
    a, b = (load_tensors(tmp_path / f"{name}.safetensors")[0] for name in ("one", "two"))
    assert a.keys() == b.keys()
    for name in a:
        scale = float(a[name].abs().max()) + 1e-12
        assert float((a[name] - b[name]).abs().max()) <= 1e-5 * max(scale, 1.0), name


def test_shared_batchnorm_alone_is_batchnorm() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(4)).double()
    shared = nn.Sequential(nn.BatchNorm2d(4)).double()
    share_batchnorm(shared)
    assert isinstance(shared[0], SharedBatchNorm)
    shared.eval()
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(shared(x), plain.eval()(x))
    unshare_batchnorm(shared)
    torch.testing.assert_close(shared.train()(x), plain.train()(x))
