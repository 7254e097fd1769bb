"""
Draw the plots of the report, in the rivals' environment, which has matplotlib.

    python -m benchmarks.plots FIGURES.json FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS, OTHERS = "#0b7285", "#ced4da"


def main() -> None:
    """Draw the plots for which there are figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 11})
    figures, folder = Path(sys.argv[1]), Path(sys.argv[2])
    tables = {table.get("key"): table for table in json.loads(figures.read_text())["tables"]}
    if bars := [table for table in tables.values() if "by hand = 1" in table["columns"]]:
        _save(_bars(bars), folder / "benchmarks-speed.svg")
    if curves := {name: tables[f"scale-{name}"] for name in ("prepare", "land") if f"scale-{name}" in tables}:
        _save(_curves(curves), folder / "benchmarks-scale.svg")


def _bars(tables: list[dict[str, Any]]) -> Any:
    from matplotlib import pyplot

    sizes = [len(table["rows"]) for table in tables]
    figure, axes = pyplot.subplots(
        len(tables), 1, figsize=(9, 1.0 * len(tables) + 0.36 * sum(sizes)), height_ratios=sizes, squeeze=False
    )
    for axis, table in zip(axes[:, 0], tables, strict=True):
        at, speed = table["columns"].index("by hand = 1"), table["columns"].index("rows a second")
        rows = [row for row in reversed(table["rows"]) if row[at] is not None]
        bars = axis.barh(
            [row[0] for row in rows],
            [row[at] for row in rows],
            color=[OURS if row[0].startswith("ours") else OTHERS for row in rows],
        )
        axis.bar_label(bars, [f"{row[at]:.1f} × ({row[speed]:,.0f} rows/s)" for row in rows], padding=4)
        axis.set_title(table["title"], loc="left", fontsize=12, fontweight="bold")
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([])
        axis.tick_params(axis="y", length=0)
        axis.margins(x=0.32, y=0.03)
    figure.suptitle("Rows a second, as a multiple of code by hand", x=0.01, ha="left", fontsize=14)
    figure.tight_layout(h_pad=1.2)
    return figure


#: Key of a table → label of its curve.
CURVES = {"prepare": "prepare, from Parquet", "land": "land chat completions"}


def _curves(tables: dict[str, dict[str, Any]]) -> Any:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 4.2))
    for (name, table), color in zip(tables.items(), (OURS, "#c2410c"), strict=False):
        rows = table["rows"]
        sizes = [row[0] for row in rows]
        axis.plot(sizes, [row[1] for row in rows], marker="o", color=color)
        axis.fill_between(sizes, [row[2] for row in rows], [row[3] for row in rows], color=color, alpha=0.15, lw=0)
        axis.annotate(
            CURVES[name], (sizes[-1], rows[-1][1]), (10, 0), textcoords="offset points", color=color, va="center"
        )
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel("rows of the table")
    axis.set_title("Microseconds a row: median, and lowest to highest", loc="left", fontsize=14)
    axis.grid(axis="y", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.15)


if __name__ == "__main__":
    main()
