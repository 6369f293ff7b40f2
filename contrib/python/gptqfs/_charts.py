# SPDX-License-Identifier: MIT
"""The pictures of a page: matplotlib's SVG, whose colours are left to the page's style sheet.

Colours are drawn as the stand-ins below, which svg() replaces by CSS variables: so one picture serves light and dark.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
import xml.etree.ElementTree as ElementTree
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ._figures import LEVELS, Cell, Map, Model, Module, Scale, number, percent

# The system's fonts are narrower than the one that text is measured with here.
SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "gptqfs", "text.parse_math": False, "font.size": 11, "axes.linewidth": 0.8}
INK, MUTED, RULE, HOLE, ACCENT, WEAK = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", HOLE: "hole", ACCENT: "accent", WEAK: "weak"}

WIDE, NARROW = 1080, 358  # CSS pixels
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draws by these settings, and without remarks on characters that the font for measuring lacks."""
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def fill(level: int) -> str:
    return "#0a00%02x" % level


def ink_on(level: int) -> str:
    return "#0b00%02x" % level


def ramp(dark: bool) -> List[Tuple[str, str]]:
    """(fill, ink on it) of each level: a perceptually uniform map that begins near the background."""
    low, high = (0.20, 0.97) if dark else (0.97, 0.22)
    colours = []
    for level in range(LEVELS):
        r, g, b, _ = matplotlib.colormaps["magma"](low + (high - low) * level / (LEVELS - 1))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        # Black is as far from this luminance as white.
        colours.append((matplotlib.colors.to_hex((r, g, b)), "#000" if luminance > 0.179 else "#fff"))
    return colours


# ---- from matplotlib to the page ----


def _variable(match: "re.Match[str]") -> str:
    colour = match[0]
    if colour[:5] == "#0a00":
        return "var(--f%d)" % int(colour[5:], 16)
    if colour[:5] == "#0b00":
        return "var(--t%d)" % int(colour[5:], 16)
    return "var(--%s)" % VARIABLES.get(colour, "ink")


def _style(style: str) -> str:
    style = re.sub(r"font-family:[^;]*;?", "", style)
    style = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", style)
    style = re.sub(r"stroke-miterlimit:[^;]*;?|stroke-linejoin:[^;]*;?", "", style)
    return re.sub(r"#0[0-9ab]0[0-9]{2}[0-9a-f]", _variable, style).strip("; ")


def _short(match: "re.Match[str]") -> str:
    return ("%.2f" % float(match[0])).rstrip("0").rstrip(".")


