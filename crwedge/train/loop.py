"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from crwedge.core.errors import SettingError, UserError
from crwedge.model.checkpoint import load_encoder, save_encoder
from crwedge.model.encoder import Encoder
from crwedge.model.nodes import NodeEncoder
from crwedge.runtime.events import silent
from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.shutdown import graceful_shutdown
from crwedge.train.batches import batches
from crwedge.train.calibrate import calibrated
from crwedge.train.caption import CAPTION
from crwedge.train.config import TrainConfig
from crwedge.train.curve import write_curve
from crwedge.train.distributed import init
from crwedge.train.ema import follow
from crwedge.train.journal import Journal, Meter, trim_metrics
from crwedge.train.objective import Objective, build_model
from crwedge.train.open_clips import index_data, open_clips
from crwedge.train.picture import transitions_picture
from crwedge.train.precision import resolved
from crwedge.train.probe import Footage, open_probe
from crwedge.train.schedule import learning_rate, progress
from crwedge.train.start import first_line, run_folder
from crwedge.train.state import Progress, load_run, save_run, saved_steps
from crwedge.train.workers import LoaderError


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


def train(
    config: TrainConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    recipe: str = "",
    on_event: Callable[..., None] = silent,
) -> Fitted:
    """Run one training; `crwedge.fit` is the public way to it.

    Args:
        config: all settings.
        out: folder of the run; `runs/<date and time>` by default.
        resume: go on from the newest checkpoint in `out`.
        recipe: name of the settings, for the first line.
        on_event: see `Journal`.

    Raises:
        UserError: bad data, bad settings, a checkpoint that does not fit, a full disk; or DivergedError, LoaderError.
    """
    if config.run.threads > 0:
        torch.set_num_threads(config.run.threads)
    context = init(config.run.device, config.data.batch)
    config = replace(config, run=resolved(config.run, context.device))
    run, rate_of = config.run, config.optimiser
    folder = _run_folder(out, resume, context.is_main)
    torch.manual_seed(run.seed)
    model = build_model(config.encoder)
    if config.encoder.start_from:
        model.encoder.load_weights(load_encoder(config.encoder.start_from)[0].state_dict())
    model.to(context.device)
    forward = context.wrap(model)
    ema = copy.deepcopy(model) if rate_of.ema > 0 else None
    parameters = list(model.parameters())
    optimiser = torch.optim.AdamW(parameters, rate_of.learning_rate, rate_of.betas, weight_decay=rate_of.weight_decay)
    at = load_run(folder, model, ema, optimiser) if resume else Progress()
    if context.is_main:
        trim_metrics(folder, at.step)
    context.barrier()

    stop = StopToken()
    with (
        run_folder(folder, config, is_main=context.is_main),
        graceful_shutdown(stop),
        Journal(folder, active=context.is_main, on_event=on_event) as journal,
        contextlib.ExitStack() as closing,
    ):
        probe = open_probe(run.probe) if context.is_main and (run.probe_every or run.probe) else None
        data = index_data(config.data, context.rank, context.world)
        if data or config.data.synthetic:
            journal.log(first_line(config, data, context.device, recipe))
        source, broken = open_clips(config.data, run.seed, data, rank=context.rank, world=context.world)
        journal.broken(dict(broken))
        stream = closing.enter_context(
            contextlib.closing(batches(source, config, start=at.step, rank=context.rank, world=context.world))
        )
        objective = Objective(config.views, config.walk, config.encoder, run.precision)
        meter, metrics = Meter(), {}
        started, before = time.perf_counter(), at.seconds
        share, saved = progress(at.step, at.seconds, run), at.step if resume else -1
        model.train()

        while share < 1 and not context.any(stop.is_set()):
            try:
                batch = next(stream)
            except LoaderError:
                if stop.is_set() and context.world == 1:
                    break  # the signal ended the workers too
                if context.is_main and at.step > saved:
                    save_run(folder, at, model, ema, optimiser)
                raise
            journal.broken(batch.broken)
            rate = learning_rate(at.step, share, rate_of)
            for settings in optimiser.param_groups:
                settings["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            statistics = [buffer.clone() for buffer in model.buffers()]
            result, nodes = objective(forward, batch.to(context.device))
            result.loss.backward()
            loss = float(result.loss.detach())
            norm = float(nn.utils.clip_grad_norm_(parameters, rate_of.clip_norm or math.inf))
            if context.any(not math.isfinite(norm) or not math.isfinite(loss)):
                # The weights are those of the last good step; the statistics of BatchNorm have to be put back.
                for buffer, value in zip(model.buffers(), statistics, strict=True):
                    buffer.copy_(value)
                if context.is_main:
                    save_run(folder, at, model, ema, optimiser)
                raise DivergedError(
                    f"the loss or its gradient is not finite at step {at.step + 1}; the weights of step {at.step} are kept "
                    f"in {folder}: lower learning_rate, set clip_norm, or use precision = float32, and --resume"
                )
            optimiser.step()
            if ema is not None:
                follow(ema, model, rate_of.ema, at.step)
            returns = {f"return/{s}": float(value) for s, value in result.accuracy.items()}
            meter.add(loss=loss, **returns, clips=len(batch.views) * context.world)
            at.step += 1
            at.seconds = context.from_main(before + time.perf_counter() - started)
            share = progress(at.step, at.seconds, run)

            ending = share >= 1
            left = (at.seconds - before) * (1 - share) / max(share - progress(0, before, run), 1e-9)
            journal.step(at.step, share, left, loss)
            if at.step % run.log_every == 0 or ending:
                metrics = {**context.mean(meter.take()), "learning_rate": rate, "gradient_norm": norm}
                due = run.probe_every and (at.step % run.probe_every < run.log_every or ending)
                if due and probe is not None and not isinstance(probe, Footage):
                    metrics["probe/J"] = probe.score(_plain(ema or model), run.precision)
                journal.metrics(at.step, left, metrics)
            early = at.step == min(run.log_every, run.picture_every)
            if run.picture_every and (early or at.step % run.picture_every == 0) and context.is_main:
                path = folder / f"picture-{at.step:08d}.png"
                journal.picture(at.step, transitions_picture(batch, nodes.detach(), config.walk), path, CAPTION)
                if early:
                    journal.log(f"picture: {path} (where the walk goes; one every {run.picture_every} steps)")
            if at.step % run.save_every == 0 and not ending and context.is_main:
                save_run(folder, at, model, ema, optimiser)
                _write_encoder(folder, _plain(ema or model), config, at)
                saved = at.step
                if isinstance(probe, Footage):
                    _score_footage(probe, _plain(ema or model), config, at, journal)
                    write_curve(folder)

        closing.close()
        if context.is_main:
            if saved != at.step:
                save_run(folder, at, model, ema, optimiser)
            final = _plain(ema or model)
            if run.calibrate and share >= 1:
                journal.log("computing the BatchNorm statistics on whole frames")
                final = calibrated(final, source, run)
            _write_encoder(folder, final, config, at)
            if isinstance(probe, Footage) and at.step:
                metrics = {**metrics, **_score_footage(probe, final, config, at, journal)}
            write_curve(folder)
            word, hint = (
                ("done", f"; next: crwedge export {folder}") if share >= 1 else ("stopped; --resume goes on", "")
            )
            journal.log(f"{word}: {at.step} steps, {folder / 'encoder.safetensors'}{hint}")
        skipped = journal.skipped
    context.barrier()
    context.close()
    return Fitted(folder / "encoder.safetensors", at.step, share >= 1, metrics, skipped)


def _run_folder(out: str | Path | None, resume: bool, is_main: bool) -> Path:
    """Where the run goes. A run that stands there is only ever resumed."""
    folder = Path(out) if out is not None else Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    if is_main and resume and out is None:
        raise SettingError("--resume needs --out RUN, the folder of the run to go on with")
    if is_main and not resume and saved_steps(folder):
        raise SettingError(f"{folder} holds a run already; add --resume to go on with it, or choose another --out")
    return folder


def _plain(model: NodeEncoder) -> Encoder:
    """A copy of a model's encoder for one process, in evaluation mode."""
    encoder = Encoder(model.encoder.config)
    encoder.load_state_dict(model.encoder.state_dict())
    weight = next(model.parameters())
    return encoder.to(weight.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _score_footage(
    probe: Footage, encoder: Encoder, config: TrainConfig, at: Progress, journal: Journal
) -> dict[str, float]:
    """Score without labels, log and record it."""
    score = probe.score(encoder, config.run.precision)
    if len(score.clips) < 2:
        journal.log(f"step {at.step}  the footage of the probe shows no regions to follow")
        return {}
    values = {"probe/cycle": score.mean, "probe/cycle_error": score.error}
    journal.log(f"step {at.step}  score without labels {100 * score.mean:.1f} +- {100 * score.error:.1f}")
    journal.record(at.step, values)
    return values


def _write_encoder(folder: Path, encoder: Encoder, config: TrainConfig, at: Progress) -> None:
    if config.data.synthetic:
        data = "rendered scenes" if config.data.synthetic == "scenes" else "noise"
    else:
        data = "unlabelled video" if config.data.videos else "unlabelled pictures"
    start_from = config.encoder.start_from
    start = f"the weights {Path(start_from).name}" if start_from else "random weights"
    save_encoder(
        folder / "encoder.safetensors",
        encoder,
        name=folder.resolve().name,
        weights_from=f"crwedge train on {data}, {at.step} steps from {start}, no labels",
        trained=at.step > 0 or bool(start_from),
    )
