"""Runs jobs one after the other in this process: one session a video, one engine for all that have the same model."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import crwedge
from crwedge.batch.fingerprint import Fingerprint, fingerprint, stamp_of
from crwedge.batch.job import Job
from crwedge.batch.results import Record, Results
from crwedge.batch.storage import is_remote
from crwedge.core.bundle import Bundle
from crwedge.core.clock import utc_time
from crwedge.core.errors import CrwedgeError, MaskError, SourceError
from crwedge.core.labels import LabelMap
from crwedge.core.log_handler import handled_by
from crwedge.core.remote import fetch, remote_stamp
from crwedge.core.uri import redact
from crwedge.runtime.backends.engine import DeviceEngine, Engine, LockedEngine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.observer import Observer
from crwedge.runtime.session import Session
from crwedge.runtime.target import TARGET_SUFFIX

_log = logging.getLogger(__name__)
_MOST_NOTES = 10
OnFrames = Callable[[int, int | None], None]
"""Told how many frames of the video are labelled, and how many there are, where that is known."""


class Runner:
    """Follows one video after the other.

    Args:
        results: where results go.
        threads: of the encoder and of the propagation; by default all processors.
    """

    def __init__(self, results: Results, threads: int | None = None) -> None:
        self._results, self._threads = results, threads
        self._copies: dict[str, str] = {}
        """Copies of remote files, which errors call by their URIs."""
        self._key: tuple[Any, ...] | None = None
        self._bundle: Bundle | None = None
        self._engine: Engine | None = None

    def run(self, job: Job, on_frames: OnFrames = lambda done, total: None, attempt: int = 1, run: str = "") -> Record:
        """Follow one video and commit its results.

        Args:
            job: the video.
            on_frames: told of the progress.
            attempt: counts from 1.
            run: see `new_run`. Where an earlier attempt of this run has done it, nothing is done again.

        Returns:
            The line of the manifest. An error of the video is in it; it is not raised.
        """
        base: Record = {**job.to_dict(), "attempts": attempt, "run": run, "notes": [], "crwedge": crwedge.__version__}
        try:
            if (done := committed(self._results, job, run)) is not None:
                return done
            with handled_by(_NoteHandler(base["notes"])):
                return self._run(job, base, on_frames)
        except CrwedgeError as error:
            problem = str(error)
        except Exception as error:
            _log.exception("%s", job.name)
            problem = f"{type(error).__name__}: {error}"
        for local, uri in self._copies.items():
            problem = problem.replace(local, uri)
        return {**base, "state": "failed", "error": " ".join(problem.split()), "finished": utc_time()}

    def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = self._key = None

    def _run(self, job: Job, base: Record, on_frames: OnFrames) -> Record:
        if job.problem:
            raise SourceError(job.problem)
        begin = time.perf_counter()
        self._copies.clear()
        with self._results.workspace(job.name) as space:
            video, source = self._input(job.video, job.source_sha256, "video", space)
            if not job.mask:
                raise MaskError("it has no mask")
            mask, painted = self._input(job.mask, job.mask_sha256, "mask", space)
            bundle, engine = self._open(job)
            # A tracker closes the engine of a device, whose memory its context shares: there each video opens its own.
            shared = None if isinstance(engine, DeviceEngine) else LockedEngine(engine)
            options = job.session_options(bundle, self._threads)
            new = space / "new"
            new.mkdir()
            is_target = mask.suffix.lower() == TARGET_SUFFIX
            if is_target:
                options = replace(options, targets=(mask,))
            session = Session(
                video, None if is_target else mask, [new / target for target in job.save], options, engine=shared
            )
            objects = _Frames(session, on_frames)
            summary = session.run([objects])
            if not summary["tracked"]:
                raise SourceError(f"{job.video} has no frames")
            for path, known in ((video, source), (mask, painted)):
                if stamp_of(path) != known.stamp:
                    raise SourceError(f"{path} was changed while it was read")
            record: Record = {
                **base,
                "state": "done",
                "frames": summary["tracked"],
                "seconds": round(time.perf_counter() - begin, 3),
                "fps": summary["fps"],
                "outputs": [f"{job.name}/{target}" for target in job.save if (new / target).exists()],
                "object_ids": sorted(objects.ids),
                "engine_name": summary["engine"],
                "source_sha256": source.sha256,
                "source_stamp": remote_stamp(job.video) if is_remote(job.video) else source.stamp,
                "mask_sha256": painted.sha256,
                "mask_stamp": remote_stamp(job.mask) if is_remote(job.mask) else painted.stamp,
                "peak_rss_mb": summary["peak_rss_mb"],
                "error": None,
                "finished": utc_time(),
                **({"targets": summary["targets"]} if "targets" in summary else {}),
            }
            self._results.commit(space, record)
        return record

    def _input(self, path: str, wanted: str, what: str, space: Path) -> tuple[Path, Fingerprint]:
        """The local file or folder of a video or mask, and what it is."""
        if is_remote(path):
            folder = space / what
            folder.mkdir()
            local = fetch(path, folder)
            self._copies[str(local)] = redact(path)
        else:
            local = Path(path)
            if not local.exists():
                raise SourceError(f"there is no {what} {path}")
        found = fingerprint(local)
        if wanted and found.sha256 != wanted:
            raise SourceError(f"the {what} {path} is not the requested one (its SHA-256 differs)")
        return local, found

    def _open(self, job: Job) -> tuple[Bundle, Engine]:
        """The engine of the last job, where it fits."""
        size = job.options.get("size")
        key = (job.model, job.model_sha256, job.engine, size and tuple(size))
        if self._key != key or self._bundle is None or self._engine is None:
            self.close()
            bundle = find_bundle(job.model)
            if bundle.sha256 != job.model_sha256:
                raise SourceError(f"the model {job.model} changed since the batch began")
            wanted = (int(size[0]), int(size[1])) if size else bundle.manifest.size
            self._engine = open_engine(bundle, job.engine, self._threads, wanted)
            self._bundle, self._key = bundle, key
        return self._bundle, self._engine


class _Frames(Observer):
    """Counts written frames, and gathers the ids of the objects."""

    def __init__(self, session: Session, on_frames: OnFrames) -> None:
        self.ids: set[int] = set()
        self._session, self._on_frames = session, on_frames

    def written(self, labels: LabelMap) -> None:
        """Count a frame."""
        self.ids.update(labels.object_ids)
        self._on_frames(self._session.stats.written, self._session.length)


class _NoteHandler(logging.Handler):
    """Keeps what was decided for a person: how a mask was read, which engine could not be used."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("note: ") and len(self._notes) < _MOST_NOTES:
            self._notes.append(text.removeprefix("note: "))


def new_run() -> str:
    """Tells the records of one run of a pool from those of others."""
    return uuid.uuid4().hex[:12]


def committed(results: Results, job: Job, run: str) -> Record | None:
    """The record of a video that this run has done already, whether or not its worker lived to tell."""
    record = results.record_of(job.name) if run else None
    return record if record is not None and record.get("run") == run else None


def problem_record(job: Job, error: str, attempts: int) -> Record:
    """The line of a video whose worker could not tell what happened."""
    return {**job.to_dict(), "state": "failed", "error": error, "attempts": attempts, "finished": utc_time()}
