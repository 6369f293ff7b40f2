# SPDX-License-Identifier: MIT
"""A mount, its server, and everything it shows."""
import errno
import mmap
import os
import re
import signal
import subprocess
import time

PIECE = 1 << 17
PATIENCE = 300  # seconds, of a busy machine; only what hangs takes so long

# A test that is terminated removes what it has made, as one that is interrupted does.
signal.signal(signal.SIGTERM, signal.default_int_handler)


class Mount:
    def __init__(self, program, model, directory, env={}):
        self.command = [program, "-f", model]
        self.env = dict(os.environ, **env)
        self.at = os.path.join(directory, "mnt")
        self.log = os.path.join(directory, "log")
        self.server = None
        os.mkdir(self.at)

    def start(self):
        with open(self.log, "w+") as log:
            # In the foreground: the process is then known.
            self.server = subprocess.Popen([*self.command, self.at], env=self.env, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while not self.mounted() and self.server.poll() is None:
            assert time.monotonic() < end, f"neither mounted nor over after {PATIENCE} seconds"
            time.sleep(0.002)
        try:
            os.listdir(self.at)
        except OSError as e:
            if e.errno == errno.ENOTCONN:
                self.server.wait(PATIENCE)  # the mount came, and goes
        return self.server.poll()

    def mounted(self):
        with open("/proc/self/mountinfo", errors="surrogateescape", newline="\n") as f:
            return any(line.split(" ")[4] == self.at for line in f)

    def pid(self):
        """The process that serves; the one that was started mounts and unmounts."""
        with open(os.path.join(self.at, "status")) as f:
            return int(next(line.split()[1] for line in f if line.startswith("Pid:")))

    def stop(self):
        # A scanner of file systems may be in it.
        for _ in range(100):
            if not self.mounted() or subprocess.run(["fusermount3", "-u", self.at], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)
        status = self.server.wait(PATIENCE)
        assert not self.mounted(), "a mount is left"
        return status

    def end(self):
        """In any state."""
        if self.mounted():
            subprocess.run(["fusermount3", "-uz", self.at])
        if self.server:
            self.server.kill()
            self.server.wait()

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def read_file(self, path):
        """Reads a file from the server, not the page cache. Returns (pieces, errors); failed pieces are None."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, PIECE)
        pieces, failed = [], 0
        try:
            size = os.fstat(fd).st_size
            for at in range(0, size, PIECE):
                try:
                    n = os.preadv(fd, [buffer], at)
                    assert n == min(PIECE, size - at), f"{path}: {n} bytes at {at}"
                    pieces.append(buffer[:n])
                except OSError as e:
                    assert e.errno in (errno.EIO, errno.ENOMEM), e
                    pieces.append(None)
                    failed += 1
        finally:
            os.close(fd)
        return pieces, failed

    def tree(self):
        """Returns all paths with attributes and bytes, and the number of pieces that could not be read."""
        tree, failed = {}, 0
        for directory, names, files in os.walk(self.at, onerror=raise_error):
            names.sort()
            for name in names + files:
                path = os.path.join(directory, name)
                st = os.lstat(path)
                pieces = []
                if path == os.path.join(self.at, "status"):
                    continue  # never the same twice
                size = st.st_size
                if name in files:
                    pieces, n = self.read_file(path)
                    failed += n
                if name in ("info", "info.json") and None not in pieces:
                    # A fault at the start may have cost a part of the sandbox, as this line then says.
                    pieces = [re.sub(rb'.*\bsandbox"?: .*', b"", b"".join(pieces), flags=re.IGNORECASE)]
                    size = len(pieces[0])
                tree[path[len(self.at):]] = (st.st_mode, size, st.st_mtime_ns, pieces)
        return tree, failed


def raise_error(e):
    raise e


def compare(expected, found, where):
    assert expected.keys() == found.keys(), f"{where}: other names: {sorted(expected.keys() ^ found.keys())}"
    for path, (mode, size, mtime, pieces) in expected.items():
        other = found[path]
        assert other[:3] == (mode, size, mtime), f"{where}: {path}: other attributes"
        for i, piece in enumerate(pieces):
            assert other[3][i] in (None, piece), f"{where}: {path}: wrong bytes in piece {i}"
