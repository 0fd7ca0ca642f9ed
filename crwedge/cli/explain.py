"""`--explain`: where each millisecond goes, and what to change."""

from __future__ import annotations

from crwedge.runtime.ops.stats import STAGES, StreamStats

ADVICE = {
    "decode": "the source is the limit: ask it for less (#size=640x480&fps=15), or for hardware decoding (#hwaccel=cuda)",
    "wait": "frames wait for the tracker: see encode and propagate, or hold a rate with --fps",
    "encode": "the encoder is the limit: a smaller --size, an int8 or fp16 bundle (crwedge export), or a faster --engine",
    "propagate": "the context is the limit: a smaller --context first, then --radius, or --storage float16",
    "output": "label maps are large: let the source give smaller frames",
    "write": "the outputs are the limit: fewer of them, a faster disk, or *.jsonl in place of PNG and mp4",
}


def explanation(name: str, stats: StreamStats, fps: float | None = None) -> str:
    """A table of the stages, and one sentence of advice.

    Args:
        name: of the source.
        stats: of a run.
        fps: frames a second that are wanted, where somebody said so.
    """
    lines = [
        f"{name}: where each millisecond of a frame goes",
        f"  {'stage':<10} {'p50':>8} {'p95':>8} {'p99':>8} {'share':>7}",
    ]
    shares = stats.shares()
    for stage, figures in stats.stage_percentiles().items():
        row = " ".join(f"{figures[p]:8.1f}" for p in ("p50", "p95", "p99"))
        lines.append(f"  {stage:<10} {row} {100 * shares[stage]:6.1f}%")
    whole = stats.percentiles()
    lines.append(f"  {'latency':<10} " + " ".join(f"{whole[p]:8.1f}" for p in ("p50", "p95", "p99")))
    # Waiting is what the other stages cause, so the advice is about the largest of those.
    worst = max((stage for stage in STAGES if stage != "wait"), key=lambda stage: shares[stage])
    lines.append(f"  {ADVICE[worst]}")
    if fps is not None:
        working = sum(stats.stages_ms[stage].total for stage in ("encode", "propagate", "output"))
        each = working / max(1, stats.tracked)
        verdict = "holds" if each <= 1e3 / fps else "does not hold"
        lines.append(f"  the tracker takes {each:.1f} ms a frame and {verdict} {fps:g} a second ({1e3 / fps:.1f} ms)")
    return "\n".join(lines)
