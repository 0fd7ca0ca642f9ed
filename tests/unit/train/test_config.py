from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import pytest

from crwedge.core.errors import SettingError
from crwedge.train.config import Part, TrainConfig
from crwedge.train.config_file import describe, dump_config, read_config

CONFIGS = sorted((Path(__file__).parents[3] / "crwedge" / "train" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_read_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = read_config(path)
    (tmp_path / "again.toml").write_text(dump_config(config))
    assert read_config(tmp_path / "again.toml") == config


def test_shipped_configurations_have_names() -> None:
    assert read_config("paper").padding == "reflect"
    assert read_config("default", videos=("x",)).views == "own"


def test_file_then_set_then_flags(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('steps = 5\n[walk]\ntemperature = 0.05\n[weights]\n"a*" = 2\n[[mixture]]\nclip_length = 3\n')
    config = read_config(path, ["steps=6", "padding=reflect", "frame_rates=[2, inf]"], steps=7, batch=None)
    assert (config.steps, config.temperature, config.padding) == (7, 0.05, "reflect")
    assert config.frame_rates == (2.0, math.inf)
    assert config.weights == {"a*": 2.0}
    assert config.parts == (Part(clip_length=3),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz=1", "unknown setting 'stepz'"),
        ("nodes=cells", "nodes is 'cells'; it must be one of 'patches', 'map'"),
        ("steps=0", "at least 1"),
        ("steps=many", "must be a int"),
        ("temperature=0", "above 0"),
        ("frame_rates=[-1]", "above 0"),
        ("views=own", 'need nodes = "map"'),
        ("clip_length=1", "goes nowhere"),
        ("scale=[0.9, 0.2]", "rising"),
        ("mixture=[{clips=1}]", "a mixture holds tables"),
        ("accumulate=3", "cannot be divided"),
        ("steps", "not key=value"),
    ],
)
def test_what_cannot_be_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_config(None, [text])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="No such file"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(SettingError, match="cannot be read"):
        read_config(tmp_path / "bad.toml")


def test_every_setting_is_described() -> None:
    text = describe()
    for item in fields(TrainConfig):
        assert f"{item.name} = " in text or f"\n{item.name}" in text


@pytest.mark.parametrize("cls", [Part, TrainConfig])
def test_help_shows_every_setting(cls: type) -> None:
    text = cls.__doc__ or ""
    for item in fields(cls):
        assert f"    {item.name}: " in text
    assert repr(TrainConfig(steps=5)) == "TrainConfig(steps=5)"
