#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Interrupts exports at random moments, --rounds times, with SIGKILL, SIGTERM and SIGINT, up to three times each, and
goes on with them by the same command. The result must be that of an export that was not interrupted; a file that has
its name must be whole at any time."""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from soak import PATIENCE, arguments, find, map_tree, row, scratch

KINDS = [(("models", "tiny-llama-4b-g32-shard"), "view=fp32"), (("float", "models", "f-fp8-dsv3-shards"), "view=bf16"),
         (("models", "tiny-qwen2-4b-g64-asym"), "view=gguf,lora=" + (find("lora", "adapters", "qwen2-tied-head") or ""))]


def finished(at):
    return {name: data for name, data in map_tree(at).items() if not os.path.basename(name).startswith(".")}


def same(one, other):
    return one.keys() == other.keys() and all(one[name][:] == other[name][:] for name in one)


def interrupt(command, out, expected, seconds, chance):
    """Returns how often it was interrupted before it was whole."""
    times = 0
    while times < 3:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, seconds))
        which = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        process.send_signal(which)
        status = process.wait(PATIENCE)
        # Killed after it was whole, but before it left: then there is nothing to go on with.
        if status == 0 or (status == 1 and times and same(expected, finished(out))):
            break
        times += 1
        assert status in (-which, 128 + which), f"{which.name}: status {status}"
        if os.path.isdir(out):
            for name, data in finished(out).items():
                assert expected[name][:] == data[:], f"{name} is not whole after {which.name}"
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    # Without a journal the directory is like any other.
    assert done.returncode == 0 or "is not empty" in done.stderr, f"continued: status {done.returncode}: {done.stderr}"
    assert same(expected, finished(out)), "continued, and another tree"
    assert not [name for _, _, files in os.walk(out) for name in files if name.startswith(".")], "dot files are left"
    return times


def main():
    options = arguments(__doc__, rounds=200)
    chance = random.Random(options.seed)
    wrong = interrupted = 0
    with scratch() as directory:
        kinds = []
        for i, (parts, words) in enumerate(KINDS):
            command = [options.program, "-q", "-o", words, find(*parts)]
            start = time.monotonic()
            subprocess.run([*command, f"--export={directory}/{i}"], check=True)
            kinds.append((command, f"{directory}/{i}", 1.2 * (time.monotonic() - start)))
        for n in range(options.rounds):
            command, whole, seconds = kinds[n % len(kinds)]
            out = f"{directory}/out"
            try:
                interrupted += interrupt([*command, f"--export={out}"], out, map_tree(whole), seconds, chance)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
                print(f"round {n}: {e}")
                wrong += 1
            shutil.rmtree(out, ignore_errors=True)
    row("export interrupted at random, then continued", f"{options.rounds} exports, {interrupted} interruptions", f"{wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
