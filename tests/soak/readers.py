#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""24 readers compare every byte they get for --minutes, from mounts of several families, with an adapter and of GGUF files.

Meanwhile readers are killed, and sources are renamed, linked, made unreadable and read by others, which changes none of
their bytes. Each server has 64 MB of memory, with the pages of its source (--memory=0: no limit).
"""
import os
import random
import shutil
import sys
import time

from soak import Readers, Served, arguments, find, forget, row, scratch

QWEN2 = ("models", "tiny-qwen2-4b-g64-asym")
LARGE = ("models", "smollm2-135m-gptq-4bit-g64")
MOUNTS = [
    (("models", "tiny-llama-4b-g32-shard"), None),
    (("float", "models", "f-fp8-dsv3-shards"), None),
    (("float", "models", "f-mxfp4-gptoss"), None),
    (("int", "models", "awq-gemm-g32"), None),
    (("models", "tiny-llama-5b-planar"), "view=gguf"),
    (QWEN2, "lora=" + (find("lora", "adapters", "qwen2-bias-all") or "")),
    (("int", "models", "mlx-3b-g32"), "pagecache=auto"),
    (QWEN2, "view=gguf,lora=" + (find("lora", "adapters", "qwen2-tied-head") or "")),
    # Larger than the limit, if it is there; --large=0 leaves it out.
    (LARGE, "view=fp16"),
    (LARGE, "view=gguf"),
    (LARGE, "view=bf16,pagecache=auto"),
]


class Cgroup:
    """A limit of memory. `procs` is None, and `why` a reason, where none can be set."""

    def __init__(self, megabytes, number):
        self.directory = self.procs = self.why = None
        if not megabytes:
            self.why = "no limit"
            return
        for base, limit in ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"):
            directory = f"{base}/gptqfs-soak-{os.getpid()}-{number}"
            try:
                os.mkdir(directory)
                self.directory = directory
                with open(f"{directory}/{limit}", "w") as f:
                    f.write(str(megabytes << 20))
                self.procs = f"{directory}/cgroup.procs"
                return
            except OSError as e:
                self.why = f"no limit: {e}"
                self.remove()

    def peak(self):
        for name in "memory.max_usage_in_bytes", "memory.peak":
            try:
                with open(f"{self.directory}/{name}") as f:
                    return int(f.read())
            except OSError:
                pass
        return 0

    def remove(self):
        if self.directory:
            os.rmdir(self.directory)
            self.directory = None


def stir(models, chance, n):
    """Does something to a source that leaves its bytes as they are. Nothing is taken back: a file whose name, links and
    mode are as before, but not its ctime, counts as changed."""
    i = chance.randrange(len(models))
    model = models[i]
    path = os.path.join(model, chance.choice([name for name in os.listdir(model) if name.endswith(".safetensors")]))
    what = chance.randrange(5)
    if what == 0:
        os.rename(path, os.path.join(model, f"moved{n}.safetensors"))
    elif what == 1:
        os.link(path, os.path.join(model, f"link{n}"))
    elif what == 2:
        # 64 others before it has this mode again
        os.chmod(path, 0o600 + (os.stat(path).st_mode + 1) % 64)
    elif what == 3:
        models[i] = os.path.join(os.path.dirname(model), f"renamed{n}")
        os.rename(model, models[i])
    else:
        with open(path, "rb") as f:
            while f.read(1 << 20):
                pass


def main():
    options = arguments(__doc__, minutes=30.0, readers=24, memory=64, large=1)
    chance = random.Random(options.seed)
    cgroups, mounts, places, models, killed, stirred, erofs, wrong = [], [], [], [], 0, 0, 0, 0
    # On disk: a source in memory could not be reclaimed.
    with scratch() as directory, scratch(on_disk=True) as disk:
        try:
            for i, (parts, words) in enumerate(MOUNTS):
                if parts == LARGE and not options.large:
                    continue
                if not find(*parts):
                    print(f"# skip {parts[-1]} is not there")
                    continue
                model = f"{disk}/model{i}"
                shutil.copytree(find(*parts), model)
                tree = Served(options.program, model, f"{directory}/{i}", words).contents()
                forget(model)
                cgroups.append(Cgroup(options.memory, i))
                limited = Served(options.program, model, f"{directory}/{i}/limited", words, cgroups[-1].procs)
                mounts.append(limited)
                assert limited.start() is None, limited.said()
                erofs += limited.is_erofs()
                models.append(model)
                places.append((limited.at, tree))
            readers = Readers(places, options.readers, options.seed)
            end = time.monotonic() + 60 * options.minutes
            while time.monotonic() < end:
                time.sleep(0.2)
                readers.kill_one(chance)
                killed += 1
                stirred += 1
                stir(models, chance, stirred)
                readers.check()
            readers.end()
            for mount in mounts:
                assert mount.server.poll() is None, f"a server left: {mount.said()}"
                assert not [line for line in mount.said().splitlines() if "pagecache=auto" not in line], mount.said()
                assert mount.stop() == 0, mount.said()
            pieces, count = readers.total()
        except (AssertionError, OSError) as e:
            print(f"{e}", *(mount.said() for mount in mounts), sep="\n")
            wrong = 1
            pieces = count = 0
        finally:
            for mount in mounts:
                mount.end()
            peak = max((cgroup.peak() for cgroup in cgroups), default=0)
            for cgroup in cgroups:
                cgroup.remove()
    memory = next((c.why for c in cgroups if not c.procs), f"{options.memory} MB each, peak {peak >> 20}")
    row(f"{options.readers} readers of {len(mounts)} mounts, {erofs} by EROFS, {memory}; {killed} readers killed, {stirred} times stirred",
        f"{options.minutes:g} minutes, {pieces} pieces, {count / 1e9:.1f} GB", f"{wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
