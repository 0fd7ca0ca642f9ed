"""`crwedge bench`: speed, memory and accuracy in the same row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from crwedge.cli.groups import grouped
from crwedge.cli.messages import messages
from crwedge.cli.options import AsJson, EncoderOptions, SettingOptions, Threads

if TYPE_CHECKING:
    from crwedge.cli.settings_option import SettingTable


def setting_table() -> SettingTable:
    """The keys of `--set`."""
    from crwedge.cli.settings_option import SettingTable
    from crwedge.core.settings import PropagationSettings

    return SettingTable("crwedge bench").add(PropagationSettings, default="(of the preset)")


@grouped
def bench(
    chosen: EncoderOptions,
    more: SettingOptions,
    size: Annotated[list[str] | None, typer.Option(metavar="HxW", help="HEIGHTxWIDTH; may be repeated.")] = None,
    frames: Annotated[int, typer.Option(min=3, help="Frames a row, beyond those that fill the context.")] = 5,
    dense: Annotated[bool, typer.Option(help="Time dense forms of the propagation too, at the largest size.")] = True,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure this machine on a rendered scene whose true masks are known.

    Example: crwedge bench --size 480x854 --size 240x428
    """
    from crwedge.cli.dense import bench_dense
    from crwedge.core.images import parse_size
    from crwedge.core.settings import PropagationSettings
    from crwedge.core.settings import preset as preset_of
    from crwedge.eval.bench import bench_row, device_facts
    from crwedge.runtime.bundle_lookup import find_bundle

    log = messages(as_json)
    bundle = find_bundle(chosen.model)
    changes = setting_table().parse(more.settings)[PropagationSettings]
    settings = preset_of(chosen.preset or bundle.manifest.preset).with_changes(**changes)
    facts = device_facts(threads)
    log.info(f"{facts['device']}: {facts['matmul_gflops']} GFLOP/s in float32 matrix products")
    log.info(
        "each row: size (height x width in pixels), engine, precision, cells computed for a frame; frames a second of the "
        "whole tracker; median time of a frame and of its stages; peak memory of this process; J&F: overlap with the truth in "
        "percent, higher is better"
    )
    sizes = [parse_size(text) for text in size or ["480x854", "240x428"]]
    rows = []
    for one in sizes:
        row = bench_row(bundle, chosen.engine, settings, one, frames, threads)
        rows.append(row)
        stages = ", ".join(f"{stage} {value}" for stage, value in row["stages_ms"].items())
        log.info(
            f"{row['size']} {row['engine']} {row['precision']}, {row['cells']} cells: "
            f"{row['fps']} frames/s, p50 {row['whole_ms']['p50']} ms "
            f"({stages}), {row['peak_rss_mb']} MB, J&F of the rendered scene {row['JF']}"
            + (
                f", {row['watts']} W of the {row['power_of']}, {row['joules_a_frame']} J/frame"
                if "watts" in row
                else ""
            )
        )
    result = {**facts, "protocol": settings.to_dict(), "rows": rows}
    if dense and settings.topk_over == "joint":
        found = bench_dense(settings, max(sizes), facts["matmul_gflops"], threads)
        result |= found
        against = found["against_dense"]
        log.info(
            f"propagation of one frame at {rows[sizes.index(max(sizes))]['size']}, beside the fastest dense form here "
            f"({against['dense']}): {against['dense_ms']} ms, ours {against['ours_ms']} ms, {against['ratio']} times faster"
        )
        others = [f"{name} {ms} ms" for name, ms in against["all_dense_ms"].items() if name != against["dense"]]
        log.info(
            f"  {100 * found['propagation_share_of_floor']:.0f} % of the rate that matrix products of the same work reach; "
            f"slower dense forms: {', '.join(others) or 'none'}"
        )
    elif dense:
        log.info("not compared with a dense form: those here take the k best of all frames together (topk_over joint)")
    if as_json:
        typer.echo(json.dumps(result))
