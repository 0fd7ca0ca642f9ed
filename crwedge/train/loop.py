"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from crwedge.core.errors import SettingError, UserError
from crwedge.model.checkpoint import load_encoder, save_encoder
from crwedge.model.encoder import Encoder
from crwedge.model.nodes import NodeEncoder
from crwedge.train.batches import batches
from crwedge.train.calibrate import calibrated
from crwedge.train.caption import CAPTION
from crwedge.train.config import TrainConfig
from crwedge.train.ema import follow
from crwedge.train.items import Catalogue
from crwedge.train.machines import join, share_batchnorm, unshare_batchnorm
from crwedge.train.objective import batch_loss, build_model
from crwedge.train.picture import transitions_picture
from crwedge.train.precision import resolved
from crwedge.train.probe import open_probe, probe_score
from crwedge.train.report import Journal, Meter, trim_metrics
from crwedge.train.schedule import learning_rate, progress
from crwedge.train.source import open_clips
from crwedge.train.start import first_line, run_folder
from crwedge.train.state import Progress, load_run, save_run, saved_steps
from crwedge.train.stop import Stop
from crwedge.train.threads import Threads


class DivergedError(UserError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Fitted:
    """What a run came to. Also a path: that of the encoder it wrote."""

    checkpoint: Path
    """`encoder.safetensors` of the run."""
    steps: int
    """Updates done, over all sittings."""
    finished: bool
    """False when a signal ended it early; `resume` goes on."""
    metrics: dict[str, float]
    """The last report."""
    skipped: int
    """Files that could not be read."""

    def __fspath__(self) -> str:
        """For `open`, `Path` and `export_bundle`."""
        return str(self.checkpoint)


def fit(
    config: TrainConfig, out: str | Path | None = None, *, resume: bool = False, quiet: bool = False, recipe: str = ""
) -> Fitted:
    """Learn an encoder from unlabelled video.

    Args:
        config: all settings.
        out: folder of the run; `runs/<date and time>` by default.
        resume: go on from the newest checkpoint in `out`.
        quiet: no lines on stderr.
        recipe: name of the settings, for the first line.

    Returns:
        Where the encoder is, and the last figures.

    Raises:
        UserError: bad data, bad settings, a checkpoint that does not fit, a full disk; or DivergedError.
    """
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    threads = Threads(torch.get_num_threads()) if config.threads < 0 else None
    group = join(config)
    config = resolved(config, group.device)
    folder = _run_folder(out, resume, group.writer)
    torch.manual_seed(config.seed)
    model = build_model(config)
    if config.start_from:
        model.encoder.load_weights(load_encoder(config.start_from)[0].state_dict())
    model.to(group.device)
    if group.world > 1 and config.sync_batchnorm:
        share_batchnorm(model)
    ema = copy.deepcopy(model) if config.ema > 0 else None
    parameters = list(model.parameters())
    optimiser = torch.optim.AdamW(parameters, config.learning_rate, config.betas, weight_decay=config.weight_decay)
    at = load_run(folder, model, ema, optimiser) if resume else Progress()
    if group.writer:
        trim_metrics(folder, at.step)
    group.wait()

    with (
        run_folder(folder, config, writer=group.writer),
        Stop() as stop,
        Journal(folder, active=group.writer, quiet=quiet) as journal,
    ):
        probe = open_probe(config.probe) if config.probe_every and group.writer else None
        last_said = [time.perf_counter()]

        def decoded(done: int, total: int) -> None:
            if time.perf_counter() - last_said[0] > 5 or done == total:
                last_said[0] = time.perf_counter()
                journal.say(f"holding frames in memory: {done} of {total} files")

        def found(videos: Catalogue, images: Catalogue) -> None:
            journal.say(first_line(config, videos, images, group.device, recipe))

        source, broken = open_clips(config, rank=group.rank, world=group.world, report=decoded, listed=found)
        journal.broken(dict(broken))
        forward = torch.compile(model) if config.compile else model
        stream = batches(source, config, start=at.step, rank=group.rank, world=group.world)
        meter, metrics = Meter(), {}
        started, before = time.perf_counter(), at.seconds
        share, saved = progress(at.step, at.seconds, config), at.step if resume else -1
        model.train()

        while share < 1 and not group.any(stop.asked):
            rate = learning_rate(at.step, share, config)
            for settings in optimiser.param_groups:
                settings["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            statistics = [buffer.clone() for buffer in model.buffers()]
            for _ in range(config.accumulate):
                batch = next(stream)
                journal.broken(batch.broken)
                result, nodes = batch_loss(forward, batch.to(group.device), config)
                (result.loss / config.accumulate).backward()
                returns = {f"return/{s}": float(value) for s, value in result.accuracy.items()}
                meter.add(loss=float(result.loss.detach()), **returns, clips=len(batch.views) * group.world)
            group.average(parameters)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm or math.inf))
            if group.any(not math.isfinite(norm) or not math.isfinite(float(result.loss.detach()))):
                # The weights are those of the last good step; the statistics of BatchNorm have to be put back.
                for buffer, value in zip(model.buffers(), statistics, strict=True):
                    buffer.copy_(value)
                if group.writer:
                    save_run(folder, at, model, ema, optimiser, config.keep)
                raise DivergedError(
                    f"the loss or its gradient is not finite at step {at.step + 1}; the weights of step {at.step} are "
                    f"kept in {folder}: lower learning_rate, set clip_norm, or use precision = float32, and --resume"
                )
            optimiser.step()
            if ema is not None:
                follow(ema, model, config.ema, at.step)
            at.step += 1
            if threads is not None:
                threads.step(before + time.perf_counter() - started - at.seconds)
            at.seconds = group.from_writer(before + time.perf_counter() - started)
            share = progress(at.step, at.seconds, config)

            ending = share >= 1
            left = (at.seconds - before) * (1 - share) / max(share - progress(0, before, config), 1e-9)
            journal.alive(at.step, share, left, float(result.loss.detach()))
            if at.step % config.log_every == 0 or ending:
                metrics = {**group.mean(meter.take()), "learning_rate": rate, "gradient_norm": norm}
                if probe is not None and (at.step % config.probe_every < config.log_every or ending):
                    metrics["probe/J"] = probe_score(_plain(ema or model), probe, config.precision)
                journal.metrics(at.step, share, left, metrics)
            early = at.step == min(config.log_every, config.picture_every)
            if config.picture_every and (early or at.step % config.picture_every == 0) and group.writer:
                path = folder / f"picture-{at.step:08d}.png"
                journal.picture(at.step, transitions_picture(batch, nodes.detach(), config), path, CAPTION)
                if early:
                    journal.say(f"picture: {path} (where the walk goes; one every {config.picture_every} steps)")
            if at.step % config.save_every == 0 and not ending and group.writer:
                save_run(folder, at, model, ema, optimiser, config.keep)
                _write_encoder(folder, _plain(ema or model), config, at)
                saved = at.step

        if group.writer:
            if saved != at.step:
                save_run(folder, at, model, ema, optimiser, config.keep)
            journal.say("gathering the statistics of BatchNorm on whole frames") if config.calibrate else None
            final = calibrated(
                _plain(ema or model),
                source,
                frames=config.calibrate if share >= 1 else 0,
                side=config.calibrate_side,
                precision=config.precision,
                seed=config.seed,
            )
            _write_encoder(folder, final, config, at)
            word = "done" if share >= 1 else "stopped; --resume goes on"
            journal.say(f"{word}: {at.step} steps, {folder / 'encoder.safetensors'}")
        skipped = journal.skipped
    group.wait()
    group.leave()
    return Fitted(folder / "encoder.safetensors", at.step, share >= 1, metrics, skipped)


