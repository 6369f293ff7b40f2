# SPDX-License-Identifier: MIT
"""The command gptqfs, and python -m gptqfs."""

import os
import sys
from typing import NoReturn

from . import program


def main() -> NoReturn:
    path = program()
    os.execv(path, ["gptqfs", *sys.argv[1:]])


if __name__ == "__main__":
    main()
