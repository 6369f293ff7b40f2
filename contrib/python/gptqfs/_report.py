# SPDX-License-Identifier: MIT
"""gptqfs report: computes the figures of models and writes the page about them."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
from typing import Any, List, NoReturn, Optional, Sequence

from . import _EXIT_SERVE, _EXIT_USAGE, Adapters, Error, Path, _against, _argument, _run, _words, program

MODELS_MAX = 8
_NEEDS = "matplotlib", "jinja2"


def _page() -> Any:
    """The module that draws, if there is what it needs: asked for before anything is computed."""
    for name in _NEEDS:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Error("a report needs %s: pip install 'gptqfs[report]' (%s)" % (" and ".join(_NEEDS), error), _EXIT_USAGE) from None
    return importlib.import_module("gptqfs._page")


def name_of(path: str) -> str:
    """What a model is called: the last part of its path, or org/name for an entry of the Hugging Face cache."""
    parts = [part for part in os.path.abspath(path).split(os.sep) if part]
    for part in reversed(parts):
        if part.startswith("models--"):
            return part[len("models--") :].replace("--", "/", 1)
    return path if not os.path.exists(path) else parts[-1] if parts else os.sep


def write(
    models: Sequence[Path],
    out: str,
    *,
    against: Optional[Path],
    lora: Adapters = None,
    options: Sequence[str] = (),
    progress: bool = False,
) -> str:
    """See gptqfs.report. With `progress` the program's messages go to stderr, and not into errors."""
    if not 1 <= len(models) <= MODELS_MAX:
        raise ValueError("%d models: expected 1 to %d" % (len(models), MODELS_MAX))
    if len(models) > 1 and against is None:
        raise ValueError("several models need against=, the one that they are compared with")
    page, figures = _page(), importlib.import_module("gptqfs._figures")
    made = []
    for model in models:
        facts = json.loads(_run([*_words(None, lora, ["--check", "--json", *options]), _argument(model)]))
        words = _words(None, lora, ["--stats", "--json", *_against(against), *options])
        stats = json.loads(_run([*words, _argument(model)], shown=progress))
        made.append(figures.Model(name_of(os.fspath(model)), stats, facts))
    other = None if against is None else name_of(os.fspath(against))
    version = _run([program(), "--version"]).split(",")[0].split()[-1]
    return _save(page.render(made, other, version), out)


def _save(text: str, out: str) -> str:
    """Writes a file that is there either whole or not at all."""
    if out == "-":
        sys.stdout.write(text)
        return out
    handle, part = tempfile.mkstemp(dir=os.path.dirname(out) or ".", prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, 0o666 & ~mask)
        os.replace(part, out)
    except BaseException:
        os.unlink(part)
        raise
    return out


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_EXIT_USAGE, "gptqfs: report: %s; see gptqfs report --help\n" % message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gptqfs report",
        description="Writes a page, one file of HTML, about what quantization did to a model, module by module.",
        epilog="What the figures mean is on the page, and in gptqfs(1) under STATISTICS.",
    )
    parser.add_argument("model", nargs="?", metavar="MODEL_DIR", help="a model, as for gptqfs --stats")
    parser.add_argument("--against", metavar="DIR", help="the original model, or any other, to compare with")
    parser.add_argument("--compare", nargs="+", metavar="MODEL_DIR", help="several models beside each other; needs --against")
    parser.add_argument("--lora", action="append", default=[], metavar="DIR[:SCALE]", help="merge an adapter first; may be repeated")
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="the page (report.html); - for stdout")
    return parser


def main(arguments: Sequence[str]) -> int:
    """The command. Returns its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    models: List[str] = [*([given.model] if given.model else []), *(given.compare or [])]
    if not models:
        parser.error("a MODEL_DIR is missing")
    if len(models) > 1 and not given.against:
        parser.error("--compare needs --against DIR")
    if len(models) > MODELS_MAX:
        parser.error("at most %d models fit on a page" % MODELS_MAX)
    options = ["--lora=" + adapter for adapter in given.lora]
    try:
        path = write(models, given.output, against=given.against, options=options, progress=True)
    except Error as error:
        if str(error):
            print("gptqfs: %s" % error, file=sys.stderr)
        return error.status
    except OSError as error:
        print("gptqfs: %s: %s" % (given.output, error.strerror), file=sys.stderr)
        return _EXIT_SERVE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if path != "-":
        print("gptqfs: %s: %d kB" % (path, os.path.getsize(path) // 1000), file=sys.stderr)
    return 0
