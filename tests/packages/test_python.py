#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The module of contrib/python, run on $GPTQFS, and the wheel that carries it. Needs nothing beyond Python."""

import ast
import filecmp
import os
import signal
import subprocess
import sys
import time
import unittest
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True

import packages  # noqa: E402
from packages import GPTQFS, MODEL, MODULE  # noqa: E402

import gptqfs  # noqa: E402

# The program where there is no /dev/fuse.
HIDDEN = """#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$0" "$@"' '%s' "$@"
"""


def can_mount() -> bool:
    try:
        with gptqfs.mount(MODEL):
            return True
    except gptqfs.MountError:
        return False


CAN_MOUNT = can_mount()


def mounts(directory: str) -> int:
    with open("/proc/self/mountinfo") as lines:
        return sum(directory in line for line in lines)


def wait_until(condition) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


class Test(packages.Test):
    def fails(self, call) -> gptqfs.Error:
        with self.assertRaises(gptqfs.Error) as caught:
            call()
        return caught.exception


def enter(*arguments, **words):
    with gptqfs.mount(*arguments, **words):
        pass


@unittest.skipUnless(CAN_MOUNT, "needs FUSE")
class Mount(Test):
    def test_all_views(self):
        with gptqfs.mount(str(MODEL)) as path:
            self.assertLessEqual({"fp16", "bf16", "info.json"}, set(os.listdir(path)))
            self.assertEqual(mounts(path), 1)
        self.assertFalse(os.path.exists(path))
        self.assertEqual(mounts(path), 0)

    def test_view_and_options(self):
        with gptqfs.mount(MODEL, view="bf16", options=["--cache=1m"]) as path:
            self.assertTrue(os.path.exists(path + "/model.safetensors"))
            self.assertTrue(filecmp.cmp(path + "/tokenizer.json", MODEL / "tokenizer.json", shallow=False))

    def test_body_that_raises(self):
        with self.assertRaises(KeyError):
            with gptqfs.mount(MODEL) as path:
                raise KeyError
        self.assertEqual(mounts(path), 0)

    def test_file_in_use(self):
        with gptqfs.mount(MODEL, view="fp16") as path:
            file = open(path + "/model.safetensors", "rb")
        with file:
            self.assertEqual(len(file.read(9)), 9)

    def test_child_that_lives_on(self):
        with gptqfs.mount(MODEL) as path:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
        self.assertEqual(mounts(path), 0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def test_process_that_is_killed(self):
        program = "import gptqfs, sys, time\nwith gptqfs.mount(sys.argv[1]) as p:\n  print(p, flush=True)\n  time.sleep(60)"
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(MODEL)], stdout=subprocess.PIPE, text=True, cwd=str(MODULE)
        )
        path = child.stdout.readline().strip()
        self.assertEqual(mounts(path), 1)
        child.kill()
        child.communicate()
        self.assertTrue(wait_until(lambda: mounts(path) == 0))
        os.rmdir(path)


class Errors(Test):
    def test_message_and_status(self):
        for model, word in (self.tmp / "missing", "no such directory"), (self.tmp, "no files here"):
            for call in lambda: enter(model, view="bf16"), lambda: gptqfs.info(model):
                error = self.fails(call)
                self.assertEqual(error.status, 2)
                self.assertIn(word, str(error))
                self.assertFalse(str(error).startswith("gptqfs: "))
                self.assertNotIsInstance(error, gptqfs.MountError)

    def test_unknown_view(self):
        self.assertIn("fp17", str(self.fails(lambda: enter(MODEL, view="fp17"))))

    def test_adapter_that_is_missing(self):
        adapter = self.tmp / "missing, with a comma"
        for lora in str(adapter), (adapter, 0.5), [adapter]:
            self.assertIn(str(adapter), str(self.fails(lambda: enter(MODEL, lora=lora))))

    def test_fallback_that_is_wrong(self):
        for words in {"fallback": "copy", "view": "bf16"}, {"fallback": "export"}:
            with self.assertRaises(ValueError):
                enter(MODEL, **words)

    def test_no_program(self):
        program = "import gptqfs\ntry: gptqfs.program()\nexcept FileNotFoundError: print('right')"
        out = subprocess.run(
            [sys.executable, "-Sc", program], env={"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}, cwd=str(MODULE), capture_output=True, text=True
        )
        self.assertEqual((out.stdout, out.stderr), ("right\n", ""))


class Words(Test):
    def test_adapters(self):
        words = gptqfs._words("bf16", [(Path("/a"), 0.5), "b"], ["-s"])
        self.assertEqual(words, [str(GPTQFS), "--view=bf16", "--lora=/a:0.5", "--lora=b", "-s"])

    def test_adapter_with_a_colon(self):
        words = gptqfs._words(None, ["a:2", (Path("b:2"), 3)], [])
        self.assertEqual(words[1:], ["--lora=a:2:1.0", "--lora=b:2:3.0"])

    def test_info(self):
        facts = gptqfs.info(MODEL)
        self.assertIsInstance(facts, dict)
        self.assertIn("modules", facts)

    def test_name_like_an_option(self):
        os.symlink(MODEL, self.tmp / "-model")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.tmp)
        self.assertEqual(gptqfs.info("-model")["modules"], gptqfs.info(MODEL)["modules"])


