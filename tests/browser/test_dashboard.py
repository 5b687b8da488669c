"""What a person sees on the start page: tasks and lanes that move without a reload."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.product import Product, job

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds


@pytest.fixture
def start(page: Page) -> Page:
    """The start page, open; whether it was loaded again can be asked."""
    page.goto("/admin/")
    page.evaluate("window.sameDocument = true")
    return page


@pytest.fixture(autouse=True)
def in_service(product: Product) -> Iterator[None]:
    yield
    product.manage("gpus", "return", "testnode/2", check=False)


def task(page: Page, name: str) -> Any:
    return page.locator("[data-task]").filter(has_text=name)


def lanes(page: Page) -> Any:
    return page.locator("#dashboard-lanes [data-lane]")


def test_a_running_task_and_its_lane_move_without_a_reload(start: Page, product: Product) -> None:
    go = product.folder / "go-on"
    wait = f"while test $AUTOTUNER_X = 2 && ! test -e {go}; do sleep 0.1; done"
    product.tune(job("watched", f"{wait}; echo '{{\"speed\": 7}}'", [1, 2, 3]))
    row = task(start, "watched")
    expect(row.locator("[data-status]")).to_have_text("RUNNING", timeout=SOON)
    expect(row.locator("[data-progress]")).to_have_text("1/3", timeout=SOON)
    bars = lanes(start).locator("a.at-bar")
    running = bars.filter(has_text="watched #2: BENCHMARKING")
    expect(running).to_have_class(re.compile("at-busy"), timeout=SOON)
    expect(start.locator("#pool-gpus")).to_contain_text("watched #2", timeout=SOON)
    go.touch()
    expect(row.locator("[data-status]")).to_have_text("COMPLETED", timeout=SOON)
    expect(row.locator("[data-progress]")).to_have_text("3/3")
    expect(row).to_contain_text("7")
    done = bars.filter(has_text="watched #2: SUCCESS")
    expect(done).to_have_class(re.compile("at-good"), timeout=SOON)
    assert start.evaluate("window.sameDocument") is True
    row.get_by_role("link").click()
    expect(start.locator("#live-lanes a.at-bar")).to_have_count(3)


def test_a_quarantine_is_seen_with_its_reason_without_a_reload(
    start: Page, product: Product
) -> None:
    product.manage("gpus", "quarantine", "testnode/2", "--why", "fan noise")
    gpu = start.locator("[data-gpu='sim-testnode-2']")
    expect(gpu).to_contain_text("fan noise", timeout=SOON)
    lane = lanes(start).filter(has_text="testnode 2")
    expect(lane).to_contain_text("quarantined", timeout=SOON)
    assert start.evaluate("window.sameDocument") is True


def test_a_page_without_its_server_says_so_and_comes_back(start: Page, faults: list[str]) -> None:
    dot = start.locator("#connection")
    expect(dot).to_have_text("live")
    start.route("**/admin/dashboard/now/**", lambda route: route.abort())
    expect(dot).to_contain_text("reconnecting", timeout=SOON)
    start.unroute("**/admin/dashboard/now/**")
    expect(dot).to_have_text("live", timeout=SOON)
    assert start.evaluate("window.sameDocument") is True
    assert faults and all("Failed" in one or "htmx:" in one for one in faults), faults
    faults.clear()  # The browser itself tells the console of a request without an answer


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_start_page_is_never_wider_than_its_window(page: Page, theme: str, width: int) -> None:
    page.goto("/admin/")
    page.evaluate("theme => localStorage.setItem('adminTheme', JSON.stringify(theme))", theme)
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    expect(page.locator("html")).to_have_class(re.compile(theme))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator(".at-scroll").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
