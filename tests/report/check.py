#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pages of gptqfs report in a real browser: make report-check.

    check.py OUT_DIR [FIXTURE...]

Draws pages of fixtures with $GPTQFS, and of synthetic models, and shows each in headless Chromium at two widths, light and
dark. There may be no scrolling sideways, no message in the console, no request, and nothing that axe-core complains about.
Pictures of all stay in OUT_DIR, to be looked at. PAGES="small moe" chooses some.
"""

import base64
import importlib.resources
import os
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "contrib/python"), str(ROOT / "tests/report")]

import gptqfs  # noqa: E402
import synthetic  # noqa: E402
from gptqfs import _figures, _page  # noqa: E402

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "preload": False, "resultTypes": ["violations"]}
BYTES_MAX, OPENED_MAX = 2_000_000, 200_000
WIDTHS = 1280, 390
failures = []


def check(what, right, detail=""):
    print("%-6s %s%s" % ("ok" if right else "FAILED", what, "" if right else ": %s" % detail))
    if not right:
        failures.append(what)


def draw(out, models, other):
    page = _page.render([_figures.Model(name, stats, facts) for name, (stats, facts) in models.items()], other, "0.1.0")
    out.write_text(page, encoding="utf-8")


def pages(out, fixtures):
    chosen = os.environ.get("PAGES", "").split()
    for name, fixture, against in fixtures:
        if chosen and name not in chosen:
            continue
        gptqfs.report(fixture, out / (name + ".html"), against=against)
        yield name
    for name, models, other in (
        ("70b", lambda: {"llama-70b": synthetic.llama()}, "llama-70b-bf16"),
        ("70b-alone", lambda: {"llama-70b": synthetic.llama(compared=False)}, None),
        ("moe", lambda: {"qwen3-30b-a3b": synthetic.moe()}, "qwen3-30b-a3b-bf16"),
        ("compare", lambda: {"llama-%d-bit" % bits: synthetic.llama(bits=bits, seed=bits) for bits in (3, 4, 8)}, "llama-70b-bf16"),
        ("hostile", lambda: {synthetic.MARKUP: synthetic.hostile()}, synthetic.MARKUP),
    ):
        if chosen and name not in chosen:
            continue
        draw(out / (name + ".html"), models(), other)
        yield name


def browser():
    options = Options()
    for argument in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND":
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver")))


def requests(driver):
    """Addresses other than the page's that were asked for."""
    lines = [entry["message"] for entry in driver.get_log("performance") if "Network.requestWillBeSent\"" in entry["message"]]
    return [line for line in lines if '"url":"data:' not in line and line.count('"url":"file:') == 0]


def show(driver, path, width, scheme):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    driver.get("file://%s" % path)


def look(driver, path, width, scheme):
    name = "%s, %d pixels, %s" % (path.stem, width, scheme)
    show(driver, path, width, scheme)
    for opened in False, True:
        if opened:
            driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        extent = driver.execute_script("return document.documentElement.scrollWidth")
        check("%s: no scrolling sideways%s" % (name, ", all open" if opened else ""), extent <= width, extent)
        if not opened:
            picture(driver, path, width, scheme)
    messages = driver.get_log("browser")
    check("%s: no message in the console" % name, not messages, messages)
    asked = requests(driver)
    check("%s: no request" % name, not asked, asked)


def picture(driver, path, width, scheme):
    height = driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.with_name("%s-%d-%s.png" % (path.stem, width, scheme)).write_bytes(base64.b64decode(shot["data"]))


def paper(driver, path):
    """Prints the page, which is light on paper whatever the screen is."""
    show(driver, path, WIDTHS[0], "dark")
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})["data"])
    path.with_suffix(".pdf").write_bytes(pdf)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    check("%s: on paper" % path.stem, pdf.startswith(b"%PDF") and colour == "rgb(255, 255, 255)", colour)


def axe(driver, path, scheme):
    """Contrast, headings, names and roles. What is closed is opened if it is not long."""
    show(driver, path, WIDTHS[0], scheme)
    if path.stat().st_size < OPENED_MAX:
        driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    driver.execute_script(AXE)
    found = driver.execute_async_script("axe.run(document, arguments[0]).then(arguments[arguments.length - 1])", RULES)
    bad = ["%s: %s" % (v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]
    check("%s, %s: axe-core (%d rules)" % (path.stem, scheme, len(found["passes"])), not bad and found["passes"], bad)


def main():
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    fixtures = [f.split("=") for f in sys.argv[2:]]
    driver = browser()
    driver.set_script_timeout(100)
    try:
        for name in pages(out, [(f[0], f[1], f[2] if len(f) > 2 else None) for f in fixtures]):
            path = out / (name + ".html")
            size = path.stat().st_size
            check("%s: %d kB" % (name, size // 1000), size <= BYTES_MAX, size)
            for width in WIDTHS:
                for scheme in "light", "dark":
                    look(driver, path, width, scheme)
                    if width == WIDTHS[0]:
                        axe(driver, path, scheme)
            paper(driver, path)
    finally:
        driver.quit()
    print("%d failed" % len(failures))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
