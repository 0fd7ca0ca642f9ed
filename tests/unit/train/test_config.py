from __future__ import annotations

import importlib
import inspect
import math
from dataclasses import fields
from pathlib import Path

import pytest

from crwedge.core.errors import SettingError
from crwedge.train.config import GROUPS, NAMES, TABLE_OF, TrainConfig
from crwedge.train.config_file import RENAMED, describe, dump_config, read_config

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "crwedge" / "train" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_read_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = read_config(path)
    (tmp_path / "again.toml").write_text(dump_config(config))
    assert read_config(tmp_path / "again.toml") == config


def test_shipped_configurations_have_names() -> None:
    assert read_config("paper").encoder.padding == "reflect"
    assert read_config("default", videos=("x",)).views.mode == "own"


def test_file_then_set_then_flags(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[run]\nsteps = 5\n[walk]\ntemperature = 0.05\n[data.weights]\n"a*" = 2\n')
    words = ["steps=6", "encoder.padding=reflect", "frame_rates=[2, inf]"]
    config = read_config(path, words, steps=7, batch=None)
    assert (config.run.steps, config.walk.temperature, config.encoder.padding) == (7, 0.05, "reflect")
    assert config.data.frame_rates == (2.0, math.inf)
    assert config.data.weights == {"a*": 2.0}


def test_a_flat_file_of_an_earlier_version_is_converted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "old.toml"
    path.write_text(
        'views = "own"\nnodes = "map"\nocclude = 0.3\nwarp = 0.8\ncolour = 0.05\nmiddle_scale = [0.4, 1.0]\n'
        'across_clips = true\nflip = 0.5\naccumulate = 1\nmixture = []\n[weights]\n"droid*" = 0.35\n'
    )
    with caplog.at_level("INFO", "crwedge"):
        config = read_config(path)
    assert (config.views.mode, config.views.cutmix, config.views.warp) == ("own", 0.3, 0.8)
    assert (config.views.inner_scale, config.walk.cross_clip_negatives) == ((0.4, 1.0), True)
    assert config.data.weights == {"droid*": 0.35}
    assert "occlude to views.cutmix" in caplog.text
    assert read_config(tmp_path / "old.toml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flip = 0.0", "'flip' is gone, training uses 0.5"),
        ("[[mixture]]\nclip_length = 2", "'mixture' is gone"),
        ("speed = 3", "unknown setting 'speed'"),
        ("[walk]\nlearning_rate = 0.1", "belongs to the table [optimiser]"),
        ("[views]\nocclude = 0.1", "called views.cutmix now"),
    ],
)
def test_a_file_with_a_wrong_name_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SettingError) as caught:
        read_config(tmp_path / "c.toml")
    assert message in str(caught.value)
    assert "\n" not in caught.value.args[0]


@pytest.mark.parametrize("old", RENAMED)
def test_every_renamed_setting_names_its_new_key(old: str) -> None:
    with pytest.raises(SettingError, match=f"{TABLE_OF[RENAMED[old]]}.{RENAMED[old]}"):
        read_config(None, [f"{old}=1"])


def test_no_function_sees_more_than_its_groups() -> None:
    """Only the loop and what joins groups take the whole configuration; a function of the views takes ViewsConfig."""
    whole = {"loop", "fit", "config", "config_file", "start", "batches"}
    seen: dict[str, set[str]] = {}
    for path in (ROOT / "crwedge" / "train").glob("*.py"):
        module = importlib.import_module(f"crwedge.train.{path.stem}") if path.stem != "__init__" else None
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != f"crwedge.train.{path.stem}":
                continue
            types = {str(parameter.annotation) for parameter in inspect.signature(function).parameters.values()}
            assert path.stem in whole or "TrainConfig" not in types, f"{path.stem}.{name} takes the whole TrainConfig"
            seen[f"{path.stem}.{name}"] = types
    for name in (
        "views.draw_maps",
        "objects.draw_layer",
        "objects.overlay",
        "objects.paste_boxes",
        "batches.draw_colours",
    ):
        assert {kind for kind in seen[name] if kind.endswith("Config")} == {"ViewsConfig"}
    assert "OptimiserConfig" in seen["schedule.learning_rate"]


def test_a_setting_stands_in_one_table_only() -> None:
    names = [name for group in NAMES.values() for name in group]
    assert len(names) == len(set(names))
    assert set(GROUPS) == {item.name for item in fields(TrainConfig)}
    assert all(group.table == table for table, group in GROUPS.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz=1", "unknown setting 'stepz'"),
        ("nodes=cells", "walk.nodes is 'cells'; it must be one of 'patches', 'map'"),
        ("steps=0", "at least 1"),
        ("steps=many", "must be a whole number"),
        ("temperature=0", "above 0"),
        ("frame_rates=[-1]", "above 0"),
        ("mode=own", 'need walk.nodes = "map"'),
        ("clip_length=1", "needs two frames or two views"),
        ("scale=[0.9, 0.2]", "rising"),
        ("accumulate=3", "'accumulate' is gone"),
        ("threads=-1", "at least 0"),
        ("views.temperature=1", "belongs to the table [walk]"),
        ("steps", "not key=value"),
    ],
)
def test_what_cannot_be_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_config(None, [text])
    assert message in str(caught.value)
    assert "\n" not in caught.value.args[0]


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="No such file"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(SettingError, match="cannot be read"):
        read_config(tmp_path / "bad.toml")


def test_every_setting_is_described() -> None:
    text = describe()
    for name in TABLE_OF:
        assert f"\n{name} = " in text


@pytest.mark.parametrize("cls", [TrainConfig, *GROUPS.values()])
def test_help_shows_every_setting(cls: type) -> None:
    text = cls.__doc__ or ""
    for item in fields(cls):
        assert f"    {item.name}: " in text
    assert repr(TrainConfig().with_changes(steps=5)) == "TrainConfig(run=RunConfig(steps=5))"
