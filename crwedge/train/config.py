"""Every setting of training, with its meaning. One flat table: file, flags and `--set` all use these names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from crwedge.core.described import described
from crwedge.core.errors import SettingError
from crwedge.core.images import IMAGENET_MEAN, IMAGENET_STD
from crwedge.model.encoder import EncoderConfig

CHOICES: dict[str, tuple[str, ...]] = {
    "synthetic": ("", "scenes", "noise"),
    "nodes": ("patches", "map"),
    "views": ("shared", "own"),
    "architecture": ("resnet18", "resnet50"),
    "padding": ("zeros", "reflect", "none"),
    "stage": ("res3", "res4"),
    "schedule": ("cosine", "constant", "plateau"),
    "precision": ("auto", "float32", "bfloat16"),
}


@described
@dataclass(frozen=True)
class Part:
    """One kind of step in a mixture: steps are divided among the parts by their shares."""

    clip_length: int = 4
    """T: frames of a clip. 1 needs `views = "own"`: the walk goes from one view of a frame to another."""
    batch: int = 4
    """Clips a step, over all machines and micro-steps together."""
    share: float = 1.0
    """How often, against the other parts."""
    frame_rates: tuple[float, ...] = (8.0,)
    """Frames a second of the clips, one drawn for each; infinite repeats one frame."""
    stills: float = 0.0
    """Share of the clips that are one photograph (or one frame of a video) repeated."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        object.__setattr__(self, "frame_rates", tuple(float(rate) for rate in self.frame_rates))
        if self.clip_length < 1 or self.batch < 1 or self.share <= 0 or not 0 <= self.stills <= 1:
            raise SettingError("a part of the mixture needs clip_length >= 1, batch >= 1, share > 0 and stills in 0..1")
        if not self.frame_rates or any(math.isnan(rate) or rate <= 0 for rate in self.frame_rates):
            raise SettingError("frame_rates must hold numbers above 0 (inf repeats one frame)")


