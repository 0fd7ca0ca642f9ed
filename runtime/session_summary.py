"""The summary of a session."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crwedge.runtime.ops.stats import peak_rss_mb
from crwedge.runtime.sources.uri import redact

if TYPE_CHECKING:
    from crwedge.runtime.session import Session
    from crwedge.runtime.tracker import Tracker

_log = logging.getLogger("crwedge")


def summary_of(session: Session, tracker: Tracker, targets: Sequence[str], signal: int | None) -> dict[str, Any]:
    """What `crwedge track --json` prints; one line of it is logged.

    Args:
        session: it has ended.
        tracker: of the session, still open.
        targets: where label maps went.
        signal: number of the signal that ended it, if one did.
    """
    stats, manifest, size = session.stats, session.bundle.manifest, tracker.options.size
    shown = [redact(target) for target in targets]
    where = ", ".join(shown) or "no output (give --out)"
    counts = f"{stats.frames_in} in = {stats.tracked} tracked + {stats.dropped} dropped + {stats.failed} failed"
    if stats.previewed:
        counts += f" + {stats.previewed} while nothing was followed"
    engine = tracker.engine.name
    _log.info("%d frames at %.2f a second on %s (%s); written to %s", stats.tracked, stats.fps, engine, counts, where)
    return {
        **stats.to_dict(),
        "peak_rss_mb": round(peak_rss_mb(), 1),
        "engine": engine,
        "protocol": {
            "preset": session.preset_name,
            **session.settings.to_dict(),
            "size": list(size) if size else None,
        },
        "model": {"name": manifest.name, "sha256": session.bundle.sha256, "trained": manifest.trained},
        "source": session.name,
        "outputs": shown,
        "stopped_by": signal,
    }
