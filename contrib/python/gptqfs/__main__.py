# SPDX-License-Identifier: MIT
"""The command gptqfs, and python -m gptqfs: the program, but for `report`, which is done here."""

import os
import sys
from typing import NoReturn

from . import program


def main() -> NoReturn:
    # A model in a directory of that name is mounted.
    if sys.argv[1:2] == ["report"] and not os.path.exists("report"):
        from . import _report

        sys.exit(_report.main(sys.argv[2:]))
    path = program()
    os.execv(path, ["gptqfs", *sys.argv[1:]])


if __name__ == "__main__":
    main()
