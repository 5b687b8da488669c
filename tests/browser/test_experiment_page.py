"""What a person sees of one experiment: its log, followed, paused and searched."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_live_page import SOON, add, rows
from tests.integration.product import Product, until

pytestmark = pytest.mark.browser

# Speaks until a file is there, so that nothing depends on how fast the test is
SPEAK = (
    "import time,os,json\nn=0\n"
    "while not os.path.exists({end!r}):\n"
    "    n+=1; print('\\033[31mred\\033[0m step', n, '<script>alert(1)</script>', flush=True)\n"
    "    time.sleep(0.2)\n"
    "print(json.dumps(dict(speed=1.0)))"
)


def test_a_log_is_followed_paused_searched_and_ends(page: Page, product: Product) -> None:
    end = product.folder / "spoken"
    script = product.folder / "speak.py"
    script.write_text(SPEAK.format(end=str(end)))
    add(page, "spoken", command=f"python3\n{script}", search_space="x: 1")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(1, timeout=SOON)
    rows(page).filter(has_text="BENCHMARKING").locator("a").first.click()
    text = page.locator("#log-text")
    expect(text).to_contain_text("step 5 <script>alert(1)", timeout=SOON)
    expect(text.locator(".at-ansi-1").first).to_have_text("red")
    before = text.inner_text()
    until(lambda: len(text.inner_text()) > len(before), 30, lambda: "the log does not grow")
    page.check("#log-pause")
    expect(page.locator("#log-state")).to_have_text("paused")
    page.fill("#log-search", "step 3 ")
    expect(text.locator(".at-line:visible")).to_have_count(1)
    page.uncheck("#log-pause")
    end.touch()
    expect(page.locator("#log-state")).to_contain_text("ended", timeout=SOON)
    expect(page.locator("body")).to_contain_text("SUCCESS")
    assert text.get_attribute("hx-get") is None
