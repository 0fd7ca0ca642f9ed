"""Every setting of training, with its meaning: six groups, which are the tables of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from crwedge.core.checked import Checked
from crwedge.core.described import described
from crwedge.core.errors import SettingError
from crwedge.train.data_config import DataConfig
from crwedge.train.encoder_config import TrainedEncoderConfig
from crwedge.train.optimiser_config import OptimiserConfig
from crwedge.train.run_config import RunConfig
from crwedge.train.views_config import ViewsConfig
from crwedge.train.walk_config import WalkConfig

GROUPS: dict[str, type[Checked]] = {
    "data": DataConfig,
    "views": ViewsConfig,
    "walk": WalkConfig,
    "encoder": TrainedEncoderConfig,
    "optimiser": OptimiserConfig,
    "run": RunConfig,
}
NAMES = {table: tuple(item.name for item in fields(group)) for table, group in GROUPS.items()}  # type: ignore[arg-type]
"""Table -> names of its settings."""
TABLE_OF = {name: table for table, names in NAMES.items() for name in names}
"""Setting -> its table. A name stands in one table only."""


@described
@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is learnt. Frozen and checked; the resolved tables are saved with each run."""

    data: DataConfig = field(default_factory=DataConfig)
    """What clips are drawn from, and how."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """How views are cut from frames."""
    walk: WalkConfig = field(default_factory=WalkConfig)
    """Nodes and walk."""
    encoder: TrainedEncoderConfig = field(default_factory=TrainedEncoderConfig)
    """The network."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """How the weights move."""
    run: RunConfig = field(default_factory=RunConfig)
    """Length, device, precision, and what is written."""

    def __post_init__(self) -> None:
        """Check what depends on more than one group."""
        own = self.views.mode == "own"
        if self.walk.nodes == "patches" and self.walk.patch_size > self.views.size:
            raise SettingError(
                f"walk.patch_size {self.walk.patch_size} is larger than the view's side, views.size {self.views.size}"
            )
        if self.walk.nodes == "patches" and (own or self.encoder.padding == "none"):
            raise SettingError('views.mode = "own" and encoder.padding = "none" need walk.nodes = "map"')
        if self.encoder.padding == "none" and own:
            raise SettingError('encoder.padding = "none" is a control for views.mode = "shared"')
        if self.data.clip_length == 1 and not own:
            raise SettingError('data.clip_length 1 needs views.mode = "own": a walk needs two frames or two views')

    def changes(self) -> dict[str, Any]:
        """Settings that differ from their defaults, by name; plain values."""
        default = TrainConfig()
        pairs = ((name, getattr(self, table), getattr(default, table)) for name, table in TABLE_OF.items())
        return {name: getattr(own, name) for name, own, usual in pairs if getattr(own, name) != getattr(usual, name)}

    def with_changes(self, **changes: Any) -> TrainConfig:
        """A checked copy with other values of single settings, by name: `with_changes(temperature=0.05, batch=8)`.

        Raises:
            SettingError: there is no such setting, or the value is not allowed.
        """
        tables: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            if name not in TABLE_OF:
                raise SettingError(f"unknown setting {name!r}; `crwedge train --settings` lists them all")
            tables.setdefault(TABLE_OF[name], {})[name] = value
        return replace(self, **{table: replace(getattr(self, table), **values) for table, values in tables.items()})
