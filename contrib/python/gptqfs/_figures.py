# SPDX-License-Identifier: MIT
"""What gptqfs --stats --json says, arranged for a page: maps of layers and projections, and text for numbers and names.

Names come from models and may be anything: what is shown of them passes through shown(), which bounds and cleans it.
"""

from __future__ import annotations

import math
import re
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

LEVELS = 24
COLUMNS_MAX = 160  # of a map; more layers share columns
KINDS_MAX = 24
STACKS_MAX = 4
NAME_MAX = 160
LABEL_MAX = 22

# In the order in which a layer computes them; others come after these, as the model has them.
ORDER = ["q", "q_a", "q_b", "k", "v", "kv_a", "kv_a_proj_with_mqa", "kv_b", "qkv", "c_attn", "o", "gate", "up", "gate_up", "down"]

Json = Dict[str, Any]


# ---- text ----


def shown(text: str, most: int = NAME_MAX) -> str:
    """A name from a model: printable characters only, and of bounded length. The end says more than the middle."""
    if len(text) > most:
        head = most // 3
        text = text[:head] + "\u2026" + text[head + 1 - most :]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def number(value: Any, digits: int = 3) -> str:
    """With so many digits, which line up in a column; a dash for what does not exist."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "\u2013"
    text = ("%#.*g" % (digits, value)).rstrip(".") if value else "0"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = "%s\u00d710%s" % (mantissa, str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")))
    return text.replace("-", "\u2212")


def percent(value: Any, digits: int = 3) -> str:
    return number(100 * value, digits) + "\u202f%" if isinstance(value, (int, float)) else number(None)


def quantity(value: float, unit: str = "") -> str:
    """A number with a prefix of SI: "6.74 G" weights."""
    for prefix in "", "k", "M", "G", "T":
        if abs(value) < 999.5 or prefix == "T":
            break
        value /= 1000
    digits = "%d" % value if not prefix else "%.3g" % value
    return "%s\u00a0%s%s" % (digits, prefix, unit) if prefix or unit else digits


# ---- modules ----


class Place(NamedTuple):
    """Where a module is by its name: "model.layers.0.mlp.experts.3.up_proj"."""

    stack: str  # "model.layers"; "" if in no layer
    layer: int
    tail: Tuple[str, ...]  # "mlp", "experts", "*", "up"
    expert: Optional[int]


def place_of(name: str) -> Place:
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if re.fullmatch("[0-9]{1,9}", part)), None)
    if at is None:
        return Place("", -1, (name,), None)
    tail = [re.sub("_proj$", "", part) for part in parts[at + 1 :]]
    experts = [i for i, part in enumerate(tail) if re.fullmatch("[0-9]{1,9}", part)]
    expert = int(tail[experts[0]]) if experts else None
    return Place(".".join(parts[:at]), int(parts[at]), tuple("*" if i in experts else p for i, p in enumerate(tail)), expert)


class Module:
    """One quantized module and its figures."""

    def __init__(self, figures: Json) -> None:
        self.figures = figures
        self.name = str(figures["name"])
        self.place = place_of(self.name)
        self.weights = math.prod(figures["shape"]) if figures["shape"] else 0
        self.bits_per_weight: float = figures["bits_per_weight"]
        against, codes = figures["against"], figures["codes"]
        self.error: Optional[float] = against["rel_error"] if against else None
        self.use: Optional[float] = codes["entropy"] / figures["bits"] if codes else None

    @property
    def title(self) -> str:
        return shown(self.name)


class Figure(NamedTuple):
    """What maps are coloured by."""

    key: str  # of Module
    name: str
    worst: Callable[[Iterable[float]], float]

    def of(self, module: Module) -> Optional[float]:
        value: Optional[float] = getattr(module, self.key)
        return value

    def values(self, modules: Iterable[Module]) -> List[float]:
        """Of those modules that have one."""
        return [value for value in map(self.of, modules) if value is not None]

    def mean(self, modules: Sequence[Module]) -> Optional[float]:
        """Of several modules by their weights: of errors the root of the mean square."""
        power = 2 if self.key == "error" else 1
        pairs = [(self.of(m), m.weights) for m in modules]
        known = [(value, weights) for value, weights in pairs if value is not None]
        total = sum(weights for _, weights in known)
        if not total:
            return None
        mean: float = sum(value**power * weights for value, weights in known) / total
        return math.sqrt(mean) if power == 2 else mean


ERROR = Figure("error", "relative error", max)
USE = Figure("use", "entropy of the codes over their bits", min)


def figure_of(modules: Sequence[Module]) -> Optional[Figure]:
    """The first that there is."""
    for figure in ERROR, USE:
        if figure.values(modules):
            return figure
    return None


# ---- maps ----


class Cell(NamedTuple):
    modules: List[Module]
    value: Optional[float]


class Map:
    """The layers of one stack by their kinds of projection."""

    def __init__(self, stack: str, modules: Sequence[Module], figure: Figure) -> None:
        self.stack = shown(stack, 60)
        self.figure = figure
        kinds = _kinds_of(modules)
        layers = sorted({m.place.layer for m in modules})
        step = -(-len(layers) // COLUMNS_MAX)
        bands = [layers[i : i + step] for i in range(0, len(layers), step)]
        column = {layer: i for i, band in enumerate(bands) for layer in band}
        self.layers = [str(b[0]) if len(b) == 1 else "%d\u2013%d" % (b[0], b[-1]) for b in bands]
        self.kinds = list(dict.fromkeys(kinds.values()))
        self.kinds.sort(key=_rank)
        row = {label: i for i, label in enumerate(self.kinds)}
        grid: Dict[Tuple[int, int], List[Module]] = {}
        for m in modules:
            grid.setdefault((row[kinds[m.place.tail]], column[m.place.layer]), []).append(m)
        self.cells = {at: Cell(list_, figure.mean(list_)) for at, list_ in grid.items()}

    def kind_cells(self, kind: int) -> List[Tuple[int, Cell]]:
        """(column, cell) of a kind, in the order of layers."""
        return [(c, self.cells[kind, c]) for c in range(len(self.layers)) if (kind, c) in self.cells]

    def of_kind(self, kind: int) -> List[Module]:
        return [m for _, cell in self.kind_cells(kind) for m in cell.modules]

    def label(self, kind: int, column: int) -> str:
        return "layer %s, %s" % (self.layers[column], self.kinds[kind])


def _rank(label: str) -> Tuple[bool, bool, int]:
    last = label.rsplit(".", 1)[-1]
    return "experts" in label, "shared" in label, ORDER.index(last) if last in ORDER else len(ORDER)


def _kinds_of(modules: Sequence[Module]) -> Dict[Tuple[str, ...], str]:
    """Labels of what there is in layers: the shortest ends of the names that differ."""
    counts: Dict[Tuple[str, ...], int] = {}
    for m in modules:
        counts[m.place.tail] = counts.get(m.place.tail, 0) + 1
    kept = sorted(counts, key=lambda tail: -counts[tail])[: KINDS_MAX - (len(counts) > KINDS_MAX)]
    words = {tail: tuple(word for word in tail if word != "*") or ("layer",) for tail in counts if tail in set(kept)}
    length = {tail: 2 if "experts" in w[-2:-1] else 1 for tail, w in words.items()}
    for _ in range(8):
        labels = {tail: ".".join(w[-length[tail] :]) for tail, w in words.items()}
        again = [tail for tail in words if list(labels.values()).count(labels[tail]) > 1]
        for tail in again:
            length[tail] += 1
    short = {tail: shown(label, LABEL_MAX) for tail, label in labels.items()}
    return {tail: short.get(tail, "others") for tail in counts}


class Scale:
    """From values to levels of colour: the greatest level is the worst value."""

    def __init__(self, figure: Figure, values: Sequence[float]) -> None:
        self.figure = figure
        self.low, self.high = min(values, default=0.0), max(values, default=0.0)
        self.log = self.low > 0 and self.high / self.low > 8
        self.reverse = figure.worst is min

    def position(self, value: float) -> float:
        """From 0 (least) to 1 (greatest)."""
        if self.high <= self.low:
            return 0.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def level(self, value: float) -> int:
        level = max(0, min(int(self.position(value) * LEVELS), LEVELS - 1))
        return LEVELS - 1 - level if self.reverse and self.high > self.low else level

    def ticks(self) -> List[float]:
        """A few values between the ends, evenly spaced in colour."""
        if self.high <= self.low:
            return [self.low]
        if self.log:
            return [self.low * (self.high / self.low) ** (i / 4) for i in range(5)]
        return [self.low + (self.high - self.low) * i / 4 for i in range(5)]


# ---- a model ----


class Model:
    """All that a page says about one model."""

    def __init__(self, name: str, stats: Json, facts: Json) -> None:
        self.name = shown(name, 80)
        self.stats = stats
        self.facts = facts
        self.total: Json = stats["total"]
        self.modules = [Module(m) for m in stats["modules"]]
        self.figure = figure_of(self.modules)
        self.maps, self.outside = self._map() if self.figure else ([], [])

    def _map(self) -> Tuple[List[Map], List[Module]]:
        assert self.figure
        stacks: Dict[str, List[Module]] = {}
        for m in self.modules:
            if m.place.stack:
                stacks.setdefault(m.place.stack, []).append(m)
        largest = sorted(stacks, key=lambda stack: -len(stacks[stack]))[:STACKS_MAX]
        maps = [Map(stack, stacks[stack], self.figure) for stack in largest]
        return maps, [m for m in self.modules if m.place.stack not in largest]

    def values(self) -> List[float]:
        """Of everything that has a colour."""
        assert self.figure
        cells = [cell.value for map_ in self.maps for cell in map_.cells.values() if cell.value is not None]
        return cells + self.figure.values(self.outside)

    def worst(self, most: int = 10) -> List[Module]:
        if not self.figure:
            return []
        known = [m for m in self.modules if self.figure.of(m) is not None]
        return sorted(known, key=self.figure.of, reverse=self.figure.worst is max)[:most]  # type: ignore[arg-type]

    @property
    def error(self) -> Optional[float]:
        against: Optional[Json] = self.total["against"]
        error: Optional[float] = against["rel_error"] if against else None
        return error
