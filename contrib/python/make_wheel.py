#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: make_wheel.py PROGRAM FILE.whl

Packs the module and a static program as a wheel, whose name has the version and the tags. A wheel is a zip file; this one
is written without setuptools, so that it needs no network and the same input makes the same bytes.
"""

import base64
import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Dict, List, Tuple

HERE = Path(__file__).resolve().parent
METADATA = """\
Metadata-Version: 2.1
Name: gptqfs
Version: {version}
Summary: Mount a quantized model and read it as an ordinary one
License: MIT
Keywords: gptq,awq,safetensors,quantization,fuse
Classifier: License :: OSI Approved :: MIT License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: 3
Classifier: Typing :: Typed
Requires-Python: >=3.8
Provides-Extra: report
Requires-Dist: matplotlib>=3.6; extra == "report"
Requires-Dist: jinja2>=3; extra == "report"
Description-Content-Type: text/markdown

{readme}"""
WHEEL = "Wheel-Version: 1.0\nGenerator: make_wheel.py\nRoot-Is-Purelib: false\n"


def contents(program: Path, version: str, tags: List[str]) -> Dict[str, Tuple[bytes, int]]:
    """The files of the wheel: name to (bytes, mode)."""
    info = "gptqfs-%s.dist-info/" % version
    readme = (HERE / "README.md").read_text()
    files = {"gptqfs/" + p.name: (p.read_bytes(), 0o644) for p in sorted((HERE / "gptqfs").iterdir()) if p.is_file()}
    files["gptqfs/bin/gptqfs"] = (program.read_bytes(), 0o755)
    files[info + "METADATA"] = (METADATA.format(version=version, readme=readme).encode(), 0o644)
    files[info + "WHEEL"] = ((WHEEL + "".join("Tag: %s\n" % tag for tag in tags)).encode(), 0o644)
    files[info + "entry_points.txt"] = (b"[console_scripts]\ngptqfs = gptqfs.__main__:main\n", 0o644)
    files[info + "LICENSE"] = ((HERE / "../../LICENSE").read_bytes(), 0o644)
    return files


def record(files: Dict[str, Tuple[bytes, int]], name: str) -> bytes:
    """The list of the files and their hashes."""
    lines = []
    for path, (data, _) in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append("%s,sha256=%s,%d\n" % (path, digest, len(data)))
    return "".join([*lines, name + ",,\n"]).encode()


def main() -> None:
    program, wheel = Path(sys.argv[1]), Path(sys.argv[2])
    _, version, python, abi, platforms = wheel.stem.split("-")
    files = contents(program, version, ["%s-%s-%s" % (python, abi, p) for p in platforms.split(".")])
    name = "gptqfs-%s.dist-info/RECORD" % version
    files[name] = (record(files, name), 0o644)
    # zip has no dates before 1980.
    date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800))[:6]
    part = wheel.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for path, (data, mode) in files.items():
            entry = zipfile.ZipInfo(path, date)
            entry.create_system = 3  # Unix: modes count
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, data)
    part.replace(wheel)


if __name__ == "__main__":
    main()
