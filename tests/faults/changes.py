#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Changes the source under a mount while it is read.

    changes.py GPTQFS MODEL_DIR

Each change is made to a copy of MODEL_DIR (with several shards) under a mount of its own. Readers during and after the
change must get the old bytes or EIO, without delay and nothing else. Everything that does not need the changed file is
served as before, and so are names and attributes. Changes that do not affect the open file cause no failure.
"""
import ctypes
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from mount import PATIENCE, Mount, compare

OLD_TIME = 10**18  # of all source files: no change has it by chance
SHARD = "model-00002-of-00004.safetensors"
KEPT, FAILS = "served as before", "EIO"


class Skip(Exception):
    pass


class Case:
    """A copy of the model and its mount. Subclasses override `place`."""

    known = False  # what cannot be noticed; README says so
    settles = False  # the bytes to compare with are from another mount than the one that is changed under

    def __init__(self, program, directory):
        self.directory = directory
        self.program = program
        self.mount = None

    def prepare(self, model):
        self.model = self.place(model)
        self.shard = os.path.join(self.model, SHARD)
        self.before_mount()
        self.mount = Mount(self.program, self.model, self.directory)

    def place(self, model, directory=None):
        path = os.path.join(directory or self.directory, "model")
        shutil.copytree(model, path)
        for name in os.listdir(path):
            os.utime(os.path.join(path, name), ns=(OLD_TIME, OLD_TIME))
        return path

    def before_mount(self):
        pass

    def clear(self):
        pass

    def write(self, at, data):
        with open(self.shard, "r+b") as f:
            f.seek(at)
            f.write(data)

    def size(self):
        return os.stat(self.shard).st_size


# ---- in place ----

class TruncatedToNothing(Case):
    expected = FAILS

    def change(self):
        os.truncate(self.shard, 0)


class TruncatedInTheMiddle(Case):
    expected = FAILS

    def change(self):
        os.truncate(self.shard, self.size() // 2)


class TruncatedByAByte(Case):
    expected = FAILS

    def change(self):
        os.truncate(self.shard, self.size() - 1)


class Grown(Case):
    expected = FAILS

    def change(self):
        with open(self.shard, "ab") as f:
            f.write(b"more")


class Overwritten(Case):
    expected = FAILS

    def change(self):
        self.write(8192, os.urandom(65536))


class OverwrittenByMapping(Case):
    expected = FAILS

    def change(self):
        with open(self.shard, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[8192:8192 + 65536] = os.urandom(65536)


class OverwrittenAndTimeForged(Case):
    """Size and mtime are unchanged."""
    expected = FAILS

    def change(self):
        self.write(8192, os.urandom(65536))
        os.utime(self.shard, ns=(OLD_TIME, OLD_TIME))


class OverwrittenByMappingFromBefore(Case):
    """Pages were writable and dirty before the mount: the kernel neither sees the writes nor changes a time."""
    expected = FAILS
    known = True

    def before_mount(self):
        self.file = open(self.shard, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 0)
        for at in range(0, self.size(), 4096):
            self.map[at] = self.map[at]
        os.utime(self.shard, ns=(OLD_TIME, OLD_TIME))

    def change(self):
        self.map[8192:8192 + 65536] = os.urandom(65536)

    def clear(self):
        self.map.close()
        self.file.close()


class Hole(Case):
    expected = FAILS

    def change(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with open(self.shard, "r+b") as f:
            # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            if libc.fallocate(f.fileno(), 3, ctypes.c_long(8192), ctypes.c_long(65536)):
                raise Skip("the file system makes no holes")


class Touched(Case):
    """Indistinguishable from a change of the bytes."""
    expected = FAILS

    def change(self):
        os.utime(self.shard)


# ---- around the file ----

class Renamed(Case):
    expected = KEPT

    def change(self):
        os.rename(self.shard, self.shard + ".old")


class Replaced(Case):
    expected = KEPT

    def change(self):
        with open(self.shard + ".new", "wb") as f:
            f.write(os.urandom(self.size()))
        os.rename(self.shard + ".new", self.shard)


class Unlinked(Case):
    expected = KEPT

    def change(self):
        os.unlink(self.shard)


class DirectoryRemoved(Case):
    expected = KEPT

    def change(self):
        shutil.rmtree(self.model)


class Forbidden(Case):
    expected = KEPT

    def change(self):
        os.chmod(self.shard, 0)
        os.chmod(self.model, 0)

    def clear(self):
        os.chmod(self.model, 0o700)


# ---- under the file ----

class FileSystem(Case):
    """The model on a file system of its own."""

    def place(self, model):
        self.disk = os.path.join(self.directory, "disk")
        os.mkdir(self.disk)
        self.attach()
        return super().place(model, self.disk)

    def attach(self):
        run_or_skip("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.disk)

    def clear(self):
        subprocess.run(["umount", "-l", self.disk])


class Full(FileSystem):
    expected = KEPT

    def change(self):
        try:
            with open(os.path.join(self.disk, "rest"), "wb") as f:
                while True:
                    f.write(bytes(65536))
        except OSError:
            pass


class ReadOnly(FileSystem):
    expected = KEPT

    def change(self):
        run_or_skip("mount", "-o", "remount,ro", self.disk)


class DiskFails(FileSystem):
    """Pages in memory may still be served."""
    expected = None
    settles = True

    def attach(self):
        self.image = os.path.join(self.directory, "image")
        with open(self.image, "wb") as f:
            f.truncate(8 << 20)
        run_or_skip("mkfs.ext4", "-q", "-F", self.image)
        run_or_skip("mount", "-o", "loop", self.image, self.disk)

    def before_mount(self):
        # Mounted again, so that none of it is in memory.
        subprocess.run(["umount", self.disk], check=True)
        run_or_skip("mount", "-o", "loop", self.image, self.disk)

    def change(self):
        os.truncate(self.image, 0)


class ServerDies(Case):
    """The source is a mount itself, of the same model."""
    expected = None
    settles = True

    def place(self, model):
        inner = os.path.join(self.directory, "inner")
        os.mkdir(inner)
        self.inner = Mount(self.program, os.path.abspath(model), inner)
        assert self.inner.start() is None, self.inner.said()
        return os.path.join(self.inner.at, "packed")

    def before_mount(self):
        assert self.inner.stop() == 0
        assert self.inner.start() is None, self.inner.said()

    def change(self):
        os.kill(self.inner.pid(), signal.SIGKILL)
        self.inner.server.wait(PATIENCE)

    def clear(self):
        self.inner.end()


CASES = [
    TruncatedToNothing, TruncatedInTheMiddle, TruncatedByAByte, Grown, Overwritten, OverwrittenByMapping,
    OverwrittenAndTimeForged, OverwrittenByMappingFromBefore, Hole, Touched, Renamed, Replaced, Unlinked,
    DirectoryRemoved, Forbidden, Full, ReadOnly, DiskFails, ServerDies,
]


def run_or_skip(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"{command[0]}: {done.stderr.strip()}")


class Reader(threading.Thread):
    """Reads everything repeatedly."""

    def __init__(self, mount, expected):
        super().__init__()
        self.mount, self.expected = mount, expected
        self.over = threading.Event()
        self.trouble = None
        self.rounds = 0

    def run(self):
        try:
            while not self.over.is_set():
                compare(self.expected, self.mount.tree()[0], "while it changes")
                self.rounds += 1
        except (AssertionError, OSError) as e:
            self.trouble = e

    def end(self):
        self.over.set()
        if self.ident:
            self.join()
        if self.trouble:
            raise self.trouble


def play(case):
    assert case.mount.start() is None, case.mount.said()
    expected, failed = case.mount.tree()
    assert not failed, "the mount does not read"
    if case.settles:
        assert case.mount.stop() == 0
        case.before_mount()
        assert case.mount.start() is None, case.mount.said()
        # Files that are planned on first lookup need the source for their names.
        for view in "gguf", "mlx":
            os.listdir(os.path.join(case.mount.at, view))
    reader = Reader(case.mount, expected)
    if not case.settles:
        reader.start()
        time.sleep(0.05)
    try:
        case.change()
        start = time.monotonic()
        found, failed = case.mount.tree()
        seconds = time.monotonic() - start
    finally:
        reader.end()
    compare(expected, found, "after the change")
    pieces = sum(len(entry[3]) for entry in found.values())
    assert case.expected != KEPT or not failed, f"{failed} of {pieces} pieces cannot be read"
    assert case.expected != FAILS or failed, "the change was not noticed"
    assert failed < pieces, "nothing can be read"
    assert seconds < PATIENCE, f"reading took {seconds:.0f} seconds"
    # Passed files and texts need no shard.
    lost = [path for path, entry in found.items() if None in entry[3] and path.endswith((".json", "README", "info"))]
    assert case.expected is None or not lost, f"lost: {lost}"
    assert case.mount.server.poll() is None, "the server left"
    assert case.mount.stop() == 0, "the server failed"
    return f"{failed} of {pieces} pieces EIO"


def try_case(program, model, kind):
    """(1 if it passed, 1 if it failed, 1 if it was skipped)."""
    with tempfile.TemporaryDirectory() as directory:
        case = kind(program, directory)
        try:
            case.prepare(model)
            print(f"{kind.__name__}: {play(case)}", flush=True)
            return 1, 0, 0
        except Skip as e:
            print(f"{kind.__name__}: skipped: {e}", flush=True)
            return 0, 0, 1
        except (AssertionError, OSError) as e:
            print(f"{kind.__name__}: {'not noticed: ' if kind.known else ''}{e}", flush=True)
            return (0, 0, 1) if kind.known else (0, 1, 0)
        finally:
            if case.mount:
                case.mount.end()
            case.clear()


def main():
    program, model = sys.argv[1:]
    results = [try_case(os.path.abspath(program), model, kind) for kind in CASES]
    passed, failed, skipped = map(sum, zip(*results))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
