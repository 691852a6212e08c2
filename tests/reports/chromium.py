"""A headless Chromium for tests of pages: Debian's `chromium` and its driver, never downloaded."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,900", "about:blank",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:", "about:", "chrome:", "chrome-untrusted:")
"""Addresses without a network; the last are the browser's own first tab."""


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A driver with both logs on. Skips the test where there is no Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with its chromedriver on the PATH (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield made
    finally:
        made.quit()


class Page:
    """A page that is open. Every script that waits fails after `WAIT_S`."""

    WAIT_S = 15.0

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        driver.get(path.as_uri())
        self.wait("return 'ready' in document.documentElement.dataset")

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any) -> Any:
        """What a script returns, once it is true."""
        return self.until(lambda: self.js(script, *arguments), script)

    def until(self, found: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + self.WAIT_S
        while not (value := found()):
            assert time.monotonic() < end, f"waited in vain for: {what}"
            time.sleep(0.05)
        return value

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def complaints(self) -> list[str]:
        """Whatever the console holds, errors, warnings or notes."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses asked for."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
