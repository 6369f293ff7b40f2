#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a buffer of 1 MiB to a new file again and again, and syncs it: what any copy costs at least.

    write_buffer.py FILE BYTES
"""
import os
import sys

left = int(sys.argv[2])
block = memoryview(bytes(range(256)) * 4096)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
while left:
    left -= os.write(fd, block[:left])
os.fsync(fd)
os.close(fd)
