"""What a batch that is started again still has to do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from crwedge.batch.fingerprint import fingerprint, stamp_of
from crwedge.batch.job import Job
from crwedge.batch.results import Record, Results
from crwedge.batch.storage import is_remote
from crwedge.core.errors import SettingError, SourceError
from crwedge.core.remote import remote_stamp

_INPUTS = ("video", "mask")


@dataclass(frozen=True)
class Remaining:
    """Jobs by what happens to them."""

    todo: list[Job]
    done: list[Record]
    """Lines of the videos whose results stand and stay."""


def remaining(jobs: Sequence[Job], results: Results, overwrite: bool = False) -> Remaining:
    """Compare the jobs with the results that stand.

    Equal contents of video and mask, an equal model and equal settings: the result stays. Another video or mask, or another
    option in the video's own row: the video is followed again. Another model, setting or output for all videos is more likely
    a slip than a wish to lose the results, so it is refused.

    Args:
        jobs: what is asked for.
        results: what stands.
        overwrite: follow a video again where it would be refused.

    Raises:
        SettingError: results of other settings stand there.
    """
    with ThreadPoolExecutor(16) as pool:
        records = list(pool.map(lambda job: results.record_of(job.name), jobs))
    todo, done = [], []
    for job, record in zip(jobs, records, strict=True):
        if record is None:
            todo.append(job)
            continue
        differing = [name for name in job.differences(record) if name not in _INPUTS]
        if job.problem or (not differing and not _inputs_changed(job, record)):
            # Without a mask, say, nothing better can be made.
            done.append({**record, **({} if job.problem else {"video": job.video, "mask": job.mask})})
        elif overwrite or set(differing) <= set(job.own):
            todo.append(job)
        else:
            raise SettingError(
                f"{results.where} holds results of other settings ({job.name}: {_shown(job, record, differing)}): choose "
                "another --out, or --overwrite to follow these videos again"
            )
    return Remaining(todo, done)


def _inputs_changed(job: Job, record: Record) -> bool:
    """Whether the video or the mask has other contents now. Contents are read only where the stamp differs."""
    for path, what, wanted in ((job.video, "source", job.source_sha256), (job.mask, "mask", job.mask_sha256)):
        if wanted and wanted != record[f"{what}_sha256"]:
            return True
        try:
            if is_remote(path):
                if remote_stamp(path) != record[f"{what}_stamp"]:
                    return True
            elif (
                stamp_of(Path(path)) != record[f"{what}_stamp"]
                and fingerprint(Path(path)).sha256 != record[f"{what}_sha256"]
            ):
                return True
        except (OSError, SourceError):
            # It was moved away after it was done.
            continue
    return False


def _shown(job: Job, record: Record, names: Sequence[str]) -> str:
    """The first difference in words."""
    name = names[0]
    mine, theirs = job.to_dict(), Job.from_dict(record).to_dict()
    for group in ("settings", "options"):
        if name in mine[group] or name in theirs[group]:
            mine, theirs = mine[group], theirs[group]
            break
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{name} {_short(theirs.get(name))}, now {_short(mine.get(name))}{more}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
