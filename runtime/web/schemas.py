"""The bodies of the API. They are checked strictly: what is not asked for is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from crwedge.runtime.web.limits import MOST_OBJECTS, MOST_POINTS


def _whole(value: Any) -> Any:
    """3.0 is a whole number to JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Coordinate = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]


class Body(BaseModel):
    """A body of a request."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Problem(BaseModel):
    """What is wrong and how to cure it, in one sentence."""

    detail: str


class Login(Body):
    """The token that the server printed at its start."""

    token: Annotated[str, StringConstraints(max_length=200)]


class Freeze(Body):
    """What to hold: the newest frame of a stream, or a frame of a film."""

    frame: Annotated[int, Field(ge=0, le=2**31), BeforeValidator(_whole)] | None = None


class Held(BaseModel):
    """A held frame."""

    frame_id: str
    width: int
    height: int
    index: int


class Point(Body):
    """A click, in pixels of the frame."""

    x: Coordinate
    y: Coordinate
    positive: bool = True


class Selection(Body):
    """What to select."""

    points: Annotated[
        list[Point],
        Field(
            min_length=1,
            max_length=MOST_POINTS,
            json_schema_extra={"contains": {"type": "object", "properties": {"positive": {"const": True}}}},
        ),
    ]
    tolerance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5

    @field_validator("points")
    @classmethod
    def _one_is_positive(cls, points: list[Point]) -> list[Point]:
        if not any(point.positive for point in points):
            raise ValueError("click on the object first; negative clicks come after a positive one")
        return points


class ObjectName(Body):
    """Name and colour of an object."""

    id: Annotated[int, Field(ge=1, le=MOST_OBJECTS), BeforeValidator(_whole)]
    name: Annotated[str, StringConstraints(max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


class Apply(Body):
    """Whether what was painted takes the place of all that is followed."""

    replace: bool = False


class Recording(Body):
    """Whether to record."""

    on: bool


class Propagate(Body):
    """Where to begin and which way to go."""

    frame_id: Annotated[str, StringConstraints(max_length=16, pattern=r"^[0-9a-f]+$")]
    direction: Literal["forward", "backward", "both"] = "both"


class Done(BaseModel):
    """The frame that a command was carried out with; null while it waits."""

    index: int | None


class Draft(BaseModel):
    """The frame that was painted on last and not applied yet."""

    frame_id: str | None
    revision: int


class Source(BaseModel):
    """Where frames come from."""

    name: str
    live: bool
    width: int
    height: int
    frames: int | None
    fps: float | None


class Model(BaseModel):
    """The encoder and its protocol."""

    name: str
    preset: str


class SeenObject(BaseModel):
    """An object and what is known of it in the newest frame."""

    id: int
    name: str
    color: str
    state: Literal["ok", "recovering", "lost", "searching"] | None
    confidence: float | None
    area: int


class FrameTime(BaseModel):
    """Number of a frame, and when it came, in seconds since 1970."""

    index: int
    time: float | None


class Job(BaseModel):
    """A propagation that runs."""

    done: int
    total: int
    direction: Literal["forward", "backward", "both"]


class State(BaseModel):
    """The state for the page."""

    source: Source
    model: Model
    mode: Literal["track", "paint"]
    tracking: bool
    recording: bool
    recorded_frames: int
    recording_error: str | None
    objects: list[SeenObject]
    frame: FrameTime | None
    region: Annotated[list[int], Field(min_length=4, max_length=4)] | None
    fps: float
    latency_ms: float | None
    dropped: int
    viewers: int
    viewer_drops: int
    revision: int
    job: Job | None


class Moment(BaseModel):
    """What is known of one object in one frame."""

    state: Literal["ok", "recovering", "lost", "searching"] | None
    confidence: float | None
    area: int


class TimelineFrame(BaseModel):
    """What is known of all objects in one frame."""

    index: int
    time: float | None
    objects: dict[str, Moment]


class Frames(BaseModel):
    """The newest labelled frames, 10,000 at most."""

    frames: list[TimelineFrame]


class Labelled(BaseModel):
    """Which frames of a film have labels: first and last of each run, and those that were painted."""

    labelled: list[Annotated[list[int], Field(min_length=2, max_length=2)]]
    painted: list[int]
