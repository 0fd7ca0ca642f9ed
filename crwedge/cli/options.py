"""Options that several commands share. Each is declared here once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer

from crwedge.cli.config_option import apply_config, list_settings, with_file_settings
from crwedge.cli.groups import Group

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object last.")]
Model = Annotated[
    str | None, typer.Option(metavar="BUNDLE", help="Bundle, or shipped; default: that of `crwedge use`, else shipped.")
]
Engine = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or tensorrt.")]
Preset = Annotated[str | None, typer.Option(metavar="NAME", help="Propagation protocol: edge, crw, dino or dinov3.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Processors to use; default: all.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        callback=with_file_settings,
        help="A rarer setting, also as --KEY VALUE; --settings lists them.",
    ),
]
ListSettings = Annotated[
    bool, typer.Option("--settings", is_eager=True, callback=list_settings, help="List the keys of --set.", hidden=True)
]
Target = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Search for these objects, and follow them once found; repeatable."),
]
Names = Annotated[
    str | None, typer.Option(metavar="ID=NAME,...", help="Names of objects for the outputs, such as 1=dog,2=rider.")
]
Listen = Annotated[str, typer.Option(help="[HOST:]PORT of the page; hosts but this one need a token.")]
AllowHost = Annotated[
    list[str] | None, typer.Option(help="Name that the page is opened by, beside addresses; may be repeated.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]
Size = Annotated[
    str | None, typer.Option(metavar="HxW", help="Compute at HEIGHTxWIDTH, or 'frame'; default: the protocol's own.")
]
Sequences = Annotated[str | None, typer.Option(metavar="NAMES", help="Names of sequences to take, with commas.")]
EncoderKind = Annotated[str, typer.Option("--encoder", help="bundle, or a floor to set it beside: random, colour.")]
MaxFrames = Annotated[int | None, typer.Option("--max-frames", "--frames", min=3, help="Frames of each sequence.")]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=apply_config,
        help="TOML file with options and settings; those given here win.",
    ),
]


@dataclass(frozen=True)
class EncoderOptions(Group):
    """Which encoder, where it runs, and the protocol of propagation."""

    panel: ClassVar[str] = "Model"
    model: Model = None
    engine: Engine = "auto"
    preset: Preset = None


@dataclass(frozen=True)
class SettingOptions(Group):
    """Rarer settings as `--set key=value`."""

    settings: Settings = None
    list_settings: ListSettings = False


def split_names(names: str | None) -> list[str]:
    """`a, b` -> ["a", "b"]."""
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def computed_size(text: str | None) -> tuple[int, int] | Literal["usual", "frame"]:
    """`480x854` -> (480, 854); `usual` is that of the protocol, which is the default, `frame` that of the frame."""
    from crwedge.core.images import parse_size

    if text == "frame":
        return "frame"
    return parse_size(text) if text and text != "usual" else "usual"
