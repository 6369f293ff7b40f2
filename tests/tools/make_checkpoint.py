#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tiny GPTQ checkpoints: good ones, odd ones and every kind of damage.

    make_checkpoint.py KIND DIR      writes the checkpoint into the new directory DIR
    make_checkpoint.py --list        names the kinds

It packs codes itself, from the description of the format, and so knows the dense model: for supported kinds it writes
DIR.F16.json, DIR.BF16.json and DIR.F32.json for compare.py, and for kinds about config.json the expected file in each
view, DIR.config.VIEW.json.
"""
import os
import sys

import awq_checkpoints, bad_checkpoints, bnb_checkpoints, config_checkpoints, fp4_checkpoints, good_checkpoints
import moe_checkpoints  # they register their kinds
from checkpoint import KINDS


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(KINDS))
        return 0
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        print(__doc__, file=sys.stderr)
        return 1
    KINDS[sys.argv[1]](os.path.abspath(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
