"""Paint a mask once, follow it on any camera.

From mask to masks:

    import crwedge as cw
    with cw.Tracker.open() as tracker, cw.open_source("camera0") as frames, cw.open_sink("masks/") as sink:
        mask = cw.read_mask("init.png")
        for frame in frames:
            labels = tracker.step(frame, mask)      # a mask may come with any frame
            mask = None
            sink.write(labels)

`docs/` says more; names below are resolved on first use, so that `import crwedge` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from crwedge.core.privacy import turn_off_telemetry

if TYPE_CHECKING:
    from crwedge.adapt.settings import TestTimeSettings as TestTimeSettings
    from crwedge.adapt.trainer import TestTimeTrainer as TestTimeTrainer
    from crwedge.core.bundle import Bundle as Bundle
    from crwedge.core.errors import CrwedgeError as CrwedgeError
    from crwedge.core.joints import FrameJoints as FrameJoints
    from crwedge.core.joints import read_joints as read_joints
    from crwedge.core.labels import LabelMap as LabelMap
    from crwedge.core.masks import read_mask as read_mask
    from crwedge.core.masks import resize_mask as resize_mask
    from crwedge.core.scene import render_scene as render_scene
    from crwedge.core.settings import PropagationSettings as PropagationSettings
    from crwedge.core.settings import preset as preset
    from crwedge.cycle.check import check as check
    from crwedge.eval.evaluate import evaluate as evaluate
    from crwedge.export.build import export_bundle as export_bundle
    from crwedge.runtime.adapter import Adapter as Adapter
    from crwedge.runtime.backends.engine import Engine as Engine
    from crwedge.runtime.backends.open import open_engine as open_engine
    from crwedge.runtime.frame_queue import StopToken as StopToken
    from crwedge.runtime.observer import Observer as Observer
    from crwedge.runtime.offline import propagate as propagate
    from crwedge.runtime.propagation.context import ContextBuffer as ContextBuffer
    from crwedge.runtime.propagation.propagator import LabelPropagator as LabelPropagator
    from crwedge.runtime.session import Session as Session
    from crwedge.runtime.session_options import SessionOptions as SessionOptions
    from crwedge.runtime.sinks.base import MaskSink as MaskSink
    from crwedge.runtime.sinks.open import open_sink as open_sink
    from crwedge.runtime.sources.frame import Frame as Frame
    from crwedge.runtime.sources.frame import FrameSource as FrameSource
    from crwedge.runtime.sources.frame_range import FrameRange as FrameRange
    from crwedge.runtime.sources.open import open_source as open_source
    from crwedge.runtime.stream import run_stream as run_stream
    from crwedge.runtime.tracker import Tracker as Tracker
    from crwedge.runtime.tracker_options import TrackerOptions as TrackerOptions
    from crwedge.studies.run import run_study as run_study
    from crwedge.train.config import TrainConfig as TrainConfig
    from crwedge.train.fit import fit as fit
    from crwedge.train.loop import Fitted as Fitted

__version__ = "0.1.0"

# Before anything can import ONNX Runtime, which sends telemetry from version 1.29 on.
turn_off_telemetry()

_HOME = {
    "Adapter": "crwedge.runtime.adapter",
    "Bundle": "crwedge.core.bundle",
    "ContextBuffer": "crwedge.runtime.propagation.context",
    "CrwedgeError": "crwedge.core.errors",
    "Engine": "crwedge.runtime.backends.engine",
    "Fitted": "crwedge.train.loop",
    "Frame": "crwedge.runtime.sources.frame",
    "FrameJoints": "crwedge.core.joints",
    "FrameRange": "crwedge.runtime.sources.frame_range",
    "FrameSource": "crwedge.runtime.sources.frame",
    "LabelMap": "crwedge.core.labels",
    "LabelPropagator": "crwedge.runtime.propagation.propagator",
    "MaskSink": "crwedge.runtime.sinks.base",
    "Observer": "crwedge.runtime.observer",
    "PropagationSettings": "crwedge.core.settings",
    "Session": "crwedge.runtime.session",
    "SessionOptions": "crwedge.runtime.session_options",
    "StopToken": "crwedge.runtime.frame_queue",
    "TestTimeSettings": "crwedge.adapt.settings",
    "TestTimeTrainer": "crwedge.adapt.trainer",
    "Tracker": "crwedge.runtime.tracker",
    "TrackerOptions": "crwedge.runtime.tracker_options",
    "check": "crwedge.cycle.check",
    "TrainConfig": "crwedge.train.config",
    "evaluate": "crwedge.eval.evaluate",
    "export_bundle": "crwedge.export.build",
    "fit": "crwedge.train.fit",
    "open_engine": "crwedge.runtime.backends.open",
    "open_sink": "crwedge.runtime.sinks.open",
    "open_source": "crwedge.runtime.sources.open",
    "preset": "crwedge.core.settings",
    "propagate": "crwedge.runtime.offline",
    "read_joints": "crwedge.core.joints",
    "read_mask": "crwedge.core.masks",
    "render_scene": "crwedge.core.scene",
    "resize_mask": "crwedge.core.masks",
    "run_stream": "crwedge.runtime.stream",
    "run_study": "crwedge.studies.run",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `import crwedge` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
