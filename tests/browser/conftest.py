"""A Chromium on the whole product."""

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.integration.product import Product, running_product

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    """Everything, on four pretend GPUs."""
    with running_product("simulated:4", GPUPOOL_LEASE_TTL="6") as running:
        yield running


@pytest.fixture(scope="session")
def chromium(product: Product) -> Iterator[BrowserContext]:
    """A browser that is logged in as the administrator."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium on the PATH")
    password = re.search(r"admin / (\S+)", product.said())
    assert password is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{product.port}", viewport={"width": 1400, "height": 900}
        )
        page = context.new_page()
        page.goto("/")
        page.fill("[name=username]", "admin")
        page.fill("[name=password]", password.group(1))
        page.click("button[type=submit]")
        page.wait_for_url("**/admin/")
        page.close()
        yield context
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """What went wrong on the page: console errors, and requests to other hosts."""
    return []


@pytest.fixture
def page(chromium: BrowserContext, product: Product, faults: list[str]) -> Iterator[Page]:
    """A page on which nothing may go wrong."""
    tab = chromium.new_page()
    ours = (f"http://127.0.0.1:{product.port}/", f"ws://127.0.0.1:{product.port}/", "data:")

    def look(address: str) -> None:
        if not address.startswith(ours):
            faults.append(address)

    tab.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: look(request.url))
    tab.on("websocket", lambda socket: look(socket.url))
    yield tab
    tab.close()
    assert not faults