@described
@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is learnt. Frozen and checked; the resolved table is saved with each run."""

    # What is watched.
    videos: tuple[str, ...] = ()
    """Video files, folders of them, folders of frames, text lists of paths, WebDataset .tar shards, in any mix."""
    images: tuple[str, ...] = ()
    """Photographs or folders of them, for clips made of one picture."""
    synthetic: Literal["", "scenes", "noise"] = ""
    """Rendered scenes, or videos of noise (a control of appendix C), in place of files."""
    weights: dict[str, float] = field(default_factory=dict)
    """How often files are drawn: file name pattern (`surveillance*`) -> factor, the first that fits."""
    length_power: float = 0.0
    """A video is drawn in proportion to its duration to this power: 0 all alike, 1 every second alike."""
    folder_rate: float = 24.0
    """Frames a second of folders of frames."""
    in_memory: bool = False
    """Decode once, at `memory_rate`, and hold the small frames instead of decoding clips when they are needed."""
    memory_rate: float = 8.0
    """Frames a second that are held."""
    memory_frames: int = 0
    """At most so many frames of a video are held, from its start on; 0 holds all."""
    cache: str = ""
    """Folder where held frames are kept for the next run; by default under ~/.cache/crwedge."""
    short_side: int = 256
    """Frames are decoded to this short side, in pixels (never enlarged)."""
    workers: int = 2
    """Processes that decode and cut; 0 does it in the training process."""

    # Clips.
    clip_length: int = 4
    """T. Ignored, with batch, frame_rates and stills, where a mixture is given."""
    batch: int = 4
    """Clips a step, over all machines and micro-steps together."""
    frame_rates: tuple[float, ...] = (8.0,)
    """Frames a second of the clips (2, 4, 8, 30, inf)."""
    stills: float = 0.0
    """Share of the clips that are one picture repeated (infinite frame rate)."""
    mixture: tuple[Part, ...] = ()
    """Several kinds of steps in one run, as [[mixture]] tables."""
    reverse: float = 0.0
    """Share of the clips that run backwards."""

    # How frames are cut.
    size: int = 256
    """Side of the square that is cut from a frame, in pixels."""
    views: Literal["shared", "own"] = "shared"
    """`shared`: one cut for all frames of a clip. `own`: every frame has its own, and frame 1 has two."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Area of the cut, as a share of the largest square."""
    middle_scale: tuple[float, float] = (0.5, 1.0)
    """The same for frames 2..T with their own views."""
    ratio: float = 1.0
    """Width to height of the cut, from 1/ratio to ratio."""
    rotation: float = 0.0
    """Largest turn, in degrees either way."""
    flip: float = 0.5
    """Share of the cuts that are mirrored."""
    shift: float = 0.3
    """Own views lie around the first one: how far, as a share of its side."""
    colour: float = 0.0
    """Strength of the jitter of brightness, contrast and saturation."""
    grey: float = 0.0
    """Share of the views in grey."""
    occlude: float = 0.0
    """Own views: share of a view, at most, that boxes of another frame cover. Covered cells do not count; those beside them
    have to be known by themselves, whatever lies around."""
    warp: float = 0.0
    """Own views: strength of a smooth random warp of each view, as a share of the distance between its control points."""
    objects: int = 0
    """Own views: parts of other frames that move over each clip by themselves, and are followed."""
    object_area: float = 0.25
    """Share of the first view, at most, that each of them takes."""
    motion_blur: float = 0.0
    """Own views: share of the views and of the objects in them that are blurred along a line."""
    blur: float = 0.0
    """Share of the frames that are blurred (a control of appendix C)."""

    # Nodes and walk.
    nodes: Literal["patches", "map"] = "patches"
    """`patches`: cut and encoded one by one (the paper). `map`: cells of one feature map (appendix C)."""
    patch_size: int = 64
    """Side of a patch in pixels."""
    patch_stride: int = 32
    """Distance of patches in pixels."""
    jitter_scale: tuple[float, float] = (0.7, 0.9)
    """Area of the random crop of each patch."""
    jitter_ratio: tuple[float, float] = (0.7, 1.3)
    """Its width to height."""
    map_crop: int = 0
    """Cells left out at each border of a feature map; -1: as many as can see the border."""
    dim: int = 128
    """d: length of the embedding, where there is a head."""
    head: int = 1
    """Layers of the head between features and embedding; 0: the features are the embedding."""
    temperature: float = 0.07
    """tau of the transitions."""
    across_clips: bool = False
    """Whether the nodes of the batch's other clips are negatives of that step too."""
    edge_dropout: float = 0.1
    """Share of the edges cut, in each direction."""

    # Encoder.
    architecture: Literal["resnet18", "resnet50"] = "resnet18"
    """As in table 4."""
    padding: Literal["zeros", "reflect", "none"] = "zeros"
    """`none` is a control of appendix C: convolutions without padding during training."""
    stage: Literal["res3", "res4"] = "res4"
    """The stage that is trained; propagation reads res3."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of RGB in 0..1, subtracted from the input."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Of RGB in 0..1, the input is divided by it."""
    start_from: str = ""
    """An encoder checkpoint to begin with, in place of random weights."""

    # Optimisation.
    steps: int = 100_000
    """Updates of the weights."""
    minutes: float = 0.0
    """Above 0: the run lasts this long and the schedule follows the clock; not reproducible."""
    learning_rate: float = 1e-4
    """Of Adam, after the warm-up."""
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    """After the warm-up. `plateau` is constant and falls linearly over the last part of the run (`decay`), so that a run
    can be resumed with fewer steps left. cosine and plateau end at `final_rate`."""
    decay: float = 0.2
    """Share of the run, at its end, over which the plateau schedule falls."""
    final_rate: float = 0.02
    """Last learning rate, as a share of the first."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam."""
    weight_decay: float = 0.0
    """Decoupled (AdamW)."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0: no limit."""
    accumulate: int = 1
    """Micro-steps whose gradients are averaged into one update; the batch is divided among them."""
    ema: float = 0.0
    """Decay of a running mean of the weights, which is then the encoder that is written; 0: none."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the encoder's convolutions; softmax and logarithms are float32 always. `auto`: bfloat16 where the processor has
    instructions for it (AMX, AVX512-BF16, or the GPU's own)."""
    compile: bool = False
    """torch.compile the encoder."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass: less memory, a third more work."""
    sync_batchnorm: bool = True
    """With several processes, share the statistics of BatchNorm, so that the result equals one process's."""

    # The run.
    seed: int = 0
    """Two runs with one seed are equal."""
    log_every: int = 20
    """Steps between two lines of progress."""
    save_every: int = 500
    """Steps between two checkpoints."""
    keep: int = 3
    """Checkpoints kept."""
    probe: str = ""
    """A labelled clip: a folder with JPEGImages/ and Annotations/; by default a rendered scene."""
    probe_every: int = 500
    """Steps between two probes; 0: none."""
    picture_every: int = 500
    """Steps between two pictures of patches with their strongest transitions; 0: none."""
    calibrate: int = 40
    """Whole frames on which the BatchNorm statistics of the written encoder are gathered anew; 0: left as trained."""
    calibrate_side: int = 480
    """Short side of these frames, in pixels."""
    threads: int = 0
    """Threads of PyTorch; 0: its own choice; -1: all or one, whichever is faster at the moment (not reproducible)."""
    device: str = ""
    """cpu, cuda, cuda:1; by default the GPU if there is one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for item in fields(self):
            value = getattr(self, item.name)
            object.__setattr__(self, item.name, _coerce(item.name, value, item.default))
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                options = ", ".join(repr(choice) for choice in allowed)
                raise SettingError(f"{name} is {getattr(self, name)!r}; it must be one of {options}")
        for name in (
            "clip_length",
            "batch",
            "size",
            "patch_size",
            "patch_stride",
            "steps",
            "accumulate",
            "keep",
            "dim",
        ):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("temperature", "learning_rate", "memory_rate", "folder_rate"):
            if not getattr(self, name) > 0 or math.isinf(getattr(self, name)):
                raise SettingError(f"{name} is {getattr(self, name)}; it must be a finite number above 0")
        for name in (
            "edge_dropout",
            "stills",
            "reverse",
            "flip",
            "grey",
            "blur",
            "ema",
            "colour",
            "occlude",
            "warp",
            "motion_blur",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")
        for name in ("scale", "middle_scale", "jitter_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise SettingError(f"{name} is {[low, high]}; it must be two rising shares between 0 and 1")
        for name in ("decay", "object_area"):
            if not 0 < getattr(self, name) <= 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be above 0 and at most 1")
        if not 0 <= self.objects <= 200:
            raise SettingError(f"objects is {self.objects}; it must be from 0 to 200")
        if self.views == "shared" and (self.occlude or self.warp or self.objects or self.motion_blur):
            raise SettingError('occlude, warp, objects and motion_blur need views = "own"')
        if self.ratio < 1:
            raise SettingError(f"ratio is {self.ratio}; it must be at least 1")
        if self.nodes == "patches" and self.patch_size > self.size:
            raise SettingError(f"patch_size {self.patch_size} is larger than the frame's side, size {self.size}")
        if self.nodes == "patches" and (self.views == "own" or self.padding == "none"):
            raise SettingError('views = "own" and padding = "none" need nodes = "map"')
        if self.padding == "none" and self.views == "own":
            raise SettingError('padding = "none" is a control for views = "shared"')
        for part in self.parts:
            if part.batch % self.accumulate:
                raise SettingError(
                    f"a batch of {part.batch} clips cannot be divided into {self.accumulate} micro-steps"
                )
            if part.clip_length == 1 and self.views == "shared":
                raise SettingError('clip_length 1 needs views = "own": a walk over one shared view goes nowhere')

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mixture, or the one part that the plain settings describe."""
        plain = Part(self.clip_length, self.batch, 1.0, self.frame_rates, self.stills)
        return self.mixture or (plain,)

    @property
    def encoder(self) -> EncoderConfig:
        """The encoder that is trained."""
        padding: Literal["zeros", "reflect"] = "zeros" if self.padding == "none" else self.padding
        return EncoderConfig(self.architecture, padding, self.stage, self.mean, self.std)


def _coerce(name: str, value: Any, default: Any) -> Any:
    """Lists become tuples and whole numbers floats where the setting says so; other kinds are refused."""
    if name == "mixture":
        try:
            return tuple(part if isinstance(part, Part) else Part(**part) for part in value)
        except TypeError as error:
            raise SettingError(
                f"a mixture holds tables with {', '.join(f.name for f in fields(Part))}: {error}"
            ) from error
    if name == "weights":
        return {str(key): float(factor) for key, factor in dict(value).items()}
    if isinstance(default, tuple):
        value = (value,) if isinstance(value, str | int | float) else tuple(value)
        if name in ("videos", "images"):
            return tuple(str(item) for item in value)
        if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
            raise SettingError(f"{name} is {list(value)}; it must hold numbers")
        if name != "frame_rates" and len(value) != len(default):
            raise SettingError(f"{name} is {list(value)}; it needs {len(default)} numbers")
        return tuple(float(item) for item in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise SettingError(f"{name} is {value!r}; it must be a {type(default).__name__}")
    return value
