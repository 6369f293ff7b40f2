#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes calls of a server fail, while it starts and while it serves, and reads its mount meanwhile.

    live.py [--every=N] [--seed=N] GPTQFS_FAULTY MODEL_DIR

GPTQFS_FAULTY is gptqfs linked with wrap.c. A start under a fault must end with a message and no mount,
or with a mount equal to one without a fault. A read under a fault must return the right bytes or an error, and the
right bytes once the fault is over; the server must survive. With --every only every N-th call fails, but at least
two of each kind; --seed selects where they start.
"""
import argparse
import collections
import errno
import mmap
import os
import struct
import sys
import tempfile
import time

from mount import Mount, compare

CLASSES = ["none", "alloc", "open", "stat", "list", "read", "map", "thread", "write", "name", "sync"]  # enum fault_class

START = [
    ("alloc", errno.ENOMEM, False), ("alloc", errno.ENOMEM, True), ("open", errno.EIO, False),
    ("open", errno.EMFILE, True), ("stat", errno.EIO, False), ("list", errno.EIO, False), ("read", errno.EIO, False),
    ("read", 0, True), ("map", errno.ENOMEM, False), ("map", errno.ENOMEM, True), ("thread", errno.EAGAIN, False),
    ("thread", errno.EAGAIN, True),
]
# While it serves, it opens nothing.
SERVE = [
    ("alloc", errno.ENOMEM, False), ("alloc", errno.ENOMEM, True), ("stat", errno.EIO, False), ("stat", errno.EIO, True),
    ("read", errno.EIO, False), ("read", errno.EIO, True), ("read", 0, True), ("map", errno.ENOMEM, True),
    ("thread", errno.EAGAIN, True),
]


class Control:
    """struct faults of fault.h, in a file that the server maps."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(4096))
        self.path = path
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 4096)

    def arm(self, kind, error, always, at):
        struct.pack_into("<qq", self.map, 16, at, 0)
        self.map[32:32 + 8 * len(CLASSES)] = bytes(8 * len(CLASSES))
        struct.pack_into("<iiii", self.map, 0, 1, CLASSES.index(kind), error, always)

    def disarm(self):
        struct.pack_into("<ii", self.map, 0, 0, 0)

    def calls(self, kind):
        return struct.unpack_from("<q", self.map, 32 + 8 * CLASSES.index(kind))[0]


def numbers(kind, calls, options):
    """Returns the calls of a kind that are to fail. Whether a thread is started may be a matter of time."""
    assert calls[kind] or kind == "thread", f"there is no call of {kind}; is it not wrapped?"
    step = max(1, min(options.every, calls[kind] // 2))
    return range(1 + options.seed % step, calls[kind] + 1, step)


class Table:
    def __init__(self):
        self.passed = self.failed = 0

    def row(self, what, kind, error, always, calls, counts, wrong):
        name = errno.errorcode.get(error, "half")
        print(f"{what} {kind} {name}{' from then on' if always else ''}: {sum(counts.values())} of {calls}:",
              ", ".join(f"{n} {text}" for text, n in sorted(counts.items())) or "none", flush=True)
        for line in wrong[:5]:
            print(f"  {line}")
        self.failed += len(wrong)
        self.passed += sum(counts.values()) - len(wrong)


def sweep_start(mount, expected, calls, options, table):
    for kind, error, always in START:
        counts, wrong = collections.Counter(), []
        for n in numbers(kind, calls, options):
            mount.control.arm(kind, error, always, n)
            status = mount.start()
            mount.control.disarm()
            try:
                if status is None:
                    compare(expected, mount.tree()[0], f"n = {n}")
                    counts["mounted, all right"] += 1
                else:
                    said = mount.said()
                    # 2 and 3 would blame the model.
                    good = status in (1, 4, 5) and said.startswith("gptqfs: ")
                    assert good, f"n = {n}: status {status}, said {said!r}"
                    counts[f"exit {status}"] += 1
                mount.stop()
            except (AssertionError, OSError) as e:
                counts["wrong"] += 1
                wrong.append(f"{e}")
                mount.stop()
        table.row("start", kind, error, always, calls[kind], counts, wrong)


def sweep_serving(mount, expected, options, table):
    assert mount.start() is None, mount.said()
    mount.control.arm("none", 0, False, 0)
    mount.tree()
    calls = {kind: mount.control.calls(kind) for kind in CLASSES}
    for kind, error, always in SERVE:
        counts, wrong = collections.Counter(), []
        for n in numbers(kind, calls, options):
            mount.control.arm(kind, error, always, n)
            try:
                found, failed = mount.tree()
                compare(expected, found, f"n = {n}")
                mount.control.disarm()
                if failed:
                    again, still = mount.tree()
                    compare(expected, again, f"after n = {n}")
                    assert not still, f"after n = {n}: {still} pieces cannot be read"
                counts["errors, then all right" if failed else "all right"] += 1
            except (AssertionError, OSError) as e:
                mount.control.disarm()
                counts["wrong"] += 1
                wrong.append(f"{e}")
            assert mount.server.poll() is None, f"{kind}, n = {n}: the server left: {mount.said()}"
        table.row("serve", kind, error, always, calls[kind], counts, wrong)
    status = mount.stop()
    assert status == 0, f"the server left with {status}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("program")
    parser.add_argument("model")
    options = parser.parse_args()
    table = Table()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as directory:
        control = Control(os.path.join(directory, "control"))
        mount = Mount(options.program, options.model, directory, {"GPTQFS_FAULTS": control.path})
        mount.control = control
        try:
            control.arm("none", 0, False, 0)
            assert mount.start() is None, mount.said()
            calls = {kind: control.calls(kind) for kind in CLASSES}
            control.disarm()
            expected, failed = mount.tree()
            mount.stop()
            assert not failed
            sweep_start(mount, expected, calls, options, table)
            sweep_serving(mount, expected, options, table)
        finally:
            mount.end()
    print(f"{table.passed} passed, {table.failed} failed")
    return table.failed != 0


if __name__ == "__main__":
    sys.exit(main())
