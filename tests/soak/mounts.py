#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mounts, reads a little, unmounts, --cycles times; nothing may be left."""
import os
import random
import sys

from soak import Served, arguments, find, row, scratch

MODELS = [
    (("models", "tiny-llama-4b-g32-shard"), None),
    (("float", "models", "f-fp8-dsv3-shards"), None),
    (("int", "models", "awq-gemm-g32"), None),
    (("int", "models", "mlx-3b-g32"), None),
    (("int", "models", "mlx-3b-g32"), "pagecache=auto"),
]


def main():
    options = arguments(__doc__, cycles=5000)
    chance = random.Random(options.seed)
    wrong = erofs = 0
    with scratch() as directory:
        places = []
        for i, (parts, words) in enumerate(MODELS):
            mount = Served(options.program, find(*parts), f"{directory}/{i}", words)
            places.append((mount, mount.contents()))
        for n in range(options.cycles):
            mount, tree = places[n % len(places)]
            try:
                assert mount.start() is None, mount.said()
                erofs += mount.is_erofs()
                for _ in range(3):
                    name = chance.choice(list(tree))
                    at = chance.randrange(len(tree[name]))
                    with open(os.path.join(mount.at, name), "rb") as f:
                        f.seek(at)
                        assert f.read(5000) == tree[name][at:at + 5000], f"{name}: wrong bytes at {at}"
                status = mount.stop()
                assert status == 0, f"the server left with {status}: {mount.said()}"
            except (AssertionError, OSError) as e:
                print(f"cycle {n}: {e}")
                wrong += 1
                mount.end()
            except KeyboardInterrupt:
                mount.end()
                raise
        for mount, _ in places:
            wrong += mount.mounted()
    row("mount, read, unmount", f"{options.cycles} cycles, {erofs} of them by EROFS", f"{wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
