"""What an operator sees: GPUs that change under their eyes, and buttons that do what they say."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.product import Product, job, until

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds


@pytest.fixture
def gpus(page: Page) -> Page:
    """The page, open; whether it was loaded again can be asked."""
    page.goto("/admin/gpus/")
    page.evaluate("window.sameDocument = true")
    return page


@pytest.fixture(autouse=True)
def in_service(product: Product) -> Iterator[None]:
    """Whatever a story does to the pool is undone."""
    yield
    with contextlib.suppress(AssertionError):
        product.manage("gpus", "undrain", "testnode")
    for index in range(4):
        product.manage("gpus", "return", f"testnode/{index}", check=False)


def gpu(page: Page, index: int) -> Any:
    return page.locator(f"[data-gpu='sim-testnode-{index}']")


def state(page: Page, index: int) -> Any:
    return gpu(page, index).locator("[data-state]")


def test_a_gpu_is_quarantined_and_returned_without_a_reload(gpus: Page) -> None:
    expect(state(gpus, 2)).to_have_text("free")
    gpu(gpus, 2).get_by_role("button", name="Quarantine GPU 2").click()
    question = gpus.get_by_role("dialog")
    expect(question.get_by_label("Why")).to_be_focused()
    question.get_by_role("button", name="Quarantine").click()
    expect(question).to_be_visible()  # Not without a reason
    question.get_by_label("Why").fill("fan noise")
    question.get_by_label("For how long").select_option("1 hour")
    question.get_by_role("button", name="Quarantine").click()
    expect(question).to_be_hidden()
    expect(state(gpus, 2)).to_have_text("quarantined")
    expect(gpu(gpus, 2)).to_contain_text("fan noise (admin)")
    expect(gpus.locator("#pool-messages")).to_contain_text("is quarantined for 1 h 00 min")
    gpu(gpus, 2).get_by_role("button", name="Return").click()
    expect(state(gpus, 2)).to_have_text("free")
    assert gpus.evaluate("window.sameDocument") is True


def test_what_others_do_is_seen_without_a_reload(gpus: Page, product: Product) -> None:
    product.manage("gpus", "quarantine", "testnode/1", "--why", "said in a shell")
    expect(state(gpus, 1)).to_have_text("quarantined", timeout=SOON)
    product.manage("gpus", "return", "testnode/1")
    expect(state(gpus, 1)).to_have_text("free", timeout=SOON)
    assert gpus.evaluate("window.sameDocument") is True


def test_a_question_stays_open_with_what_was_typed_and_escape_ends_it(gpus: Page) -> None:
    clock = gpus.locator(".at-clock")
    gpu(gpus, 0).get_by_role("button", name="Quarantine").click()
    why = gpus.get_by_label("Why")
    why.fill("half a word")
    before = clock.text_content()
    expect(clock).not_to_have_text(str(before), timeout=SOON)  # The page went on behind it
    expect(why).to_have_value("half a word")
    expect(why).to_be_focused()
    gpus.keyboard.press("Escape")
    expect(gpus.get_by_role("dialog")).to_be_hidden()
    expect(state(gpus, 0)).to_have_text("free")


def test_the_focus_of_the_keyboard_stays_where_it_is_while_the_page_changes(gpus: Page) -> None:
    button = gpu(gpus, 3).get_by_role("button", name="Quarantine")
    button.focus()
    clock = gpus.locator(".at-clock")
    before = clock.text_content()
    expect(clock).not_to_have_text(str(before), timeout=SOON)
    expect(button).to_be_focused()


def test_a_node_is_drained_and_an_experiment_released_after_a_question(
    gpus: Page, product: Product
) -> None:
    product.tune(job("held", "sleep 600", [1]))
    until(lambda: product.json("gpus")["leases"], 30)
    lease = gpus.locator("[data-lease]")
    expect(lease).to_contain_text("held #1", timeout=SOON)
    gpus.get_by_role("button", name="Drain").click()
    gpus.get_by_label("Why").fill("new driver")
    gpus.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(gpus.locator(".at-node")).to_contain_text("new driver (admin)")
    lease.get_by_role("button", name="Release").click()
    question = gpus.get_by_role("dialog")
    question.get_by_role("button", name="Let it run").click()
    expect(question).to_be_hidden()
    lease.get_by_role("button", name="Release").click()
    question.get_by_role("button", name="Release").click()
    expect(lease).to_have_count(0, timeout=SOON)
    expect(gpus.locator("#pool-waiting")).to_contain_text("held #1", timeout=SOON)
    product.manage("cancel", "held")
    expect(gpus.locator("#pool-waiting")).to_contain_text("Nobody waits", timeout=SOON)
    gpus.get_by_role("button", name="Undrain").click()
    expect(gpus.get_by_role("button", name="Drain…")).to_be_visible()
    assert gpus.evaluate("window.sameDocument") is True


def test_the_limit_of_a_running_task_is_changed_on_its_page(page: Page, product: Product) -> None:
    product.tune(job("widened", "sleep 600", [1, 2, 3], max_parallel_experiments=1))
    task = product.json("show", "widened")["id"]
    page.goto(f"/admin/experiments/tuningtask/{task}/live/")
    field = page.get_by_label("Max parallel experiments")
    change = page.get_by_role("dialog").get_by_role("button", name="Change")
    page.locator("#change-task").click()
    field.fill("9")
    change.click()
    expect(field).to_be_visible()  # The browser knows the limit
    field.fill("3")
    change.click()
    expect(page.locator("#live-messages")).to_contain_text("runs at most 3 experiments at once")
    rows = page.locator("#live-rows tbody tr")
    expect(rows.filter(has_text="BENCHMARKING")).to_have_count(3, timeout=SOON)
    product.manage("cancel", "widened")
    expect(page.locator("[data-status]")).to_have_text("CANCELLED", timeout=SOON)
    expect(page.locator("#change-task")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_the_page_is_never_wider_than_its_window(page: Page, theme: str, width: int) -> None:
    page.goto("/admin/gpus/")
    page.evaluate("theme => localStorage.setItem('adminTheme', JSON.stringify(theme))", theme)
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    expect(page.locator("html")).to_have_class(re.compile(theme))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator(".at-scroll").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
