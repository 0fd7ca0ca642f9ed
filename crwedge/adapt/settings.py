"""Every setting of test-time training. Frozen and checked; no PyTorch, so that the command line can read it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from crwedge.core.described import described
from crwedge.core.errors import SettingError

Mode = Literal["causal", "lookahead"]
ContextRule = Literal["keep", "recompute"]
BatchNorm = Literal["frozen", "adapt"]
Layers = Literal["all", "last"]
Nodes = Literal["map", "patches"]
Precision = Literal["float32", "bfloat16", "float64"]

_CHOICES = {
    "mode": get_args(Mode),
    "context": get_args(ContextRule),
    "batchnorm": get_args(BatchNorm),
    "layers": get_args(Layers),
    "nodes": get_args(Nodes),
    "precision": get_args(Precision),
}
_AT_LEAST = {
    "m": 1,
    "every": 1,
    "updates": 1,
    "clips": 1,
    "clip_length": 0,
    "gap": 1,
    "size": 32,
    "short_side": 32,
    "hold_every": 0,
    "rollbacks": 1,
    "threads": 1,
    "nice": 0,
    "memory_mb": 0,
    "budget_ms": 0,
    "seed": 0,
}
_POSITIVE = ("learning_rate", "temperature", "explode", "patience")


@described
@dataclass(frozen=True)
class TestTimeSettings:
    """How the encoder follows the video. The defaults fit the shipped encoder; `appendix()` is the paper's own."""

    __test__ = False  # no test case, whatever its name begins with

    # When, and on what.
    mode: Mode = "causal"
    """`causal`: frame t and the 2m before it. `lookahead`: t-m .. t+m, the appendix's own; masks come m frames late."""
    m: int = 10
    """Half the window: 2m + 1 frames."""
    every: int = 5
    """Frames between two windows."""
    updates: int = 100
    """Of the weights, in each window."""
    learning_rate: float = 1e-4
    """Of Adam, which starts anew in each window."""
    restart: bool = False
    """Whether each window starts from the bundle's weights; otherwise from those of the window before."""
    synchronous: bool = False
    """Train in the tracking process before the frame is labelled: the appendix to the letter, and deterministic."""
    context: ContextRule = "recompute"
    """What becomes of the context's features when the weights change. `recompute` encodes its frames again, beside the
    frame path where training is; features of old and new weights do not compare well (docs/test-time-training.md)."""

    # What is learnt.
    batchnorm: BatchNorm = "frozen"
    """`frozen`: the statistics are those of the bundle. `adapt`: those of the batch, and running ones that move."""
    layers: Layers = "last"
    """`last`: res3 alone, at less cost; a good encoder gains from it, and loses where all its layers are trained. A weak one
    gains more from `all` (docs/test-time-training.md)."""

    # The loss (see crwedge.train.config, where each of these has the same name but `clips` and `gap`).
    nodes: Nodes = "map"
    clips: int = 4
    """Clips an update."""
    clip_length: int = 2
    """Frames of a clip; 0 takes the whole window as one clip."""
    gap: int = 4
    """Most frames from one frame of a clip to the next: each clip draws 1 .. gap."""
    size: int = 128
    """Side of the square that is cut from a frame, in pixels."""
    short_side: int = 192
    """Frames are shrunk to this short side first."""
    temperature: float = 0.03
    edge_dropout: float = 0.1
    scale: tuple[float, float] = (0.1, 1.0)
    ratio: float = 1.25
    rotation: float = 15.0
    colour: float = 0.1
    precision: Precision = "float32"
    """Of training. float64 is for comparing implementations: Adam's first steps are all of one length, so that where a
    gradient is nearly zero the rounding of float32 decides which way a weight goes."""
    seed: int = 0

    # Safety.
    hold_every: int = 5
    """Every so many frames of a window one is kept from training, to measure the cycle error on; 0 keeps none."""
    tolerance: float = 0.05
    """The cycle error may grow by this share before the window's updates are undone."""
    explode: float = 4.0
    """A loss above so many times the window's first undoes them too."""
    rollbacks: int = 3
    """After so many windows undone, training ends."""
    budget_ms: float = 0.0
    """Milliseconds of training in each window; 0: no limit."""
    duty: float = 1.0
    """Share of the time in which the trainer computes; below 1 it rests after each update."""
    patience: float = 60.0
    """Seconds without a sign from the trainer's process after which it is ended."""
    memory_mb: int = 4096
    """Memory of the trainer's process above which it is ended; 0: no limit."""
    threads: int = 1
    """Of the trainer's process."""
    nice: int = 10
    """How far its priority is lowered."""
    device: str = ""
    """cpu, cuda, cuda:1; by default a GPU if there is one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for item in fields(self):
            object.__setattr__(self, item.name, _coerce(item.name, getattr(self, item.name), item.default))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        for name, low in _AT_LEAST.items():
            if getattr(self, name) < low:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        for name in _POSITIVE:
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise SettingError(f"{name} is {getattr(self, name)}; it must be a finite number above 0")
        if not 0 < self.duty <= 1:
            raise SettingError(f"duty is {self.duty}; it must be a share above 0 and at most 1")
        if not self.tolerance >= 0:
            raise SettingError(f"tolerance is {self.tolerance}; it must be at least 0")
        if self.nodes == "patches" and self.clip_length == 1:
            raise SettingError("clip_length 1 leaves patches no frame to walk to; take 2 or more, or 0 for the window")

    @classmethod
    def appendix(cls, **changes: Any) -> TestTimeSettings:
        """Section H with the values of appendix E: the whole window is one clip of patches, every frame is trained on.

        The paper trains on res4 and a head; a bundle holds the encoder up to res3, so the nodes are res3 here. It says
        nothing of features computed before the weights changed: they are kept here.
        """
        paper: dict[str, Any] = {
            "mode": "lookahead",
            "context": "keep",
            "layers": "all",
            "nodes": "patches",
            "clips": 1,
            "clip_length": 0,
            "size": 256,
            "short_side": 256,
            "temperature": 0.07,
            "scale": (1.0, 1.0),
            "ratio": 1.0,
            "rotation": 0.0,
            "colour": 0.0,
            "hold_every": 0,
        }
        return cls(**{**paper, **changes})

    def with_changes(self, **changes: Any) -> TestTimeSettings:
        """A checked copy; SettingError names a setting that does not exist."""
        unknown = sorted(set(changes) - {item.name for item in fields(self)})
        if unknown:
            names = ", ".join(item.name for item in fields(self))
            raise SettingError(f"unknown setting of test-time training {unknown[0]!r}; there are {names}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def parse_changes(words: Iterable[str]) -> dict[str, Any]:
    """`updates=50 layers=last` -> {"updates": 50, "layers": "last"}; SettingError for what is no key=value."""
    import json

    changes: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name.strip():
            raise SettingError(f"{word!r} is not key=value, such as updates=50")
        try:
            changes[name.strip()] = json.loads(text)
        except ValueError:
            changes[name.strip()] = text.strip()
    return changes


def parse_budget(text: str) -> dict[str, float]:
    """`800`, `800ms` or `2s` (training in each window) or `25%` (share of the time) as settings."""
    word = text.strip().lower()
    try:
        if word.endswith("%"):
            return {"duty": float(word[:-1]) / 100}
        if word.endswith("ms"):
            return {"budget_ms": float(word[:-2])}
        return {"budget_ms": 1e3 * float(word[:-1]) if word.endswith("s") else float(word)}
    except ValueError:
        raise SettingError(
            f"the budget {text!r} is neither milliseconds for each window (800, 800ms, 2s) nor a duty cycle (25%)"
        ) from None


def _coerce(name: str, value: Any, default: Any) -> Any:
    """Lists become tuples and whole numbers floats where the setting says so; other kinds are refused."""
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) != 2 or not 0 < value[0] <= value[1] <= 1:
            raise SettingError(f"{name} is {value!r}; it must be two rising shares between 0 and 1")
        return tuple(float(item) for item in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise SettingError(f"{name} is {value!r}; it must be a {type(default).__name__}")
    return value
