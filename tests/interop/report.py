# SPDX-License-Identifier: MIT
"""Writes a line per check to the file $RESULTS, where run.sh adds them up, so that none is lost in a crash."""
import contextlib
import os
import time


class Skip(Exception):
    pass


def _line(word, text):
    print(f"{word:<5} {text}", flush=True)
    with open(os.environ["RESULTS"], "a") as f:
        f.write(word + "\n")


def _fail(name, e):
    text = " ".join(str(e).split())
    _line("FAIL", f"{name}: {'' if isinstance(e, AssertionError) else type(e).__name__ + ': '}{text[:600]}")


def group(name, mountpoints, function, *arguments):
    """The checks of one model. A missing mount, or an error between checks, counts as one failure."""
    try:
        for mountpoint in mountpoints:
            assert os.path.ismount(mountpoint), f"nothing is mounted at {mountpoint} any more"
            os.listdir(mountpoint)  # its server may have died
        function(*arguments)
    except Exception as e:
        _fail(name, e)


@contextlib.contextmanager
def check(name):
    """The body is the check, which fails by any exception. Items appended to the given list are printed."""
    notes = []
    start = time.monotonic()
    try:
        yield notes
    except Skip as e:
        _line("skip", f"{name}: {e}")
    except Exception as e:
        _fail(name, e)
    else:
        notes.append(f"{time.monotonic() - start:.1f} s")
        _line("pass", f"{name} ({', '.join(notes)})")
