#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sends SIGKILL, SIGTERM and SIGSTOP to servers with 8 readers, --rounds times each.

After SIGKILL and SIGTERM no mount may be left, and nobody may have read a wrong byte; a stopped server goes on where it
was.
"""
import os
import random
import signal
import sys
import time

from soak import PATIENCE, Readers, Served, arguments, find, row, scratch


def play(mount, tree, which, chance, seed):
    assert mount.start() is None, mount.said()
    pid = mount.pid()
    readers = Readers([(mount.at, tree)], 8, seed, tolerant=which != signal.SIGSTOP)
    try:
        time.sleep(chance.uniform(0, 0.3))
        if which == signal.SIGSTOP:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.1)
            os.kill(pid, signal.SIGCONT)
            before = readers.total()[0]
            end = time.monotonic() + PATIENCE
            while readers.total()[0] < before + 8:
                readers.check()
                assert time.monotonic() < end, "it does not go on"
                time.sleep(0.01)
            readers.end()
            assert mount.stop() == 0, mount.said()
            return readers.total()[0]
        if which == signal.SIGTERM:
            mount.server.send_signal(which)
        else:
            os.kill(pid, which)
        mount.await_gone()
        status = mount.server.wait(PATIENCE)
        # SIGTERM detaches: readers that still have files open get the rest.
        assert (status == 0) == (which == signal.SIGTERM), f"the server left with {status}: {mount.said()}"
        return readers.total()[0]
    finally:
        readers.end()
        mount.end()


def main():
    options = arguments(__doc__, rounds=100)
    chance = random.Random(options.seed)
    bad = 0
    with scratch() as directory:
        mount = Served(options.program, find("models", "tiny-llama-4b-g32-shard"), f"{directory}/m")
        tree = mount.contents()
        for which in signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP:
            wrong = pieces = 0
            for n in range(options.rounds):
                try:
                    pieces += play(mount, tree, which, chance, options.seed + 100 * n)
                except (AssertionError, OSError) as e:
                    print(f"{which.name}, round {n}: {e}")
                    wrong += 1
            row(f"{which.name} under 8 readers", f"{options.rounds} times, {pieces} pieces", f"{wrong} wrong")
            bad += wrong
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