def svg(figure: Figure, prefix: str, label: str, titles: Optional[Dict[str, str]] = None) -> Markup:
    """The picture for a page: without what is the file's or the font's, with titles that show on hover."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(out.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # The rule in the first <defs> would apply to the whole page.
            if child.tag == "{%s}metadata" % SVG or child.find("{%s}style" % SVG) is not None:
                parent.remove(child)
    used = set(re.findall(r"#([\w-]+)", " ".join(v for e in root.iter() for k, v in e.items() if "href" in k or "clip" in k)))
    for element in root.iter():
        ident = element.attrib.pop("id", None)
        if titles and ident in titles:
            title = ElementTree.Element("{%s}title" % SVG)
            title.text = titles[ident]
            element.insert(0, title)
        if ident in used:
            element.set("id", "%s-%s" % (prefix, ident))
        for key, value in element.items():
            if key == "style":
                element.set(key, _style(value))
            elif key in ("d", "x", "y", "transform"):
                element.set(key, " ".join(re.sub(r"-?\d+\.\d{3,}", _short, value).split()))
            elif "href" in key or key == "clip-path":
                element.set(key, re.sub(r"#(?=[\w-]+\)?$)", "#%s-" % prefix, value))
        element.tail = None
        if element.tag != "{%s}text" % SVG and element.tag != "{%s}title" % SVG:
            element.text = None
    width, height = (float(x) for x in root.attrib["viewBox"].split()[2:])
    for key in "width", "height", "version":
        root.attrib.pop(key, None)
    root.set("style", "max-width: %gpx" % width)
    root.set("role", "img")
    root.set("aria-label", label)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width / 72, height / 72), facecolor="none")


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Any:
    """Axes at a place in pixels from the upper left, without a frame."""
    w, h = figure.get_size_inches() * 72
    axes = figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h), facecolor="none")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=MUTED, labelcolor=MUTED, pad=4)
    return axes


# ---- maps ----


def _in_cell(value: float) -> str:
    text = "%.1f" % (100 * value)
    return text if len(text) <= 3 else "%.0f" % (100 * value)


def cell_title(where: str, cell: Cell, scale: Scale) -> str:
    """What a cell says on hover."""
    lines = [where]
    if len(cell.modules) == 1:
        m = cell.modules[0]
        lines.append(m.title)
        if m.error is not None:
            lines.append("relative error %s, SQNR %s dB" % (percent(m.error), number(m.figures["against"]["sqnr_db"])))
        if m.use is not None:
            lines.append("entropy %s of %d bits" % (number(m.figures["codes"]["entropy"]), m.figures["bits"]))
        lines.append("%s bits per weight" % number(m.bits_per_weight))
    else:
        values = scale.figure.values(cell.modules)
        lines.append("%d modules: %s %s" % (len(cell.modules), scale.figure.name, percent(cell.value)))
        if values:
            lines.append("from %s to %s" % (percent(min(values)), percent(max(values))))
    return "\n".join(lines)


def _cells(axes: Any, map_: Map, scale: Scale, turned: bool, size: Tuple[float, float]) -> Dict[str, str]:
    """Draws the cells of `size` pixels, with numbers where there is room. Returns titles by id."""
    titles = {}
    gap = [1.5 / s if s > 8 else 0.6 / s for s in size]
    for (kind, column), cell in map_.cells.items():
        x, y = (kind, column) if turned else (column, kind)
        ident = "cell%d-%d" % (kind, column)
        colour = HOLE if cell.value is None else fill(scale.level(cell.value))
        patch = Rectangle((x, y), 1 - gap[0], 1 - gap[1], facecolor=colour, linewidth=0, clip_on=False, gid=ident)
        axes.add_patch(patch)
        titles[ident] = cell_title(map_.label(kind, column), cell, scale)
        if cell.value is not None and size[0] >= 26 and size[1] >= 13:
            text = axes.text(x + 0.5, y + 0.5, _in_cell(cell.value), ha="center", va="center_baseline", fontsize=10, gid=ident + "t")
            text.set_color(ink_on(scale.level(cell.value)))
            titles[ident + "t"] = titles[ident]
    return titles


def _name_layers(axis: Any, map_: Map, every: int, middle: float = 0.0) -> None:
    """Names each of so many layers, that many units after where it begins."""
    at = range(0, len(map_.layers), every)
    axis.set_ticks([i + middle for i in at], [map_.layers[i] for i in at])


def _name_cells(axis: Any, map_: Map, size: float, room: float) -> None:
    """Names as many layers of so many pixels as there is room for."""
    _name_layers(axis, map_, next(n for n in (1, 2, 5, 10, 20, 50, 100) if n * size >= room or n == 100), 0.5)


def wide_map(map_: Map, scale: Scale, prefix: str) -> Markup:
    """Layers from left to right, projections from top to bottom."""
    left = 14 + 6.4 * max(map(len, map_.kinds))
    columns, rows = len(map_.layers), len(map_.kinds)
    cell, height = min((WIDE - left) / columns, 44.0), 26.0
    figure = _figure(WIDE, rows * height + 24)
    axes = _axes(figure, left, 0, cell * columns, rows * height)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    titles = _cells(axes, map_, scale, False, (cell, height))
    axes.set_yticks([i + 0.5 for i in range(rows)], map_.kinds)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=12)
    _name_cells(axes.xaxis, map_, cell, 14 + 7 * max(map(len, map_.layers)))
    return svg(figure, prefix, "Map of layers by projections; the table below has its numbers", titles)


def tall_map(map_: Map, scale: Scale, prefix: str, row: float = 15) -> Markup:
    """Layers from top to bottom in rows of so many pixels, projections from left to right."""
    width = NARROW
    left = 10 + 7 * max(map(len, map_.layers))
    columns, rows = len(map_.kinds), len(map_.layers)
    cell, height = min((width - left) / columns, 64.0), row if rows <= 100 else 8.0
    longest = 6.6 * max(map(len, map_.kinds))
    turned = longest > cell - 4
    top = longest + 12 if turned else 20
    figure = _figure(width, top + rows * height + 4)
    axes = _axes(figure, left, top, cell * columns, rows * height)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    titles = _cells(axes, map_, scale, True, (cell, height))
    axes.xaxis.tick_top()
    axes.set_xticks([i + 0.5 for i in range(columns)], map_.kinds, rotation=90 if turned else 0)
    axes.tick_params(axis="x", labelcolor=INK, labelsize=11)
    _name_cells(axes.yaxis, map_, height, 14)
    return svg(figure, prefix, "Map of layers by projections; the table below has its numbers", titles)


def legend(scale: Scale, prefix: str) -> Markup:
    """The colours and what they stand for."""
    width, height = 300.0, 34.0
    figure = _figure(width, height)
    axes = _axes(figure, 0, 0, width, 10)
    ends = scale.high > scale.low
    for i in range(LEVELS if ends else 1):
        level = LEVELS - 1 - i if scale.reverse and ends else i
        axes.add_patch(Rectangle((i, 0), 1.05 if i < LEVELS - 1 else 1, 1, facecolor=fill(level), linewidth=0, clip_on=False))
    axes.set(xlim=(0, LEVELS), ylim=(0, 1), yticks=[])
    axes.set_xticks([LEVELS * scale.position(t) for t in scale.ticks()], [number(100 * t) for t in scale.ticks()])
    axes.get_xticklabels()[0].set_horizontalalignment("left")
    axes.get_xticklabels()[-1].set_horizontalalignment("right" if ends else "left")
    return svg(figure, prefix, "Colours: %s from %s to %s" % (scale.figure.name, percent(scale.low), percent(scale.high)))


# ---- histograms ----

# Of formats whose codes are floats, codes in the order of the numbers that they stand for. Of bitsandbytes' fp4 that is
# the order of its table.
_SIGNED = {"FP8", "MXFP4", "MXFP6", "NVFP4"}
_BNB_FP4 = [11, 10, 13, 12, 15, 14, 9, 8, 0, 1, 6, 7, 4, 5, 2, 3]


def code_order(module: Module) -> List[int]:
    """The codes of a module, lowest number first."""
    count = 1 << module.figures["bits"]
    if module.figures["format"] in _SIGNED:
        return [*range(count - 1, count // 2 - 1, -1), *range(count // 2)]
    if module.figures["format"] == "bnb-fp4":
        return _BNB_FP4
    return list(range(count))


def histogram(module: Module, prefix: str) -> Markup:
    """How often codes occur, as shares of all."""
    codes = module.figures["codes"]["histogram"]
    order = code_order(module)
    total = sum(codes) or 1
    shares = [codes[code] / total for code in order]
    figure = _figure(NARROW, 104)
    axes = _axes(figure, 8, 6, NARROW - 16, 76)
    count = len(shares)
    if count <= 16:
        titles = {}
        for i, share in enumerate(shares):
            ident = "bar%d" % i
            axes.bar(i, share, width=0.84, color=ACCENT if i in (0, count - 1) else WEAK, linewidth=0, gid=ident)
            titles[ident] = "code %d: %s" % (order[i], percent(share))
    else:
        titles = None
        axes.stairs(shares, [i - 0.5 for i in range(count + 1)], fill=True, color=WEAK, linewidth=0)
        axes.bar([0, count - 1], [shares[0], shares[-1]], width=1, color=ACCENT, linewidth=0)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(0, max(shares) * 1.02 or 1), yticks=[])
    axes.axhline(0, color=RULE, linewidth=1, clip_on=False)
    if module.figures["format"] in _SIGNED or module.figures["format"] == "bnb-fp4":
        names = ["least", "0", "greatest"]
    else:
        names = ["code 0", str(order[count // 2]) if count > 2 else "", str(order[-1])]
    ends = [percent(module.figures["codes"][end], 2) for end in ("lowest", "highest")]
    names = ["%s: %s" % (names[0], ends[0]), names[1], "%s: %s" % (names[2], ends[1])]
    axes.set_xticks([-0.42, count // 2, count - 0.58], names)
    for tick, side in zip(axes.get_xticklabels(), ("left", "center", "right")):
        tick.set_horizontalalignment(side)
    return svg(figure, prefix, "Histogram of the codes of %s" % module.title, titles)


# ---- depth ----


class Depth:
    """Bits and scales of each kind of a map by layer, all with the same axes."""

    def __init__(self, map_: Map) -> None:
        self.map = map_
        modules = [m for kind in range(len(map_.kinds)) for m in map_.of_kind(kind)]
        scales = [v for m in modules for v in _scales(m) if v > 0]
        self.bits = max((m.bits_per_weight for m in modules), default=1) * 1.15
        self.has_scales = bool(scales)
        self.scales = (min(scales, default=1) / 1.5, max(scales, default=1) * 1.5)

    def picture(self, kind: int, prefix: str) -> Markup:
        cells = self.map.kind_cells(kind)
        x = [column for column, _ in cells]
        figure = _figure(250, 196 if self.has_scales else 90)
        upper = _axes(figure, 44, 20, 198, 52)
        _caption(upper, "bits per weight")
        upper.step(x, [_bits(cell) for _, cell in cells], where="mid", color=ACCENT, linewidth=1.6, marker=_marker(x), markersize=4)
        upper.set(xlim=(-0.5, len(self.map.layers) - 0.5), ylim=(0, self.bits), xticks=[])
        upper.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        lowest = upper
        if self.has_scales:
            lowest = _axes(figure, 44, 102, 198, 68)
            _caption(lowest, "scales")
            self._draw_scales(lowest, cells)
        for axes in {upper, lowest}:
            axes.grid(axis="y", color=RULE, linewidth=0.8)
            axes.set_axisbelow(True)
            axes.tick_params(labelsize=10)
        _name_layers(lowest.xaxis, self.map, -(-len(self.map.layers) // 5))
        return svg(figure, prefix, "Bits per weight and scales of %s by layer" % self.map.kinds[kind])

    def _draw_scales(self, axes: Any, cells: Sequence[Tuple[int, Cell]]) -> None:
        known = [(column, [s for m in cell.modules if (s := _scales(m))]) for column, cell in cells]
        known = [(column, s) for column, s in known if s]
        x = [column for column, _ in known]
        least = [max(min(s[0] for s in each), self.scales[0]) for _, each in known]
        most = [max(s[2] for s in each) for _, each in known]
        middle = [sorted(s[1] for s in each)[len(each) // 2] for _, each in known]
        axes.set_yscale("log")
        axes.set(xlim=(-0.5, len(self.map.layers) - 0.5), ylim=self.scales)
        axes.minorticks_off()
        if len(x) > 1:
            axes.fill_between(x, least, most, color=WEAK, alpha=0.45, linewidth=0)
        else:
            axes.vlines(x, least, most, color=WEAK, linewidth=3)
        axes.plot(x, middle, color=ACCENT, linewidth=1.6, marker=_marker(x), markersize=4)
        ticks = _decades(*self.scales)
        axes.set_yticks(ticks, ["%g" % t for t in ticks])


def _caption(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10, color=MUTED, pad=5)


def _marker(x: Sequence[int]) -> str:
    return "o" if len(x) < 4 else ""


def _bits(cell: Cell) -> float:
    weights = sum(m.weights for m in cell.modules) or 1
    return sum(m.bits_per_weight * m.weights for m in cell.modules) / weights


def _scales(module: Module) -> List[float]:
    """Magnitudes of least, median and greatest scale; empty if there are none but zeros."""
    scales = module.figures["scales"]
    if not scales or scales["max"] is None:
        return []
    values = sorted(abs(scales[key]) for key in ("min", "median", "max"))
    return values if values[1] > 0 else []


def _decades(low: float, high: float) -> List[float]:
    ticks = [m * 10.0**e for e in range(-45, 39) for m in (1, 3) if low <= m * 10.0**e <= high]
    tens = [t for t in ticks if "%e" % t < "2"]
    chosen = ticks if len(ticks) <= 3 else tens or ticks
    return chosen[:: -(-len(chosen) // 4)] if chosen else [low, high]


# ---- experts ----


def experts(map_: Map, kind: int, scale: Scale, prefix: str) -> Tuple[Markup, Markup]:
    """Layers by experts of one kind, for light and for dark: too many for shapes, so these are pictures of pixels."""
    cells = map_.kind_cells(kind)
    count = min(1 + max(m.place.expert or 0 for _, cell in cells for m in cell.modules), 1024)
    grid = [[float("nan")] * len(map_.layers) for _ in range(count)]
    for column, cell in cells:
        for m in cell.modules:
            value = scale.figure.of(m)
            if value is not None and m.place.expert is not None and m.place.expert < count:
                grid[m.place.expert][column] = scale.level(value)
    label = "%s of each expert of %s" % (scale.figure.name, map_.kinds[kind])
    return tuple(_experts(map_, grid, dark, prefix, label) for dark in (False, True))  # type: ignore[return-value]


def _experts(map_: Map, grid: List[List[float]], dark: bool, prefix: str, label: str) -> Markup:
    height = min(max(len(grid) * 4.0, 60.0), 512.0)
    figure = _figure(NARROW, height + 26)
    axes = _axes(figure, 34, 2, NARROW - 40, height)
    colours = matplotlib.colors.ListedColormap([f for f, _ in ramp(dark)])
    axes.imshow(grid, cmap=colours, vmin=0, vmax=LEVELS - 1, aspect="auto", interpolation="nearest")
    _name_layers(axes.xaxis, map_, -(-len(map_.layers) // 8))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return svg(figure, "%s-%s" % (prefix, "dark" if dark else "light"), label)


# ---- several models ----


def tradeoff(models: Sequence[Model], prefix: str) -> Markup:
    """Errors by bits per weight. Numbers stand for the models, in the order of the table."""
    figure = _figure(NARROW, 250)
    axes = _axes(figure, 46, 10, NARROW - 62, 194)
    known = [(i, m.total["bits_per_weight"], m.error) for i, m in enumerate(models) if m.error is not None]
    axes.set(
        xlim=(0, max((bits for _, bits, _ in known), default=1) * 1.12),
        ylim=(0, max((100 * error for _, _, error in known), default=1) * 1.15 or 1),
    )
    titles = {}
    for i, bits, error in known:
        ident = "point%d" % i
        axes.plot([bits], [100 * error], "o", color=ACCENT, markersize=7, clip_on=False, gid=ident)
        axes.annotate(str(i + 1), (bits, 100 * error), (6, 5), textcoords="offset points", color=INK, fontsize=12, fontweight="bold")
        titles[ident] = "%s: %s bits per weight, error %s" % (models[i].name, number(bits), percent(error))
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("bits per weight", color=MUTED)
    axes.set_ylabel("relative error, %", color=MUTED)
    return svg(figure, prefix, "Relative error by bits per weight", titles)
