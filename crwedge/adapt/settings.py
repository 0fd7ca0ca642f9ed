"""Every setting of test-time training. Frozen and checked; no PyTorch, so that the command line can read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described
from crwedge.core.errors import SettingError
from crwedge.core.json_text import parse_json

Mode = Literal["causal", "lookahead"]
ContextRule = Literal["keep", "recompute"]
BatchNorm = Literal["frozen", "adapt"]
Layers = Literal["all", "last"]
Nodes = Literal["map", "patches"]
Precision = Literal["float32", "bfloat16", "float64"]


@described
@dataclass(frozen=True)
class TestTimeSettings(Checked):
    """Settings of test-time training. The defaults fit the shipped encoder; `appendix()` has the paper's values."""

    __test__ = False  # no test case, whatever its name begins with

    # When, and on what.
    mode: Mode = "causal"
    """`causal`: train on frame t and the 2m before it. `lookahead`: on t-m .. t+m, as in the appendix; m frames late."""
    m: int = bounded(10, min=1)
    """A window has 2m + 1 frames."""
    every: int = bounded(5, min=1)
    """Frames between two windows."""
    updates: int = bounded(100, min=1)
    """Updates of the weights in each window."""
    learning_rate: float = bounded(1e-4, above=0)
    """Learning rate of Adam, whose state is reset in each window."""
    restart: bool = False
    """Start each window from the bundle's weights, not from those of the window before."""
    synchronous: bool = False
    """Train in the tracking process before the frame is labelled: deterministic, as in the appendix, and slow."""
    context: ContextRule = "recompute"
    """The context's features when the weights change. `recompute`: its frames are encoded again, outside the frame path.
    `keep`: they stay, although features of old and new weights do not match well (docs/test-time-training.md)."""

    # What is learnt.
    batchnorm: BatchNorm = "frozen"
    """`frozen`: the statistics of the bundle. `adapt`: the statistics of the batch, which also update the running ones."""
    layers: Layers = "last"
    """Layers that are trained. `last`: only res3, which costs less and suits a good encoder. `all`: every layer, which
    suits a weak encoder (docs/test-time-training.md)."""

    # The loss (see crwedge.train.config, where each of these has the same name but `clips` and `gap`).
    nodes: Nodes = "map"
    """Nodes of the walk: `map` (cells of a feature map) or `patches`."""
    clips: int = bounded(4, min=1)
    """Clips per update."""
    clip_length: int = bounded(2, min=0)
    """Frames of a clip; 0 takes the whole window as one clip."""
    gap: int = bounded(4, min=1)
    """Largest distance between two frames of a clip: each clip draws 1 .. gap."""
    size: int = bounded(128, min=32)
    """Side of the square that is cut from a frame, in pixels."""
    short_side: int = bounded(192, min=32)
    """Frames are shrunk to this short side first."""
    temperature: float = bounded(0.03, above=0)
    """tau of the walk."""
    edge_dropout: float = 0.1
    """Share of the edges cut before the softmax."""
    scale: tuple[float, float] = bounded((0.1, 1.0), above=0, max=1, rising=True)
    """Area of a view, as a share of the largest square in the frame."""
    ratio: float = 1.25
    """Width to height of a view, from 1/ratio to ratio."""
    rotation: float = 15.0
    """Largest rotation of a view, in degrees."""
    colour: float = 0.1
    """Strength of the jitter of brightness, contrast and saturation."""
    precision: Precision = "float32"
    """Precision of training. float64 is for comparing implementations: where a gradient is nearly zero, the rounding of
    float32 decides the sign of Adam's first steps."""
    seed: int = bounded(0, min=0)
    """Seed of all random choices."""

    # Safety.
    hold_every: int = bounded(5, min=0)
    """One frame in this many is held out of training, to measure the cycle error; 0 holds out none."""
    tolerance: float = bounded(0.05, min=0)
    """If the cycle error grows by more than this share, the window's updates are undone."""
    explode: float = bounded(4.0, above=0)
    """If the loss exceeds this many times the window's first loss, the updates are undone too."""
    rollbacks: int = bounded(3, min=1)
    """Training ends after this number of undone windows."""
    budget_ms: float = bounded(0.0, min=0)
    """Milliseconds of training in each window; 0: no limit."""
    duty: float = bounded(1.0, above=0, max=1)
    """Share of the time in which the trainer computes; below 1 it pauses after each update."""
    patience: float = bounded(60.0, above=0)
    """The trainer's process is ended after this many seconds without a message from it."""
    memory_mb: int = bounded(4096, min=0)
    """The trainer's process is ended if its memory exceeds this many MB; 0: no limit."""
    threads: int = bounded(1, min=1)
    """Threads of the trainer's process."""
    nice: int = bounded(10, min=0)
    """Niceness of the trainer's process."""
    device: str = ""
    """Device of training: cpu, cuda or cuda:1; by default a GPU if there is one."""

    def __post_init__(self) -> None:
        """Check types, choices and bounds."""
        super().__post_init__()
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
    """`updates=50 layers=last` -> {"updates": 50, "layers": "last"}; SettingError for what is not key=value."""
    changes: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name.strip():
            raise SettingError(f"{word!r} is not key=value, such as updates=50")
        try:
            changes[name.strip()] = parse_json(text)
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
