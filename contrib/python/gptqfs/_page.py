# SPDX-License-Identifier: MIT
"""The page of gptqfs report."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple

import jinja2
from markupsafe import Markup, escape

from . import _charts
from ._figures import ERROR, Map, Model, Module, Scale, number, percent, quantity, shown

ROWS_MAX = 1200  # of the table of all modules
DEPTHS_MAX = 32

_REASONS = {
    ("model", "absent"): "is not in the other model",
    ("model", "shape"): "has another shape there",
    ("model", "transposed"): "is transposed there",
    ("against", "absent"): "is only in the other model",
}

_MEANINGS = {
    "Bits per weight": "All bytes that are stored for a module (codes, scales, zeros, index of groups), over its weights.",
    "Relative error": "\u221a(\u03a3 (w \u2212 w\u2080)\u00b2 / \u03a3 w\u2080\u00b2), with w the weights as they are computed here in fp32, and w\u2080 "
    "those of the other model. Of several modules, such as the experts of a layer, the root of the mean of their squares, by "
    "weights. It is an error of weights, not of what the model says: a module may be far off and matter little, or the other way "
    "round. It is not perplexity, and does not see activations, the key-value cache or what calibration has traded.",
    "SQNR": "The same in decibels: \u221220 log\u2081\u2080 of the relative error. Six more are one bit more.",
    "Greatest difference": "The greatest |w \u2212 w\u2080| of a module, and the row and column where it is first.",
    "Entropy of codes": "\u2212\u03a3 p log\u2082 p over the shares p of the codes: how many of a code\u2019s bits say something. Little of it means "
    "that few codes do most of the work; it does not mean that a module is bad, and much does not mean that it is good.",
    "At the ends": "The shares of weights with the lowest and with the highest code. Many there may mean that weights were clipped.",
    "Scales": "As they are stored, before any scale of scales.",
}


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        undefined=jinja2.Undefined,
        trim_blocks=True,
    )
    environment.filters.update(breaks=_breaks, number=number, percent=percent, quantity=quantity, shown=shown)
    return environment


def _breaks(name: str) -> Markup:
    """A name that may be broken where its parts end."""
    return Markup(str(escape(name)).replace(".", ".<wbr>").replace("_", "_<wbr>"))


# ---- the sentence ----


def _plural(count: int, noun: str) -> str:
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")


def _what(model: Model) -> Markup:
    """What a model is, and how many bits it takes."""
    facts, total = model.facts, model.total
    return Markup("<b>{}</b> is a {} in {}; its {} quantized weights really take <b>{} bits</b> each").format(
        model.name,
        shown(str(facts.get("architecture") or "model"), 60),
        shown(str(facts.get("format") or "no known format"), 60),
        quantity(total["weights"]),
        number(total["bits_per_weight"]),
    )


def _lead(model: Model, other: Optional[str]) -> Markup:
    worst = model.worst(1)
    if not model.modules:
        return Markup("<b>{}</b> has no quantized weights.").format(model.name)
    if model.error is not None and worst:
        if model.error == 0:
            return Markup("{}, and equal those of {}.").format(_what(model), other)
        return Markup("{} and are off by <b>{}</b> from {}, worst in {} ({}).").format(
            _what(model), percent(model.error), other, worst[0].title, percent(worst[0].error)
        )
    if worst and worst[0].use is not None:
        return Markup("{}, and {} uses the least of its codes ({} of {} bits).").format(
            _what(model), worst[0].title, number(worst[0].figures["codes"]["entropy"]), worst[0].figures["bits"]
        )
    return Markup("{}.").format(_what(model))


def _lead_of_several(models: Sequence[Model], other: str) -> Markup:
    known = [m for m in models if m.error is not None]
    if not known:
        return Markup("Nothing of these models can be compared with {}.").format(other)
    best = min(known, key=lambda m: m.error or 0)
    small = min(known, key=lambda m: float(m.total["bits_per_weight"]))
    text = Markup("Of {} beside {}, <b>{}</b> is the nearest: off by {} at {} bits per weight").format(
        _plural(len(models), "model"), other, best.name, percent(best.error), number(best.total["bits_per_weight"])
    )
    if small is not best:
        text += Markup("; <b>{}</b> is the smallest: off by {} at {}").format(
            small.name, percent(small.error), number(small.total["bits_per_weight"])
        )
    return text + "."


def _facts(model: Model) -> List[Tuple[str, str]]:
    total = model.total
    against = total["against"]
    facts = [
        ("bits per weight", number(total["bits_per_weight"])),
        ("quantized weights", quantity(total["weights"])),
        ("stored in", quantity(total["stored_bytes"], "B")),
        ("modules", str(total["modules"])),
    ]
    if against:
        facts.insert(0, ("relative error", percent(against["rel_error"])))
        facts.insert(1, ("SQNR", number(against["sqnr_db"]) + ("\u00a0dB" if against["sqnr_db"] is not None else "")))
        if total["compared"] == total["modules"]:
            facts[-1] = ("modules, all compared", str(total["modules"]))
        else:
            facts[-1] = ("modules compared", "%d of %d" % (total["compared"], total["modules"]))
    return facts


def _notices(models: Sequence[Model]) -> List[str]:
    lines = []
    for model in models:
        if not model.total["complete"]:
            lines.append("%s: interrupted; what was not finished is missing." % model.name)
    if any(model.facts.get("synthetic") for model in models):
        lines.append("Synthetic figures, of no model that exists.")
    return lines


# ---- parts of the page ----


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _experts(map_: Map, prefix: str) -> Optional[Dict[str, Any]]:
    """The kinds of a map that are experts, with a scale of their own: single ones differ by more than their means."""
    kinds = [kind for kind in range(len(map_.kinds)) if any(m.place.expert is not None for m in map_.of_kind(kind))]
    scale = Scale(map_.figure, map_.figure.values(m for kind in kinds for m in map_.of_kind(kind)))
    if not kinds:
        return None
    parts = []
    for kind in kinds:
        label = map_.kinds[kind]
        rows = []
        for column, cell in map_.kind_cells(kind):
            single = [(scale.figure.of(m), m.place.expert) for m in cell.modules]
            pairs = [(value, expert) for value, expert in single if value is not None and expert is not None]
            if pairs:
                values = [value for value, _ in pairs]
                worst = scale.figure.worst(values)
                rows.append(
                    {
                        "layer": map_.layers[column],
                        "least": min(values),
                        "median": _median(values),
                        "greatest": max(values),
                        "worst": next(expert for value, expert in pairs if value == worst),
                    }
                )
        parts.append({"kind": label, "pictures": _charts.experts(map_, kind, scale, "%s-x%d" % (prefix, kind)), "rows": rows})
    return {"legend": _charts.legend(scale, prefix + "xl"), "parts": parts}


def _row(models: Sequence[Model], map_: Map) -> float:
    """Several deep models are compared at a glance, without numbers in the cells."""
    return 15 if len(models) == 1 or len(map_.layers) <= 40 else 9


def _maps(models: Sequence[Model], scale: Scale) -> List[Tuple[Model, List[Dict[str, Any]]]]:
    out = []
    for i, model in enumerate(models):
        drawn = []
        for k, map_ in enumerate(model.maps):
            prefix = "m%d-%d" % (i, k)
            item: Dict[str, Any] = {"map": map_, "narrow": _charts.tall_map(map_, scale, prefix + "n", _row(models, map_))}
            if len(models) == 1:
                item["wide"] = _charts.wide_map(map_, scale, prefix + "w")
                item["experts"] = _experts(map_, prefix)
            drawn.append(item)
        out.append((model, drawn))
    return out


def _worst(models: Sequence[Model]) -> List[Dict[str, Any]]:
    each = 12 if len(models) == 1 else 6
    pairs = [(model, m) for model in models for m in model.worst(each)]
    if len(models) > 1:
        pairs.sort(key=lambda pair: -(pair[1].error or 0))
    items = []
    for i, (model, m) in enumerate(pairs[:12]):
        picture = _charts.histogram(m, "h%d" % i) if m.figures["codes"] else ""
        items.append({"model": model, "module": m, "histogram": picture})
    return items


def _by_kind(models: Sequence[Model], scale: Scale) -> List[Tuple[str, List[Optional[float]]]]:
    means: List[Dict[str, Optional[float]]] = []
    for model in models:
        means.append({kind: scale.figure.mean(map_.of_kind(i)) for map_ in model.maps for i, kind in enumerate(map_.kinds)})
    return [(kind, [mean.get(kind) for mean in means]) for kind in dict.fromkeys(kind for mean in means for kind in mean)]


def _depth(model: Model) -> List[Tuple[str, Markup]]:
    pictures: List[Tuple[str, Markup]] = []
    for i, map_ in enumerate(model.maps):
        depth = _charts.Depth(map_)
        for kind, label in enumerate(map_.kinds[: DEPTHS_MAX - len(pictures)]):
            name = label if i == 0 else "%s: %s" % (map_.stack, label)
            pictures.append((name, depth.picture(kind, "d%d-%d" % (i, kind))))
    return pictures


def _scale(models: Sequence[Model]) -> Optional[Scale]:
    figures = [m.figure for m in models if m.figure]
    if not figures:
        return None
    figure = ERROR if ERROR in figures else figures[0]
    return Scale(figure, [value for m in models if m.figure is figure for value in m.values()])


# ---- the page ----


def render(models: Sequence[Model], other: Optional[str], version: str) -> str:
    """Returns the page about models, all against `other` if that is not None."""
    with _charts.drawing():
        return _render(models, other and shown(other, 80), version)


def _render(models: Sequence[Model], other: Optional[str], version: str) -> str:
    environment = _environment()
    single = models[0] if len(models) == 1 else None
    scale = _scale(models)
    compared = bool(scale and scale.figure is ERROR)
    css = environment.get_template("page.css").render(light=_charts.ramp(False), dark=_charts.ramp(True))
    drawn = [m for m in models if scale and m.figure is scale.figure]
    order = single.worst(len(single.modules)) if single else []
    everything = single.modules if single and len(single.modules) <= ROWS_MAX else order[:ROWS_MAX]
    return environment.get_template("page.html").render(
        css=Markup(css),
        title="gptqfs report: " + ", ".join(m.name for m in models),
        lead=_lead(single, other) if single else _lead_of_several(models, other or ""),
        notices=_notices(models),
        facts=_facts(single) if single and single.modules else [],
        models=models,
        compared=compared,
        scale=scale,
        heading="Where the error is" if compared else "How much of the codes is used",
        map_note=_map_note(compared, other, scale),
        legend=_charts.legend(scale, "legend") if scale else "",
        maps=_maps(drawn, scale) if scale else [],
        by_kind=_by_kind(models, scale) if scale and not single else [],
        tradeoff=_charts.tradeoff(models, "tradeoff") if not single else "",
        worst=_worst(drawn),
        worst_note=_worst_note(compared),
        all=everything,
        depth=_depth(single) if single else [],
        meanings=_MEANINGS.items(),
        reasons=_REASONS,
        version=version,
        sources=[m.name for m in models],
        other=other,
    )


def _map_note(compared: bool, other: Optional[str], scale: Optional[Scale]) -> str:
    if not scale:
        return ""
    text = "Relative error of weights against %s, in per cent." % other if compared else "Entropy of the codes over their bits, in per cent; less is worse."
    if scale.log:
        text += " The scale of colours is logarithmic."
    return text + " What stands out is worse."


def _worst_note(compared: bool) -> str:
    what = "Those with the greatest error" if compared else "Those that use the least of their bits"
    return what + ", and how often each of their codes occurs, from the lowest number to the highest. The two ends are marked."