@unittest.skipUnless(CAN_MOUNT, "needs FUSE, to compare")
class Export(Test):
    def same_as_mount(self, directory):
        with gptqfs.mount(MODEL, view="bf16") as path:
            names = os.listdir(path)
            self.assertEqual(sorted(names), sorted(os.listdir(directory)))
            _, different, broken = filecmp.cmpfiles(path, directory, names, shallow=False)
            self.assertEqual(different + broken, [])

    def test_export(self):
        out = gptqfs.export(MODEL, self.tmp / "out", view="bf16")
        self.assertEqual(out, str(self.tmp / "out"))
        self.same_as_mount(out)

    def test_directory_in_use(self):
        (self.tmp / "file").write_text("mine")
        error = self.fails(lambda: gptqfs.export(MODEL, self.tmp, view="bf16"))
        self.assertIn(str(self.tmp), str(error))
        self.assertEqual(os.listdir(self.tmp), ["file"])

    @unittest.skipUnless(os.getuid() == 0, "needs root, to hide /dev/fuse")
    def test_fallback(self):
        hidden = self.tmp / "gptqfs"
        hidden.write_text(HIDDEN % GPTQFS)
        hidden.chmod(0o755)
        self.addCleanup(os.environ.update, GPTQFS=str(GPTQFS))
        os.environ["GPTQFS"] = str(hidden)
        error = self.fails(lambda: enter(MODEL, view="bf16"))
        self.assertIsInstance(error, gptqfs.MountError)
        self.assertIn("/dev/fuse", str(error))
        with gptqfs.mount(MODEL, view="bf16", fallback="export") as path:
            self.assertEqual(mounts(path), 0)
            os.environ["GPTQFS"] = str(GPTQFS)
            self.same_as_mount(path)
        self.assertFalse(os.path.exists(path))


class Wheel(Test):
    NAME = "gptqfs-0.0.1-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64.whl"

    def make(self, name):
        (self.tmp / name).mkdir()
        wheel = self.tmp / name / self.NAME
        program = self.tmp / "program"
        program.write_text('#!/bin/sh\necho "$@"\n')
        environment = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run([sys.executable, MODULE / "make_wheel.py", program, wheel], check=True, env=environment)
        return wheel

    def test_reproducible(self):
        self.assertEqual(self.make("one").read_bytes(), self.make("two").read_bytes())

    def test_contents(self):
        info = "gptqfs-0.0.1.dist-info/"
        with zipfile.ZipFile(self.make("one")) as wheel:
            self.assertLessEqual({"gptqfs/__init__.py", "gptqfs/py.typed", info + "METADATA"}, set(wheel.namelist()))
            listed = [line.split(",")[0] for line in wheel.read(info + "RECORD").decode().splitlines()]
            self.assertEqual(sorted(listed), sorted(wheel.namelist()))
            self.assertIn("Tag: py3-none-musllinux_1_1_x86_64\n", wheel.read(info + "WHEEL").decode())
            self.assertIn("Provides-Extra: report\n", wheel.read(info + "METADATA").decode())
            self.assertLessEqual({"gptqfs/page.html", "gptqfs/page.css", "gptqfs/_page.py"}, set(wheel.namelist()))
            self.assertEqual(wheel.getinfo("gptqfs/bin/gptqfs").external_attr >> 16, 0o100755)

    def test_installed(self):
        with zipfile.ZipFile(self.make("one")) as wheel:
            wheel.extractall(self.tmp / "site")
        (self.tmp / "site/gptqfs/bin/gptqfs").chmod(0o755)  # pip does
        command = [sys.executable, "-Sm", "gptqfs", "--check", "a b"]
        out = subprocess.run(command, cwd=str(self.tmp / "site"), env={}, capture_output=True, text=True)
        self.assertEqual((out.stdout, out.stderr), ("--check a b\n", ""))

    def test_oldest_python(self):
        for file in [*(MODULE / "gptqfs").glob("*.py"), MODULE / "make_wheel.py"]:
            ast.parse(file.read_text(), feature_version=(3, 8))


if __name__ == "__main__":
    sys.exit(packages.main())
