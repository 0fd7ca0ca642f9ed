"""A job: one video, its mask and everything that decides its result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from crwedge.core.bundle import Bundle
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.session_options import SessionOptions

VIDEO_OPTIONS = ("size", "start", "reverse", "skip_damaged", "max_frames", "resize_mask", "confidence")
"""Fields of `SessionOptions` that decide the result of one video."""


@dataclass(frozen=True)
class Job:
    """What is done with one video. All values are plain, so that a job is a line of JSON."""

    name: str
    """Folder of the results, relative to that of the batch; parts are separated by `/`."""
    video: str
    """Absolute path, or a URI that fsspec reads."""
    mask: str
    """As `video`; empty where there is none."""
    model: str
    """Folder of the bundle, or `shipped`."""
    model_sha256: str
    """Of the encoder's ONNX file. Another one is refused."""
    engine: str = "auto"
    settings: dict[str, Any] = field(default_factory=dict)
    """`PropagationSettings.to_dict`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Those of `VIDEO_OPTIONS` that differ from their defaults."""
    save: tuple[str, ...] = ("masks",)
    """Outputs, relative to the folder of the results; see `open_sink`."""
    source_sha256: str = ""
    """What the video has to be; empty where anything will do."""
    mask_sha256: str = ""
    """What the mask has to be; empty where anything will do."""
    problem: str = ""
    """Why this video cannot be run, where the plan knows it already."""
    own: tuple[str, ...] = ()
    """Names of the options and settings that were given for this video alone."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that only the plan needs."""
        values = asdict(self)
        del values["own"], values["problem"]
        return {**values, "save": list(self.save)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """From plain values; values of a record that a job does not have are ignored."""
        known = {f.name for f in fields(cls)}
        job = cls(**{name: value for name, value in values.items() if name in known})
        return replace(job, save=tuple(job.save), own=tuple(job.own))

    def session_options(self, bundle: Bundle, threads: int | None) -> SessionOptions:
        """The options of the session that runs this job."""
        given = dict(self.options)
        if given.get("size") is not None:
            given["size"] = (int(given["size"][0]), int(given["size"][1]))
        settings = PropagationSettings.from_dict(self.settings)
        return SessionOptions(model=bundle, engine=self.engine, settings=settings, threads=threads, **given)

    def differences(self, record: dict[str, Any]) -> list[str]:
        """Names of what would make another result than the one that `record` tells of; the files are not looked at."""
        mine, theirs = self.to_dict(), Job.from_dict(record).to_dict()
        found = [name for name in ("video", "mask", "model_sha256", "save") if mine[name] != theirs[name]]
        for group in ("settings", "options"):
            a, b = mine[group], theirs[group]
            found += sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
        return found
