#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gptqfs report. What needs matplotlib and jinja2 is skipped where they are absent; make report-check looks at pages in a
browser."""

import html.parser
import json
import math
import os
import random
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True

import packages  # noqa: E402
from packages import GPTQFS, MODEL, MODULE, ROOT  # noqa: E402

sys.path.insert(0, str(ROOT / "tests/report"))

import gptqfs  # noqa: E402
import synthetic  # noqa: E402
from gptqfs import _figures, _report  # noqa: E402

try:
    from gptqfs import _page
except ImportError:
    _page = None

VOID = {"meta", "link", "br", "wbr", "image"}


def modules(*names):
    return [_figures.Module(synthetic.module(name, [8, 8], 0.1)) for name in names]


def model(figures, name="model"):
    return _figures.Model(name, *figures)


def command(*arguments, cwd=None, python=()):
    return subprocess.run(
        [sys.executable, *python, "-m", "gptqfs", *arguments],
        env=dict(os.environ, PYTHONPATH=str(MODULE)),
        cwd=cwd,
        capture_output=True,
        text=True,
    )


class Names(unittest.TestCase):
    def place(self, name):
        return tuple(_figures.place_of(name))

    def test_places(self):
        self.assertEqual(self.place("model.layers.3.self_attn.q_proj"), ("model.layers", 3, ("self_attn", "q"), None))
        self.assertEqual(
            self.place("model.layers.3.mlp.experts.17.up_proj"), ("model.layers", 3, ("mlp", "experts", "*", "up"), 17)
        )
        self.assertEqual(self.place("lm_head"), ("", -1, ("lm_head",), None))
        self.assertEqual(self.place("x." + "9" * 5000)[0], "")

    def test_shortest_labels_that_differ(self):
        layer = "model.layers.0."
        names = ["self_attn.q_proj", "mlp.down_proj", "mlp.experts.0.down_proj", "mlp.shared_experts.down_proj", "mlp.gate"]
        map_ = _figures.Map("model.layers", modules(*(layer + name for name in names)), _figures.ERROR)
        self.assertEqual(map_.kinds, ["q", "gate", "mlp.down", "experts.down", "shared_experts.down"])

    def test_towers_have_maps_of_their_own(self):
        names = ["visual.blocks.0.attn.qkv", "model.layers.0.q_proj", "model.layers.1.q_proj", "lm_head"]
        figures = synthetic.stats([synthetic.module(name, [8, 8], 0.1) for name in names], True)
        made = model((figures, synthetic.facts("X")))
        self.assertEqual([map_.stack for map_ in made.maps], ["model.layers", "visual.blocks"])
        self.assertEqual([m.name for m in made.outside], ["lm_head"])

    def test_shown(self):
        self.assertEqual(_figures.shown("a\u202eb\n\x00c"), "a\ufffdb\ufffd\ufffdc")
        self.assertEqual(len(_figures.shown("x" * 10**6)), _figures.NAME_MAX)
        for length in 200, 1000, 10**6:
            text = _figures.shown("begin" + "x" * length + ".end")
            self.assertTrue(text.startswith("beginx") and text.endswith("x.end"), text)


class Numbers(unittest.TestCase):
    def test_text(self):
        self.assertEqual(_figures.number(4.15625), "4.16")
        self.assertEqual((_figures.number(None), _figures.number(0), _figures.number(4.0)), ("\u2013", "0", "4.00"))
        self.assertEqual(_figures.number(1.5e-7), "1.50\u00d710\u207b\u2077")
        self.assertEqual(_figures.percent(0.0912), "9.12\u202f%")
        self.assertEqual(_figures.quantity(69.5e9), "69.5\u00a0G")
        self.assertEqual(_figures.quantity(57800000, "B"), "57.8\u00a0MB")
        self.assertEqual(_figures.quantity(12), "12")

    def test_error_of_several_is_the_root_of_the_mean_square(self):
        several = [_figures.Module(synthetic.module("m.0.experts.%d.up" % i, [2 + 2 * i, 8], e)) for i, e in enumerate((0.3, 0.1))]
        self.assertAlmostEqual(_figures.ERROR.mean(several), math.sqrt((16 * 0.09 + 32 * 0.01) / 48), 12)

    def test_colours(self):
        rng = random.Random(7)
        for low, high in (0.1, 0.2), (0.001, 0.9), (0.5, 0.5):
            for figure in _figures.ERROR, _figures.USE:
                scale = _figures.Scale(figure, [low, high])
                worst, best = (high, low) if figure is _figures.ERROR else (low, high)
                levels = [scale.level(v) for v in sorted((rng.uniform(low, high) for _ in range(100)), reverse=figure is _figures.USE)]
                self.assertEqual(levels, sorted(levels))
                if low < high:
                    self.assertEqual((scale.level(best), scale.level(worst)), (0, _figures.LEVELS - 1))

    def test_layers_beyond_the_width_share_columns(self):
        map_ = _figures.Map("m", modules(*("m.%d.q" % i for i in range(1000))), _figures.ERROR)
        self.assertLessEqual(len(map_.layers), _figures.COLUMNS_MAX)
        self.assertEqual(map_.layers[0], "0\u20136")
        self.assertEqual(sum(len(cell.modules) for cell in map_.cells.values()), 1000)

    def test_worst(self):
        made = model(synthetic.llama(layers=4))
        errors = [m.error for m in made.worst(5)]
        self.assertEqual(errors, sorted((m.error for m in made.modules), reverse=True)[:5])
        made = model(synthetic.llama(layers=4, compared=False))
        self.assertEqual(made.worst(1)[0].use, min(m.use for m in made.modules))

    def test_hostile(self):
        made = model(synthetic.hostile(), synthetic.MARKUP)
        self.assertLessEqual(len(made.maps), _figures.STACKS_MAX)
        for map_ in made.maps:
            self.assertLessEqual(len(map_.kinds), _figures.KINDS_MAX)
            self.assertTrue(all(len(kind) <= _figures.LABEL_MAX for kind in map_.kinds))
        self.assertEqual(sum(len(c.modules) for m in made.maps for c in m.cells.values()) + len(made.outside), len(made.modules))


class Command(packages.Test):
    def test_usage(self):
        for words in [], ["--compare", "a", "b"], ["a", "b"], ["--nonsense", "a"]:
            done = command("report", *words, cwd=self.tmp)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertTrue(done.stderr.startswith("gptqfs: report: "), done.stderr)

    def test_without_matplotlib(self):
        done = command("report", str(MODEL), cwd=self.tmp, python=["-S"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("pip install 'gptqfs[report]'", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(os.listdir(self.tmp), [])

    def test_model_of_that_name(self):
        os.symlink(MODEL, self.tmp / "report")
        done = command("report", "--check", cwd=self.tmp)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("LlamaForCausalLM", done.stdout)

    def test_program_alone(self):
        for words in ["report", "model"], ["report", "model", "--against", "x", "-o", "y.html"]:
            done = subprocess.run([GPTQFS, *words], cwd=self.tmp, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("pip install 'gptqfs[report]'", done.stderr)

    def test_names(self):
        self.assertEqual(_report.name_of("/hub/models--org--a-b/snapshots/123"), "org/a-b")
        self.assertEqual(_report.name_of(str(MODEL) + "/"), MODEL.name)
        self.assertEqual(_report.name_of("org/name"), "org/name")

    def test_several_need_another(self):
        with self.assertRaises(ValueError):
            gptqfs.report([MODEL, MODEL], self.tmp / "x.html")


class Reader(html.parser.HTMLParser):
    """What of a page could run, load or be unbalanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.bad, self.text, self.idents = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed", "img", "form", "a"):
            self.bad.append(tag)
        for key, value in attributes:
            if key.startswith("on") or (key in ("src", "href", "xlink:href") and value[:1] != "#" and not value.startswith("data:")):
                self.bad.append((tag, key, value))
            self.idents += [value] if key == "id" else []

    def handle_endtag(self, tag):
        if tag not in VOID and self.open.pop() != tag:
            self.bad.append("</%s>" % tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


@unittest.skipUnless(_page, "needs matplotlib and jinja2")
class Page(packages.Test):
    def read(self, page):
        self.assertLess(len(page.encode()), 2_000_000)
        reader = Reader(page)
        self.assertEqual((reader.bad, reader.open), ([], []))
        self.assertEqual(len(reader.idents), len(set(reader.idents)))
        return reader

    def test_hostile(self):
        made = model(synthetic.hostile(), synthetic.MARKUP)
        page = _page.render([made], synthetic.MARKUP, "0.1.0")
        text = "".join(self.read(page).text)
        self.assertNotIn("<script", page)
        self.assertNotIn("\u202e", page)
        self.assertIn("<script>alert(1)</script>", text)
        self.assertIn("{{7*7}}", text)

    def test_experts(self):
        page = _page.render([model(synthetic.moe(layers=3, experts=4))], "original", "0.1.0")
        self.assertIn("experts.down", "".join(self.read(page).text))

    def test_several(self):
        models = [model(synthetic.llama(layers=3, bits=bits), "model-%d" % bits) for bits in (2, 3, 4)]
        self.assertIn("model-4", "".join(self.read(_page.render(models, "original", "0.1.0")).text))

    def test_nothing_quantized(self):
        stats = {"modules": [], "unpaired": [], "changed": [], "total": dict.fromkeys(synthetic.llama(1)[0]["total"])}
        stats["total"].update(modules=0, weights=0, stored_bytes=0, complete=True)
        self.assertIn("no quantized weights", "".join(self.read(_page.render([model((stats, {"warnings": []}))], None, "0")).text))

    def test_fixture(self):
        out = self.tmp / "page.html"
        done = command("report", str(MODEL), "--against", str(MODEL), "-o", str(out))
        self.assertEqual(done.returncode, 0, done.stderr)
        text = "".join(self.read(out.read_text(encoding="utf-8")).text)
        self.assertEqual(os.listdir(self.tmp), ["page.html"])
        figures = json.loads(subprocess.run([GPTQFS, "--stats", "--json", MODEL], capture_output=True, check=True).stdout)
        self.assertIn("equal those of %s" % MODEL.name, text)
        for m in figures["modules"]:
            self.assertIn(m["name"], text)


if __name__ == "__main__":
    sys.exit(packages.main())
