"""Chromium without a window, for tests that look at pages."""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WITH_BROWSER = pytest.mark.skipif(
    not (BROWSER and DRIVER and importlib.util.find_spec("selenium")),
    reason="pages are not tested: there is no Chromium, or no selenium, here",
)
SCREENSHOTS = os.environ.get("AUTOSEG_SCREENSHOTS")
PIECE = 1800  # pixels of height
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def emulate(browser: Chrome, *, theme: str = "light", width: int = 1280, media: str = "screen") -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def opened(browser: Chrome, path: Path) -> Chrome:
    browser.get(path.as_uri())
    assert int(browser.execute_script("return document.documentElement.dataset.drawn")) > 0
    return browser


def click(browser: Chrome, element) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", element)


def complaints(browser: Chrome) -> list[dict]:
    """Errors and warnings since the last call."""
    return [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def screenshot(browser: Chrome, name: str) -> None:
    """The whole page as it is, in pieces that can be looked at, where AUTOSEG_SCREENSHOTS names a folder for them."""
    if not SCREENSHOTS:
        return
    folder = Path(SCREENSHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    browser.execute_script("window.scrollTo(0, 0)")
    width, height = browser.execute_script(
        "const { scrollWidth, scrollHeight } = document.documentElement; return [scrollWidth, scrollHeight]"
    )
    for number, top in enumerate(range(0, height, PIECE), 1):
        clip = {"x": 0, "y": top, "width": width, "height": min(PIECE, height - top), "scale": 1}
        options = {"format": "png", "clip": clip, "captureBeyondViewport": True}
        taken = browser.execute_cdp_cmd("Page.captureScreenshot", options)
        (folder / f"{name}_{number:02d}.png").write_bytes(base64.b64decode(taken["data"]))
