# SPDX-License-Identifier: MIT
"""What the tests of this folder share: where things are, the module of contrib/python to import, and the sum at the end."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "contrib/python"
MODEL = ROOT / "tests/data/models/tiny-llama-4b-g32-shard"
GPTQFS = Path(os.environ.get("GPTQFS", "build/gptqfs")).resolve()
os.environ["GPTQFS"] = str(GPTQFS)
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.path.insert(0, str(MODULE))


class Test(unittest.TestCase):
    """A test with a temporary directory."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.tmp = Path(directory.name)


def main() -> int:
    """Runs the tests of the program, and prints how many passed. Returns its exit status."""
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed - len(result.skipped)
    print("%d passed, %d failed, %d skipped" % (passed, failed, len(result.skipped)))
    return bool(failed)