def _run_folder(out: str | Path | None, resume: bool, writer: bool) -> Path:
    """Where the run goes. A run that stands there is only ever resumed."""
    folder = Path(out) if out is not None else Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    if writer and resume and out is None:
        raise SettingError("--resume needs --out RUN, the folder of the run to go on with")
    if writer and not resume and saved_steps(folder):
        raise SettingError(f"{folder} holds a run already; add --resume to go on with it, or choose another --out")
    return folder


def _plain(model: NodeEncoder) -> Encoder:
    """A copy of a model's encoder for one process, in evaluation mode."""
    encoder = copy.deepcopy(model.encoder)
    unshare_batchnorm(encoder)
    return encoder.eval()


def _write_encoder(folder: Path, encoder: Encoder, config: TrainConfig, at: Progress) -> None:
    if config.synthetic:
        data = "rendered scenes" if config.synthetic == "scenes" else "noise"
    else:
        data = "unlabelled video" if config.videos else "unlabelled pictures"
    start = f"the weights {Path(config.start_from).name}" if config.start_from else "random weights"
    save_encoder(
        folder / "encoder.safetensors",
        encoder,
        name=folder.resolve().name,
        weights_from=f"crwedge train on {data}, {at.step} steps from {start}, no labels",
        trained=at.step > 0 or bool(config.start_from),
    )
