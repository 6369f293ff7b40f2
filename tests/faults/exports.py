#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes calls of an export fail, and goes on with it afterwards.

    exports.py [--every=N] [--seed=N] [-o OPTIONS] GPTQFS_FAULTY MODEL_DIR

GPTQFS_FAULTY is gptqfs linked with wrap.c. An export under a fault must write the same tree as one without, or end with
a message; every file that then has its name must be whole. The same command without the fault must complete it.
With --every only every N-th call fails, but at least two of each kind; --seed selects where they start.
"""
import argparse
import collections
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time

from live import CLASSES, Control, Table, numbers
from mount import PATIENCE

FAULTS = [
    ("alloc", errno.ENOMEM, False), ("alloc", errno.ENOMEM, True), ("open", errno.EIO, False), ("open", errno.EMFILE, True),
    ("stat", errno.EIO, False), ("list", errno.EIO, False), ("read", errno.EIO, False), ("read", 0, True),
    ("map", errno.ENOMEM, True), ("thread", errno.EAGAIN, True), ("write", errno.ENOSPC, False),
    ("write", errno.ENOSPC, True), ("write", 0, False), ("name", errno.EIO, False), ("name", errno.EIO, True),
    ("sync", errno.EIO, False), ("sync", errno.EIO, True),
]


class Export:
    def __init__(self, program, model, options, directory):
        self.control = Control(os.path.join(directory, "control"))
        self.env = dict(os.environ, GPTQFS_FAULTS=self.control.path)
        self.at = os.path.join(directory, "out")
        self.command = [program, *(("-o", options) if options else ()), f"--export={self.at}", "-j", "1", "-q", model]

    def run(self):
        done = subprocess.run(self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE)
        return done.returncode, done.stdout.decode(errors="replace")

    def tree(self):
        """Returns the bytes of all files by name, without those that begin with a dot."""
        tree = {}
        for directory, _, files in os.walk(self.at):
            for name in files:
                if not name.startswith("."):
                    path = os.path.join(directory, name)
                    with open(path, "rb") as f:
                        tree[path[len(self.at):]] = f.read()
        return tree

    def leftovers(self):
        return [name for _, _, files in os.walk(self.at) for name in files if name.startswith(".")]

    def clear(self):
        shutil.rmtree(self.at, ignore_errors=True)


def try_fault(export, expected, kind, error, always, n):
    """Returns what became of the export."""
    export.clear()
    export.control.arm(kind, error, always, n)
    status, said = export.run()
    export.control.disarm()
    found = export.tree()
    for name, data in found.items():
        assert expected.get(name) == data, f"n = {n}: {name} is wrong after status {status}"
    if status == 0:
        assert found.keys() == expected.keys(), f"n = {n}: files are missing after success"
        return "all right"
    # 2 and 3 would blame the model.
    assert status in (1, 4, 5) and said.startswith("gptqfs: "), f"n = {n}: status {status}, said {said!r}"
    status_again, said = export.run()
    assert status_again == 0, f"n = {n}: continued: status {status_again}, said {said!r}"
    assert export.tree() == expected and not export.leftovers(), f"n = {n}: continued, and another tree"
    return f"exit {status}, then completed"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("-o", dest="options")
    parser.add_argument("program")
    parser.add_argument("model")
    options = parser.parse_args()
    table = Table()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        export = Export(options.program, options.model, options.options, directory)
        export.control.arm("none", 0, False, 0)
        status, said = export.run()
        assert status == 0, said
        calls = {kind: export.control.calls(kind) for kind in CLASSES}
        export.control.disarm()
        expected = export.tree()
        assert expected and not export.leftovers()
        for kind, error, always in FAULTS:
            counts, wrong = collections.Counter(), []
            for n in numbers(kind, calls, options):
                try:
                    counts[try_fault(export, expected, kind, error, always, n)] += 1
                except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
                    counts["wrong"] += 1
                    wrong.append(f"{e}")
            table.row("export", kind, error, always, calls[kind], counts, wrong)
    print(f"{table.passed} passed, {table.failed} failed")
    return table.failed != 0


if __name__ == "__main__":
    sys.exit(main())
