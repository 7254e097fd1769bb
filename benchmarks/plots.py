"""
The plots of the report, drawn in the rivals' environment, which has matplotlib.

    python -m benchmarks.plots FIGURES.json FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS, OTHERS = "#0b7285", "#ced4da"


def main() -> None:
    """Draw what there are figures for."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
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
        len(tables), 1, figsize=(8, 0.9 * len(tables) + 0.28 * sum(sizes)), height_ratios=sizes, squeeze=False
    )
    for axis, table in zip(axes[:, 0], tables, strict=True):
        at = table["columns"].index("by hand = 1")
        rows = [row for row in reversed(table["rows"]) if row[at] is not None]
        bars = axis.barh(
            [row[0] for row in rows],
            [row[at] for row in rows],
            color=[OURS if row[0].startswith("ours") else OTHERS for row in rows],
        )
        axis.bar_label(bars, [f"{row[at]:.1f} ×" for row in rows], padding=3)
        axis.set_title(table["title"], loc="left")
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([])
        axis.margins(x=0.1)
    figure.suptitle("Rows a second; by hand = 1")
    figure.tight_layout()
    return figure


def _curves(tables: dict[str, dict[str, Any]]) -> Any:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 3.6))
    for (name, table), color in zip(tables.items(), (OURS, "#e8590c"), strict=False):
        rows = table["rows"]
        sizes = [row[0] for row in rows]
        axis.plot(sizes, [row[1] for row in rows], marker="o", color=color, label=name)
        axis.fill_between(sizes, [row[2] for row in rows], [row[3] for row in rows], color=color, alpha=0.15, lw=0)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("rows")
    axis.set_ylabel("µs a row, lowest to highest")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.tight_layout()
    return figure


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
