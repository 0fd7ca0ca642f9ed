"""Fine-tuning on one window, with a way back. To be read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from crwedge.adapt.settings import TestTimeSettings
from crwedge.adapt.shrink import shrink
from crwedge.adapt.window import PROBE, Picture, draw_batch, loss_config, split_window
from crwedge.model.encoder import Encoder
from crwedge.model.nodes import NodeEncoder
from crwedge.train.objective import Objective, build_model


@dataclass(frozen=True)
class Outcome:
    """What came of a window."""

    updates: int
    seconds: float
    loss: float
    """Of the last update."""
    held_before: float
    """Cycle error (the walk's loss) on the held frames, before the updates."""
    held_after: float
    undone: str
    """Why the weights were put back; empty when the updates were kept."""


class FineTuner:
    """An encoder that follows a video, window by window."""

    def __init__(self, encoder: Encoder, settings: TestTimeSettings) -> None:
        """Start from `encoder`, which is not changed."""
        self.settings = settings
        self.config = loss_config(settings, encoder.config)
        with torch.random.fork_rng(devices=[]):  # the random weights that are replaced at once
            self.model: NodeEncoder = build_model(self.config.encoder, replace(encoder.config, stage="res3"))
        config = self.config
        self.objective = Objective(config.views, config.walk, config.encoder, config.run.precision)
        self.model.encoder.load_weights(encoder.state_dict())
        self.device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device, torch.float64 if settings.precision == "float64" else torch.float32)
        for name, parameter in self.model.encoder.named_parameters():
            trained = settings.layers == "all" or name.startswith("layer3.")
            parameter.requires_grad_(trained and not name.startswith("whiten."))
        self._first = copy.deepcopy(self.model.state_dict())

    def run(
        self, frames: Sequence[Picture], index: int, on_progress: Callable[[int, float], None] = lambda *_: None
    ) -> Outcome:
        """Fine-tune on a window; the weights are those before it where that went wrong.

        Args:
            frames: RGB uint8 (H, W, 3) of one size, in order; at least two.
            index: of the frame that the window belongs to; what is drawn follows from it and the seed alone.
            on_progress: called with each update's number and loss.
        """
        settings, model = self.settings, self.model
        started = time.perf_counter()
        frames = [shrink(frame, settings.short_side) for frame in frames]
        train, held = split_window(frames, settings.hold_every)
        good = copy.deepcopy(model.state_dict())
        if settings.restart:
            model.load_state_dict(self._first)
        optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], settings.learning_rate)
        first, loss, update, undone = math.nan, math.nan, 0, ""
        # Kornia draws from the global generator, which belongs to the caller.
        with torch.random.fork_rng(devices=[]):
            before = self.cycle_error(held, index)
            model.train(settings.batchnorm == "adapt")
            while update < settings.updates:
                begun = time.perf_counter()
                batch = draw_batch(train, settings, self.config, index, update).to(self.device)
                result, _ = self.objective(model, batch)
                loss = float(result.loss.detach())
                first = loss if update == 0 else first
                on_progress(update, loss)
                if not math.isfinite(loss) or loss > settings.explode * first:
                    undone = f"the loss went from {first:.3g} to {loss:.3g} in {update} updates"
                    break
                optimiser.zero_grad(set_to_none=True)
                result.loss.backward()
                optimiser.step()
                update += 1
                now = time.perf_counter()
                if settings.budget_ms and 1e3 * (now - started) >= settings.budget_ms:
                    break
                if settings.duty < 1 and not settings.synchronous:
                    time.sleep((now - begun) * (1 / settings.duty - 1))
            after = self.cycle_error(held, index)
        if not undone and not after <= before * (1 + settings.tolerance):
            undone = f"the cycle error on held frames went from {before:.3g} to {after:.3g}"
        if undone:
            model.load_state_dict(good)
        return Outcome(update, time.perf_counter() - started, loss, before, after, undone)

    @torch.no_grad()
    def cycle_error(self, frames: Sequence[Picture], index: int) -> float:
        """The walk's loss on clips that are never trained on, with the statistics that the engine will use."""
        self.model.eval()
        batch = draw_batch(frames, self.settings, self.config, index, PROBE).to(self.device)
        result, _ = self.objective(self.model, batch)
        return float(result.loss)

    def encoder(self) -> Encoder:
        """A copy of the encoder as it is now, on the CPU, in evaluation mode."""
        return copy.deepcopy(self.model.encoder).cpu().float().eval()
