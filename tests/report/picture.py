#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The picture of a page that README shows: its beginning, in few colours.

    GPTQFS=build/gptqfs picture.py MODEL_DIR contrib/report.png
"""

import sys
import tempfile
from pathlib import Path

import check
import gptqfs
from PIL import Image

WIDTH, COLOURS = 1120, 160


def main():
    model, out = sys.argv[1:]
    driver = check.browser()
    with tempfile.TemporaryDirectory() as directory:
        page = Path(gptqfs.report(model, Path(directory) / "page.html"))
        try:
            check.show(driver, page, WIDTH, "light")
            bottom = driver.execute_script("return document.querySelector('.drawn').getBoundingClientRect().bottom")
            check.picture(driver, page, WIDTH, "light")
        finally:
            driver.quit()
        picture = Image.open(page.with_name("page-%d-light.png" % WIDTH)).convert("RGB")
    picture = picture.crop((0, 0, WIDTH, int(bottom) + 4)).quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(out, optimize=True)


if __name__ == "__main__":
    main()
