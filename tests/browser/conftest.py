"""A Chromium on the whole product."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.integration.product import PROGRAMS, Product, running_product

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PASSWORD = "for-these-tests"


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    """Everything, on four pretend GPUs."""
    with running_product("simulated:4", GPUPOOL_LEASE_TTL="6") as running:
        yield running


@pytest.fixture(scope="session")
def populated(product: Product) -> dict[str, int]:
    """People of every role and tasks in every status: their numbers, by their names."""
    said = product.manage("shell", stdin=(PROGRAMS / "rows.py").read_text()).stdout
    numbers: dict[str, int] = json.loads(said.splitlines()[-1])
    return numbers


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def log_in(browser: Browser, product: Product) -> Iterator[Callable[..., BrowserContext]]:
    """A window of a person's own; the same one for the same person."""
    windows: dict[str, BrowserContext] = {}

    def window(name: str, password: str = PASSWORD) -> BrowserContext:
        if name not in windows:
            address = f"http://127.0.0.1:{product.port}"
            size = {"width": 1400, "height": 900}
            windows[name] = browser.new_context(base_url=address, viewport=size)  # type: ignore[arg-type]
            page = windows[name].new_page()
            page.goto("/")
            page.fill("[name=username]", name)
            page.fill("[name=password]", password)
            page.click("button[type=submit]")
            page.wait_for_url("**/admin/")
            page.close()
        return windows[name]

    yield window
    for one in windows.values():
        one.close()


@pytest.fixture(scope="session")
def chromium(log_in: Callable[..., BrowserContext], product: Product) -> BrowserContext:
    """The administrator's window."""
    password = re.search(r"admin / (\S+)", product.said())
    assert password is not None
    return log_in("admin", password.group(1))


@pytest.fixture
def faults() -> list[str]:
    """What went wrong on the page: console errors, and requests to other hosts."""
    return []


@contextmanager
def watched(window: BrowserContext, product: Product, faults: list[str]) -> Iterator[Page]:
    """A tab of which all faults are noted."""
    tab = window.new_page()
    ours = (f"http://127.0.0.1:{product.port}/", f"ws://127.0.0.1:{product.port}/", "data:")

    def look(address: str) -> None:
        if not address.startswith(ours):
            faults.append(address)

    tab.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    tab.on("dialog", lambda asked: (faults.append(asked.message), asked.dismiss()))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: look(request.url))
    tab.on("websocket", lambda socket: look(socket.url))
    yield tab
    tab.close()


@pytest.fixture
def page(chromium: BrowserContext, product: Product, faults: list[str]) -> Iterator[Page]:
    """The administrator's page, on which nothing may go wrong."""
    with watched(chromium, product, faults) as tab:
        yield tab
    assert not faults
