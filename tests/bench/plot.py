#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the tables of first sequential reads printed by `make bench` as an SVG bar chart.

    make bench BENCH="read families" | tee bench.txt
    plot.py bench.txt >contrib/speed.svg
"""

import re
import sys

BAR, GAP, LEFT, WIDTH = 18, 8, 260, 420
ROW = re.compile(r"^  (\S.*?) {2,}([\d.]+) +([\d.]+) +([\d.]+|-) +([\d.]+) +\(([\d.]+)-([\d.]+)\)")
# Of the table of families: GB/s, two ratios, ..., and with pagecache=erofs again GB/s.
FAMILY = re.compile(r"^  (\S+) +([\d.]+) +[\d.]+ \([^)]*\) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+(?: +([\d.]+) +[\d.]+ \()?")
EROFS = "pagecache=erofs"


def tables(lines):
    """Yields (title, [(label, median GB/s)]) for each table of first reads."""
    title, rows = None, []
    for line in lines:
        if "first sequential read" in line:
            title, rows = line.strip(), []
        row = ROW.match(line)
        family = FAMILY.match(line)
        if title and family:
            rows.append(("gptqfs, " + family[1], float(family[2])))
            if family[3]:
                rows.append((f"{family[1]}, {EROFS}", float(family[3])))
        elif title and row:
            rows.append((row[1].strip(), float(row[3])))
        elif title and rows and not line.strip():
            yield title, rows
            title = None
    if title and rows:
        yield title, rows


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def draw(found):
    fastest = max(speed for _, rows in found for _, speed in rows)
    y, out = 12, []
    for title, rows in found:
        y += 14
        out.append(f'<text x="8" y="{y}" font-weight="bold">{escape(title)}</text>')
        y += GAP
        for label, speed in rows:
            width = WIDTH * speed / fastest
            colour = "#c0702e" if EROFS in label else "#3b6ea5" if label.startswith("gptqfs") else "#b8bec6"
            out.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
                       f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR}" fill="{colour}"/>'
                       f'<text x="{LEFT + width + 6:.0f}" y="{y + 13}">{speed:.2f} GB/s</text>')
            y += BAR + GAP
        y += GAP
    return y, out


def main():
    found = list(tables(open(sys.argv[1])))
    if not found:
        sys.exit(f"{sys.argv[1]}: no table of first sequential reads")
    height, body = draw(found)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 100}" height="{height}" font-family="sans-serif" '
          'font-size="12" fill="#24292f"><rect width="100%" height="100%" fill="#ffffff"/>')
    print("\n".join(body) + "\n</svg>")


if __name__ == "__main__":
    main()
