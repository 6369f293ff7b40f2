# SPDX-License-Identifier: MIT
"""What the tests of this folder share: a mount of which the server is known, what it must show, readers, and the row that
each test prints."""
import argparse
import errno
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "faults"))

from mount import PATIENCE, Mount  # noqa: E402

DATA = os.path.join(TESTS, "data")
SHARED = os.path.join(TESTS, "..", "..", "shared")
PIECE = 1 << 20


def find(*parts):
    """Returns the path of a checkpoint or adapter in tests/data or ../shared, or None."""
    for base in DATA, SHARED:
        path = os.path.join(base, *parts)
        if os.path.isdir(path):
            return os.path.abspath(path)
    return None


class Served(Mount):
    """A mount with options, whose server may be in a cgroup."""

    def __init__(self, program, model, directory, options=None, cgroup=None):
        os.makedirs(directory)
        super().__init__(program, model, directory)
        self.command = [program, "-f", *(("-o", options) if options else ()), model]
        if cgroup:
            self.command = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', cgroup, *self.command]

    def contents(self):
        """Mounts it once. Returns what map_tree() does, of a copy, without what is never the same twice."""
        copy = f"{os.path.dirname(self.at)}/expected"
        try:
            assert self.start() is None, self.said()
            shutil.copytree(self.at, copy, ignore=lambda _, names: {"status"} & set(names), copy_function=shutil.copyfile)
            assert self.stop() == 0, self.said()
        finally:
            self.end()
        return map_tree(copy)

    def is_erofs(self):
        with open("/proc/self/mountinfo", errors="surrogateescape", newline="\n") as f:
            return any(line.split(" ")[4] == self.at and " - erofs " in line for line in f)

    def await_gone(self):
        end = time.monotonic() + PATIENCE
        while self.mounted():
            assert time.monotonic() < end, f"still mounted after {PATIENCE} seconds"
            time.sleep(0.01)


def open_file(path, direct):
    """Opens it past the page cache if asked for. Returns (descriptor, whether it is); EROFS has no such way."""
    try:
        return os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0)), direct
    except OSError as e:
        if not direct or e.errno != errno.EINVAL:
            raise
        return os.open(path, os.O_RDONLY), False


def map_tree(at):
    """Returns {name: bytes} of all files that are not empty, mapped."""
    tree = {}
    for directory, _, files in os.walk(at):
        for name in files:
            path = os.path.join(directory, name)
            with open(path, "rb") as f:
                if os.fstat(f.fileno()).st_size:
                    tree[path[len(at) + 1:]] = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    return tree


class Readers:
    """Processes that read pieces of random files for ever and compare them. With `tolerant`, errors of a mount that goes
    away are no failure; wrong bytes are."""

    GONE = {errno.ENOTCONN, errno.EIO, errno.ENOENT, errno.ECONNABORTED, errno.ENODEV, errno.EINTR}

    def __init__(self, places, count, seed, tolerant=False):
        """places: [(mountpoint, {name: bytes})], one for each reader in turn."""
        self.places, self.tolerant, self.seed = places, tolerant, seed
        self.pieces = multiprocessing.Array("Q", count, lock=False)
        self.bytes = multiprocessing.Array("Q", count, lock=False)
        self.failures = multiprocessing.SimpleQueue()
        self.processes = [self.begin(i) for i in range(count)]

    def begin(self, i):
        self.seed += 1
        process = multiprocessing.Process(target=self.run, args=(i, self.seed), daemon=True)
        process.start()
        return process

    def run(self, i, seed):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        at, tree = self.places[i % len(self.places)]
        names, chance = sorted(tree), random.Random(seed)
        while True:
            name = chance.choice(names)
            try:
                self.read_file(os.path.join(at, name), tree[name], chance, i)
            except OSError as e:
                if not self.tolerant or e.errno not in self.GONE:
                    self.failures.put(f"{name}: {e}")
                    return
                time.sleep(0.01)
            except AssertionError as e:
                self.failures.put(f"{e}")
                return

    def read_file(self, path, expected, chance, i):
        fd, direct = open_file(path, chance.random() < 0.5)
        try:
            offset = chance.randrange(len(expected))
            for _ in range(chance.randrange(1, 12)):
                size = chance.choice((1, 511, 4096, 65536, 131072, PIECE))
                found = os.pread(fd, size, offset)
                assert found == expected[offset:offset + len(found)], f"{path}: wrong bytes at {offset}"
                # A read that ends early is one whose next page failed.
                whole = len(found) == min(size, len(expected) - offset)
                assert whole or (self.tolerant and found), f"{path}: {len(found)} of {size} bytes at {offset}"
                self.pieces[i] += 1
                self.bytes[i] += len(found)
                offset = offset + size if chance.random() < 0.7 else chance.randrange(len(expected))
                if offset >= len(expected):
                    break
            if not direct:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def kill_one(self, chance):
        """Kills a reader wherever it is, and begins another in its place."""
        i = chance.randrange(len(self.processes))
        self.processes[i].kill()
        self.processes[i].join()
        self.processes[i] = self.begin(i)

    def check(self):
        assert self.failures.empty(), self.failures.get()

    def end(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        self.check()

    def total(self):
        return sum(self.pieces), sum(self.bytes)


def scratch(on_disk=False):
    """A temporary directory, in memory where there is some."""
    memory = not on_disk and os.access("/dev/shm", os.W_OK)
    return tempfile.TemporaryDirectory(prefix="gptqfs-soak-", dir="/dev/shm" if memory else None)


def forget(directory):
    """Takes files out of the page cache, so that their pages belong to the one who reads them next."""
    for entry in os.scandir(directory):
        fd = os.open(entry.path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def arguments(text, **more):
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    for name, value in more.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("program")
    options = parser.parse_args()
    options.program = os.path.abspath(options.program)
    print(f"seed {options.seed}", flush=True)
    return options


def row(test, count, result):
    print(f"| {test} | {count} | {result} |", flush=True)
