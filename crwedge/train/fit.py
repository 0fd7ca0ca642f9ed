"""`fit`: learn an encoder from Python, as `crwedge train` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from crwedge.core.errors import SettingError
from crwedge.core.optional import import_optional
from crwedge.runtime.events import silent
from crwedge.train.config import TrainConfig
from crwedge.train.config_file import read_config
from crwedge.train.loop import Fitted, train
from crwedge.train.run_config import USUAL_MINUTES


def fit(
    data: str | Path | Sequence[str | Path] | None = None,
    config: TrainConfig | str | Path | None = None,
    out: str | Path | None = None,
    *,
    images: str | Path | Sequence[str | Path] | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    on_event: Callable[..., None] = silent,
) -> Fitted:
    """Learn an encoder from unlabelled video.

    Progress goes to the logger `crwedge.train`, at level INFO. Call it below `if __name__ == "__main__":` in a script, unless
    `data.workers` is 0: workers are new processes that import the script. SIGINT and SIGTERM finish the step, save and return.

    Example:
        >>> import crwedge as cw
        >>> fitted = cw.fit(config="demo", out="runs/first", steps=2)
        >>> bundle = cw.export_bundle(fitted, "runs/first/bundle")

    Args:
        data: videos, folders of videos or frames, .txt lists, WebDataset .tar shards; None: what `config` names.
        config: settings, a TOML file, or the name of a recipe: default, moving, paper, demo. None: the run's own with `resume`,
            else `default`.
        out: folder of the run; `runs/<date and time>` by default.
        images: photographs, or folders of them.
        steps: updates of the weights, in place of the configuration's.
        minutes: the run ends after this time, and the schedule fits it. `default` without `steps` or `minutes` lasts an hour.
        resume: go on from the newest checkpoint in `out`.
        on_event: called as `on_event("step", step=.., share=.., seconds_left=.., loss=..)` after each step, and as
            `on_event("metrics", step=.., **values)` at each report.

    Returns:
        Where the encoder is, and the last figures. It is also the path of the encoder.

    Raises:
        MissingExtraError: PyTorch, safetensors or kornia is not installed.
        UserError: bad data, bad settings, a checkpoint that does not fit, a full disk, a loss that is not a number.
    """
    for module in ("safetensors", "kornia"):
        import_optional(module, "train")
    recipe = ""
    if not isinstance(config, TrainConfig):
        if config is None and resume:
            config = run_config(out)
        recipe = "of the run" if resume else str(config or "default")
        config = read_config(config or "default")
    given = {"videos": _paths(data), "images": _paths(images), "steps": steps, "minutes": minutes}
    config = config.with_changes(**{name: value for name, value in given.items() if value is not None})
    if recipe == "default" and config.run.minutes == 0 and config.run.steps == TrainConfig().run.steps:
        # The number of steps of the published recipe suits few machines.
        config = config.with_changes(minutes=USUAL_MINUTES)
    return train(config, out, resume=resume, recipe=recipe, on_event=on_event)


def run_config(out: str | Path | None) -> Path:
    """The configuration of the run in `out`. SettingError when there is no run."""
    if out is None:
        raise SettingError("--resume needs --out RUN, the folder of the run to go on with")
    path = Path(out) / "config.toml"
    if not path.is_file():
        raise SettingError(f"{out} holds no run (no config.toml); leave --resume out to start one")
    return path


def _paths(given: str | Path | Sequence[str | Path] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return (str(given),) if isinstance(given, str | Path) else tuple(str(path) for path in given)
