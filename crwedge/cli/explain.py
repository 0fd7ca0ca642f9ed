"""`--set explain=true`: where each millisecond goes, and what to change."""

from __future__ import annotations

from crwedge.runtime.ops.stats import WORK, StreamStats

ADVICE = {
    "camera": "the camera is the limit: the work on a frame is done before the next one comes",
    "decode": "reading the source is the limit: a smaller video, or hardware decoding (#hwaccel=cuda)",
    "encode": "the encoder is the limit: a smaller size (--set size=HxW), an int8 or fp16 bundle, or a faster --engine",
    "propagate": "the context is the limit: a smaller context-length first, then radius, or storage=float16 (--set)",
    "output": "label maps are large: let the source give smaller frames",
    "write": "the outputs are the limit: fewer of them, a faster disk, or *.jsonl in place of PNG and mp4",
}


def explanation(name: str, stats: StreamStats, fps: float | None = None) -> str:
    """A table of the stages, and one sentence of advice.

    Args:
        name: of the source.
        stats: of a run.
        fps: frames a second that are wanted, if any.
    """
    lines = [
        f"{name}: milliseconds of a frame in each stage, and its share of the work",
        f"  {'stage':<10} {'p50':>8} {'p95':>8} {'p99':>8} {'share':>7}",
    ]
    # Medians: the first frames compile and allocate, which says nothing about the others.
    shares, stages = stats.shares(), stats.stage_percentiles()
    camera = stages["camera"]["p50"]
    # A live source is decoded in a thread of its own while the frame before is labelled; only the wait for it is known.
    hidden = "decode" if camera else "camera"
    for stage, figures in stages.items():
        if stage == hidden:
            continue
        row = " ".join(f"{figures[p]:8.1f}" for p in ("p50", "p95", "p99"))
        lines.append(f"  {stage:<10} {row} " + (f"{100 * shares[stage]:6.1f}%" if stage in WORK else "waiting"))
    whole = stats.percentiles()
    lines.append(f"  {'latency':<10} " + " ".join(f"{whole[p]:8.1f}" for p in ("p50", "p95", "p99")))
    working = sum(stages[stage]["p50"] for stage in ("encode", "propagate", "output"))
    worst = "camera" if camera > working and not stats.dropped else max(WORK, key=lambda stage: shares[stage])
    lines.append(f"  {ADVICE[worst]}")
    if fps is not None:
        verdict = "holds" if working <= 1e3 / fps else "does not hold"
        lines.append(
            f"  the tracker takes {working:.1f} ms a frame and {verdict} {fps:g} a second ({1e3 / fps:.1f} ms)"
        )
    return "\n".join(lines)
