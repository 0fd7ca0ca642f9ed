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
from crwedge.train.distributed import init
from crwedge.train.objective import Objective, build_model
from crwedge.train.open_clips import open_clips
from crwedge.train.sync_batchnorm import CpuSyncBatchNorm, sync_batchnorm
from tests.unit.train.conftest import small

ROOT = Path(__file__).parents[3]


def gradients(config_file: str, out: str) -> None:
    """One step's gradients of a batch, of which this process computes its share."""
    torch.set_num_threads(1)
    config = read_config(config_file)
    context = init(config.run.device, config.data.batch)
    torch.manual_seed(config.run.seed)
    # In double precision, so that what differs is not the order of rounding.
    model = build_model(config.encoder).double()
    forward = context.wrap(model)
    source, _ = open_clips(config.data)
    batch = next(batches(source, config, start=0, rank=context.rank, world=context.world))
    batch.views = batch.views.double()
    batch.colours = batch.colours.double()
    objective = Objective(config.views, config.walk, config.encoder, config.run.precision)
    objective(forward, batch)[0].loss.backward()
    if context.is_main:
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        save_tensors(Path(out), found | dict(model.named_buffers()), {})
    context.close()


def start(config: Path, out: Path, rank: int, world: int, port: int) -> subprocess.Popen[bytes]:
    code = f"from tests.unit.train.test_distributed import gradients; gradients({str(config)!r}, {str(out)!r})"
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


def test_synced_batchnorm_in_evaluation_is_batchnorm() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(4)).double().eval()
    synced = sync_batchnorm(nn.Sequential(nn.BatchNorm2d(4)).double(), torch.device("cpu")).eval()
    assert isinstance(next(iter(synced.children())), CpuSyncBatchNorm)
    assert synced.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(synced(x), plain(x))
