# SPDX-License-Identifier: MIT
"""Quantized models as ordinary ones.

    with gptqfs.mount("models/SmolLM2-gptq", view="bf16") as path:
        model = AutoModelForCausalLM.from_pretrained(path)

Everything is done by the program gptqfs, which the package carries.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

__all__ = ["Error", "MountError", "export", "info", "mount", "program", "report", "stats"]

Path = Union[str, "os.PathLike[str]"]
# An adapter, with a scale if that is not 1.
Adapter = Union[Path, Tuple[Path, float]]
Adapters = Union[Adapter, List[Adapter], None]

_EXIT_USAGE, _EXIT_MOUNT, _EXIT_SERVE = 1, 4, 5
# Says when the mount is there, and keeps it until its standard input ends: also when this process dies.
_HOLD = ("sh", "-c", "echo && exec cat")


class Error(Exception):
    """gptqfs failed: str() is its message, status its exit status (man gptqfs)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class MountError(Error):
    """Nothing can be mounted here: there is no /dev/fuse, no fusermount3, or no permission."""


def program() -> str:
    """Returns the path of the program: $GPTQFS, the one in this package, or the one in $PATH."""
    carried = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "gptqfs")
    found = os.environ.get("GPTQFS") or (carried if os.path.exists(carried) else shutil.which("gptqfs"))
    if not found:
        raise FileNotFoundError("this package carries no program gptqfs, and there is none in $PATH")
    return found


def _argument(path: Path) -> str:
    """A path that cannot be taken for an option."""
    text = os.fspath(path)
    return "./" + text if text.startswith("-") else text


def _words(view: Optional[str], lora: Adapters, options: Sequence[str]) -> List[str]:
    """The command line, up to the model."""
    adapters = lora if isinstance(lora, list) else [] if lora is None else [lora]
    words = [program()]
    if view is not None:
        words.append("--view=" + view)
    for adapter in adapters:
        directory, scale = adapter if isinstance(adapter, tuple) else (adapter, None)
        path = os.fspath(directory)
        if scale is None and ":" in path:
            scale = 1  # what follows the colon would be taken for a scale
        words.append("--lora=" + path + ("" if scale is None else ":%r" % float(scale)))
    return words + list(options)


def _failure(stderr: str, status: int) -> Error:
    lines = [line[len("gptqfs: ") :] if line.startswith("gptqfs: ") else line for line in stderr.splitlines()]
    message = "\n".join(lines) or "gptqfs ended with status %d" % status
    return (MountError if status == _EXIT_MOUNT else Error)(message, status)


def _run(words: Sequence[str], *, shown: bool = False) -> str:
    """Returns what the program printed; raises Error with its messages if it failed, without any if they are `shown`."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if shown else subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise Error("", done.returncode) if shown else _failure(done.stderr, done.returncode)
    return done.stdout


def info(model: Path, *, lora: Adapters = None) -> Dict[str, Any]:
    """Reads and validates a model; returns what gptqfs --check --json prints."""
    facts: Dict[str, Any] = json.loads(_run(_words(None, lora, ["--check", "--json"]) + [_argument(model)]))
    return facts


def stats(model: Path, *, against: Optional[Path] = None, lora: Adapters = None, options: Sequence[str] = ()) -> Dict[str, Any]:
    """Computes figures about every quantized module, and about its difference from that of the model `against`; returns what
    gptqfs --stats --json prints."""
    words = _words(None, lora, ["--stats", "--json", *_against(against), *options])
    figures: Dict[str, Any] = json.loads(_run([*words, _argument(model)]))
    return figures


def _against(other: Optional[Path]) -> List[str]:
    return [] if other is None else ["--against=" + os.fspath(other)]


def report(
    models: Union[Path, Sequence[Path]],
    out: Path = "report.html",
    *,
    against: Optional[Path] = None,
    lora: Adapters = None,
    options: Sequence[str] = (),
) -> str:
    """Writes a page about what quantization did to a model, or to several beside each other, which needs `against`.

    It is one file of HTML that needs nothing else. Returns its path. Needs matplotlib and jinja2: pip install
    'gptqfs[report]'.
    """
    from . import _report

    several = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    return _report.write(several, os.fspath(out), against=against, lora=lora, options=options)


def export(
    model: Path, out: Path, *, view: str, lora: Adapters = None, force: bool = False, options: Sequence[str] = ()
) -> str:
    """Writes a view as an ordinary directory, which must be empty or absent unless `force`. Returns its path.

    An interrupted export is continued by the next one.
    """
    words = _words(view, lora, ["--quiet", *(["--force"] if force else []), *options])
    directory = os.fspath(out)
    _run([*words, "--export=" + directory, _argument(model)])
    return directory


@contextlib.contextmanager
def mount(
    model: Path,
    *,
    view: Optional[str] = None,
    lora: Adapters = None,
    options: Sequence[str] = (),
    fallback: Optional[str] = None,
) -> Iterator[str]:
    """Shows a model in a temporary directory while the context lasts; its value is the path.

    Without a view all are shown, each in a directory. `options` are more arguments of the program, such as
    "--cache=64m". Where nothing can be mounted MountError is raised; with fallback="export" the view is written to a
    temporary directory instead, which takes the space and the time of a copy. Do not use memory that a program mapped
    from the path, as transformers does on a CPU, after the context has ended: copy it, or keep the context open.
    """
    if fallback not in (None, "export"):
        raise ValueError("fallback=%r: expected None or 'export'" % (fallback,))
    if fallback and view is None:
        raise ValueError("fallback='export' needs a view")
    with tempfile.TemporaryDirectory(prefix="gptqfs-") as directory:
        try:
            holder = _hold(_words(view, lora, options) + [_argument(model), directory])
        except MountError:
            if not fallback or view is None:
                raise
            yield export(model, os.path.join(directory, "model"), view=view, lora=lora, options=options)
            return
        try:
            yield directory
        finally:
            # Closing its input would do, unless a child of this process has inherited that.
            holder.terminate()
            holder.communicate()


def _hold(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Starts the program, and returns when the mount can be used. An interrupt from the terminal does not reach it."""
    with tempfile.TemporaryFile() as messages:
        holder = subprocess.Popen(
            [*words, "--", *_HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            start_new_session=True,
        )
        assert holder.stdout
        if holder.stdout.read(1):
            return holder
        holder.communicate()
        messages.seek(0)
        raise _failure(messages.read().decode("utf-8", "replace"), holder.returncode)
