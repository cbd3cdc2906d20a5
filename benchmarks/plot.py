"""Draw docs/performance.svg from the raw results of work A: throughput, and CPU per GiB.

    python benchmarks/plot.py [--results benchmarks/results] [--out docs/performance.svg]

Bars are medians, dots are the single rounds. Reads work_a.json, and work_a_tls.json where it
is there; nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

LABELS, PANEL, GAP, ROW, TOP = 345, 250, 60, 30, 84
WIDTH = LABELS + 2 * PANEL + GAP + 50
OURS, OTHER, DOT = "#0b7285", "#adb5bd", "#212529"
STEPS = (0.5, 1, 2, 5, 50, 100, 200, 500)


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Return a line of text; `y` is its base line."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def draw_panel(rows: Mapping[str, Sequence[float]], x: float, y: float, unit: str) -> Iterator[str]:
    """Yield a grid, and a bar with its dots and figure for each row."""
    largest = max(max(values) for values in rows.values())
    step = next(one for one in STEPS if largest / one <= 5)
    end = y + ROW * len(rows)
    scale = PANEL / largest
    yield text(x, y - 8, unit, 'class="unit"')
    for number in range(int(largest / step) + 1):
        at = x + number * step * scale
        yield f'<path d="M{at:.1f} {y}V{end}" stroke="#e9ecef"/>'
        yield text(at, end + 14, f"{number * step:g}", 'class="tick"')
    for number, (name, values) in enumerate(rows.items()):
        middle = y + ROW * (number + 0.5)
        value = median(values)
        colour = OURS if name == "sync-daemon" else OTHER
        yield (
            f'<rect x="{x}" y="{middle - 9}" width="{value * scale:.1f}" height="18"'
            f' fill="{colour}"/>'
        )
        for one in values:
            yield (
                f'<circle cx="{x + one * scale:.1f}" cy="{middle}" r="2.6" fill="{DOT}"'
                ' fill-opacity="0.65" stroke="white" stroke-width="0.6"/>'
            )
        figure = f"{value:.0f}" if largest > 20 else f"{value:.2f}"
        yield text(x + largest * scale + 8, middle + 4, figure, 'class="figure"')


def draw_work(found: Mapping[str, Any], y: float, title: str) -> Iterator[str]:
    """Yield both panels of one file of results, and the names beside them."""
    size = found["bytes"]
    costs = {name: each for name, each in found["contestants"].items() if each}
    rates = {n: [size / 1024**2 / c["seconds"] for c in each] for n, each in costs.items()}
    cpu = {n: [c["cpu"] / (size / 1024**3) for c in each] for n, each in costs.items()}
    yield text(16, y - 34, title, 'class="title"')
    for number, name in enumerate(costs):
        yield text(LABELS - 12, y + ROW * (number + 0.5) + 4, name, 'class="name"')
    yield from draw_panel(rates, LABELS, y, "MiB/s (longer is better)")
    yield from draw_panel(cpu, LABELS + PANEL + GAP, y, "client CPU, s/GiB (shorter is better)")


def draw(works: Sequence[Mapping[str, Any]]) -> str:
    """Return the picture."""
    parts: list[str] = []
    y = 0
    for found in works:
        y += TOP
        how = "https" if found["tls"] else "http"
        title = (
            f"{found['bytes'] / 1024**3:g} GiB from {how} into an empty bucket of MinIO"
            f" ({found['date']}, {found['machine']}; bars: medians, dots: rounds)"
        )
        parts += draw_work(found, y, title)
        y += ROW * sum(bool(each) for each in found["contestants"].values()) + 24
    style = (
        "text{font:12px sans-serif;fill:#212529}.title{font-size:14px;font-weight:bold}"
        ".unit{fill:#495057}.name{text-anchor:end}.tick{text-anchor:middle;fill:#868e96;"
        "font-size:10px}.figure{font-weight:bold}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}">'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, f"<style>{style}</style>", paper, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Read the results and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/performance.svg"))
    args = parser.parse_args()
    paths = [args.results / name for name in ("work_a.json", "work_a_tls.json")]
    works = [json.loads(path.read_text()) for path in paths if path.exists()]
    if not works:
        raise SystemExit(f"no results in {args.results}: run work_a.py with --json first")
    args.out.write_text(draw(works))
    print(args.out)


if __name__ == "__main__":
    main()
