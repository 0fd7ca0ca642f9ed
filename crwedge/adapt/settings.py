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
    """How the encoder follows the video. The defaults fit the shipped encoder; `appendix()` is the paper's own."""

    __test__ = False  # no test case, whatever its name begins with

    # When, and on what.
    mode: Mode = "causal"
    """`causal`: frame t and the 2m before it. `lookahead`: t-m .. t+m, the appendix's own; masks come m frames late."""
    m: int = bounded(10, min=1)
    """Half the window: 2m + 1 frames."""
    every: int = bounded(5, min=1)
    """Frames between two windows."""
    updates: int = bounded(100, min=1)
    """Of the weights, in each window."""
    learning_rate: float = bounded(1e-4, above=0)
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
    clips: int = bounded(4, min=1)
    """Clips an update."""
    clip_length: int = bounded(2, min=0)
    """Frames of a clip; 0 takes the whole window as one clip."""
    gap: int = bounded(4, min=1)
    """Most frames from one frame of a clip to the next: each clip draws 1 .. gap."""
    size: int = bounded(128, min=32)
    """Side of the square that is cut from a frame, in pixels."""
    short_side: int = bounded(192, min=32)
    """Frames are shrunk to this short side first."""
    temperature: float = bounded(0.03, above=0)
    edge_dropout: float = 0.1
    scale: tuple[float, float] = bounded((0.1, 1.0), above=0, max=1, rising=True)
    ratio: float = 1.25
    rotation: float = 15.0
    colour: float = 0.1
    precision: Precision = "float32"
    """Of training. float64 is for comparing implementations: Adam's first steps are all of one length, so that where a
    gradient is nearly zero the rounding of float32 decides which way a weight goes."""
    seed: int = bounded(0, min=0)

    # Safety.
    hold_every: int = bounded(5, min=0)
    """Every so many frames of a window one is kept from training, to measure the cycle error on; 0 keeps none."""
    tolerance: float = bounded(0.05, min=0)
    """The cycle error may grow by this share before the window's updates are undone."""
    explode: float = bounded(4.0, above=0)
    """A loss above so many times the window's first undoes them too."""
    rollbacks: int = bounded(3, min=1)
    """After so many windows undone, training ends."""
    budget_ms: float = bounded(0.0, min=0)
    """Milliseconds of training in each window; 0: no limit."""
    duty: float = bounded(1.0, above=0, max=1)
    """Share of the time in which the trainer computes; below 1 it rests after each update."""
    patience: float = bounded(60.0, above=0)
    """Seconds without a sign from the trainer's process after which it is ended."""
    memory_mb: int = bounded(4096, min=0)
    """Memory of the trainer's process above which it is ended; 0: no limit."""
    threads: int = bounded(1, min=1)
    """Of the trainer's process."""
    nice: int = bounded(10, min=0)
    """How far its priority is lowered."""
    device: str = ""
    """cpu, cuda, cuda:1; by default a GPU if there is one."""

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
    """`updates=50 layers=last` -> {"updates": 50, "layers": "last"}; SettingError for what is no key=value."""
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
