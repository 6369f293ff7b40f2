#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random checkpoints of tests/random, --models times, each in several ways that must agree: hashes of two instruction
sets, a mount that is asked for pieces of two sizes, and an export."""
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys

from soak import Served, arguments, row, scratch

LARGE = 16 << 20  # a few are of several GB of zeros
VIEWS = ["fp16", "bf16", "fp32"]


def make(build, seed, families):
    """Returns the directory of the checkpoint with this seed, or None if the program does not tell."""
    program = os.path.join(build, "test_families" if families else "test_random")
    env = dict(os.environ, SEED=str(seed), CASES="1", KEEP="all")
    done = subprocess.run([program], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    model = re.search(r"^  (/.*gptqfs-random\..*)$", done.stdout, re.M).group(1)
    # Some have a text of this name, which has no tensors to be hashed.
    for directory, _, files in os.walk(model):
        if "pytorch_model.safetensors" in files:
            os.unlink(os.path.join(directory, "pytorch_model.safetensors"))
    return model


def hashes(program, model, view, cpu):
    command = [program, "--check", "--sha256", "-o", f"view={view}", *((f"--cpu={cpu}",) if cpu else ()), model]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return {name: entry["sha256"] for name, entry in json.loads(done.stdout).items()}


def hash_files(at, size):
    """The same of safetensors files, read in pieces of this size."""
    found = {}
    for directory, _, files in os.walk(at):
        for name in files:
            if not name.endswith(".safetensors"):
                continue
            fd = os.open(os.path.join(directory, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            length = os.fstat(fd).st_size
            data = b"".join(os.pread(fd, size, offset) for offset in range(0, length, size))
            os.close(fd)
            assert len(data) == length, f"{name}: {len(data)} of {length} bytes"
            start = 8 + int.from_bytes(data[:8], "little")
            for tensor, entry in json.loads(data[8:start]).items():
                if tensor != "__metadata__":
                    begin, end = entry["data_offsets"]
                    found[tensor] = hashlib.sha256(data[start + begin:start + end]).hexdigest()
    return found


def compare(options, model, view, directory):
    expected = hashes(options.program, model, view, None)
    assert hashes(options.program, model, view, "c") == expected, "another instruction set, other hashes"
    for i, (words, size) in enumerate(((f"view={view}", 1 << 20), (f"view={view},max_read=16384,direct_io", 50021))):
        mount = Served(options.program, model, f"{directory}/m{i}", words)
        try:
            assert mount.start() is None, mount.said()
            assert hash_files(mount.at, size) == expected, f"mount with {words}, read by {size}"
            assert mount.stop() == 0
        finally:
            mount.end()
    out = f"{directory}/out"
    subprocess.run([options.program, "-q", "-o", f"view={view}", f"--export={out}", model], check=True)
    assert hash_files(out, 1 << 24) == expected, "export"
    return len(expected)


def main():
    options = arguments(__doc__, models=200, build="build")
    chance = random.Random(options.seed)
    wrong = tensors = large = 0
    for n in range(options.models):
        view = chance.choice(VIEWS)
        model = None
        try:
            model = make(options.build, options.seed * 1000 + n, n % 2)
            if sum(entry.stat().st_size for entry in os.scandir(model)) > LARGE:
                large += 1
                continue
            with scratch() as directory:
                tensors += compare(options, model, view, directory)
        except (AssertionError, OSError, subprocess.CalledProcessError) as e:
            print(f"SEED={options.seed * 1000 + n} {'test_families' if n % 2 else 'test_random'}, {view}: {e}")
            wrong += 1
        finally:
            if model:
                shutil.rmtree(model)
    row("two instruction sets, two request sizes, mount and export agree", f"{options.models - large} random models, {tensors} tensors",
        f"{wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
