"""The status page in a real browser: readable on a phone, without a script, in light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from sync_daemon.daemon.serving import make_gateway
from tests.gateway.test_pages import fill
from tests.support.published import Serving, serving

REQUIRE = "SYNC_DAEMON_REQUIRE_CHROMIUM"
PAGES = ("/", "/org/one", "/datasets/set", "/nope")
Open = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("store")
    with serving(folder, fill(folder), make=make_gateway) as found:
        yield found


@pytest.fixture
def browse() -> Iterator[Open]:
    """Open browsers of some width; fails, where a browser is required, if there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        message = "chromium and chromium-driver are not installed"
        if os.environ.get(REQUIRE):
            pytest.fail(message)
        pytest.skip(message)
    opened: list[webdriver.Chrome] = []

    def start(width: int, *, dark: bool = False, scripts: bool = True) -> webdriver.Chrome:
        options = Options()
        options.binary_location = browser
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
            options.add_argument(argument)
        options.add_argument(f"--window-size={width},900")
        if dark:
            options.add_argument("--blink-settings=preferredColorScheme=0")
        if not scripts:
            prefs = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", prefs)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened.append(webdriver.Chrome(options=options, service=Service(driver)))
        return opened[-1]

    yield start
    for one in opened:
        one.quit()


def check_access(browser: webdriver.Chrome) -> list[Any]:
    """Return what axe (WCAG: names, roles, contrast and so on) has to say against the page."""
    folder = Path(str(files("axe_core_python")))
    browser.execute_script(next(folder.rglob("axe*.js")).read_text())
    script = "const done = arguments[arguments.length - 1]; axe.run().then(done)"
    found = browser.execute_async_script(script)
    assert len(found["passes"]) > 5, "it did look"
    return [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_pages_are_accessible_and_fit(
    served: Serving, browse: Open, width: int, colours: str
) -> None:
    browser = browse(width, dark=colours == "dark")
    for path in PAGES:
        browser.get(served.url + path)
        assert check_access(browser) == []
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(wide) == 0, path
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[colours]
        log = [line for line in browser.get_log("browser") if "/nope" not in line["message"]]
        assert log == []


def test_a_reader_finds_a_file_without_any_script(served: Serving, browse: Open) -> None:
    browser = browse(390, scripts=False)
    browser.get(served.url)
    browser.find_element(By.LINK_TEXT, "org/one").click()
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("org/one")
    browser.find_element(By.LINK_TEXT, "1.0").click()
    assert browser.find_element(By.CSS_SELECTOR, "[aria-current=page]").text == "1.0"
    commands = browser.find_elements(By.TAG_NAME, "pre")
    assert any("hf download org/one --revision 1.0" in one.text for one in commands)
    assert browser.find_element(By.LINK_TEXT, "model.safetensors").is_displayed()
