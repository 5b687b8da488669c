"""Every page, in both themes: nothing is broken, unreadable, nameless, foreign, or run.

The rows that it shows have hostile texts, so that a script which got through would be seen.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.browser.conftest import watched
from tests.integration.product import Product

pytestmark = pytest.mark.browser

CHECKS = (Path(__file__).parent / "checks.js").read_text()
ADMIN = "/admin/experiments"
TASK, EXPERIMENT = f"{ADMIN}/tuningtask", f"{ADMIN}/experiment"
JOBS = "/admin/django_celery_results/taskresult"
NARROW, WIDE = 390, 1440


def addresses(of: dict[str, int]) -> dict[str, int]:
    """The address of every page, and the status with which it answers."""
    states = ("waits", "paused", "done", "hostile")
    found = [
        *("/admin/", f"{TASK}/", f"{TASK}/?status__exact=COMPLETED&q=nothing", f"{TASK}/add/"),
        *(f"{TASK}/{of[name]}/live/" for name in states),
        *(f"{TASK}/{of[name]}/change/" for name in ("waits", "hostile")),
        *(f"{ADMIN}/preset/{page}" for page in ("", "add/", "import/", "1/change/")),
        *(f"{TASK}/paste/", f"{TASK}/{of['hostile']}/delete/"),
        *(f"{EXPERIMENT}/", f"{EXPERIMENT}/?status__exact=FAILED"),
        *(f"{EXPERIMENT}/{of[name]}/change/" for name in ("done #2", "done #3", "paused #1")),
        f"{EXPERIMENT}/{of['hostile experiment']}/change/",
        f"{EXPERIMENT}/compare/?ids={of['done #1']},{of['done #3']},{of['hostile experiment']}",
        *("/admin/gpus/", f"{ADMIN}/auditentry/", f"{ADMIN}/auditentry/{of['audit']}/change/"),
        *(f"{JOBS}/", f"{JOBS}/{of['job']}/change/"),
        *("/admin/auth/user/", "/admin/auth/user/1/change/", "/admin/auth/user/add/"),
        *("/admin/auth/group/", "/admin/auth/group/1/change/", "/admin/password_change/"),
    ]
    return {**dict.fromkeys(found, 200), "/admin/nowhere/": 404, f"{TASK}/99999/live/": 404}


@pytest.fixture
def tab(
    chromium: BrowserContext, product: Product, populated: dict[str, int], faults: list[str]
) -> Iterator[Page]:
    """A tab that notes what its answers lack."""

    def look(answer: Response) -> None:
        policy = answer.headers.get("content-security-policy", "")
        if "default-src 'self'" not in policy:
            faults.append(f"no policy: {answer.url}")

    with watched(chromium, product, faults) as page:
        page.on("response", look)
        yield page


def choose(page: Page, theme: str) -> None:
    page.evaluate("theme => localStorage.setItem('adminTheme', JSON.stringify(theme))", theme)


def wrong_with(page: Page, address: str, theme: str) -> list[str]:
    """What is wrong with the page that is open, wide and narrow."""
    page.set_viewport_size({"width": WIDE, "height": 900})
    expect(page.locator("html")).to_have_class(re.compile(theme))
    found = list(page.evaluate(CHECKS))
    page.set_viewport_size({"width": NARROW, "height": 900})
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > NARROW:
        found.append(f"{width} px wide in a window of {NARROW}")
    return [f"{address} ({theme}): {one}" for one in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wrong_with_any_page(
    theme: str, tab: Page, populated: dict[str, int], faults: list[str]
) -> None:
    wrong = []
    tab.goto("/admin/")
    choose(tab, theme)
    for address, status in addresses(populated).items():
        answer = tab.goto(address)
        assert answer is not None and answer.status == status, address
        if address.endswith("/live/") and status == 200:
            expect(tab.locator("#connection")).to_have_text("live")
        wrong += wrong_with(tab, address, theme)
        if status != 200:  # The browser itself tells the console
            faults[:] = [one for one in faults if f"status of {status}" not in one]
    assert not wrong, "\n".join(wrong)
    assert not faults


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wrong_with_what_strangers_see(
    theme: str, browser: Browser, product: Product, faults: list[str]
) -> None:
    window = browser.new_context(base_url=f"http://127.0.0.1:{product.port}")
    wrong = []
    with watched(window, product, faults) as page:
        for address in ("/admin/login/", "/nowhere/"):
            page.goto(address)
            choose(page, theme)
            page.reload()
            wrong += wrong_with(page, address, theme)
    window.close()
    faults[:] = [one for one in faults if "status of 404" not in one]
    assert not wrong, "\n".join(wrong)
    assert not faults


def test_whoever_wants_no_motion_sees_none(
    chromium: BrowserContext, product: Product, populated: dict[str, int], faults: list[str]
) -> None:
    moving = """() => [...document.querySelectorAll("#main *")].filter((one) =>
        getComputedStyle(one).animationName !== "none").map((one) => one.outerHTML.slice(0, 80))"""
    with watched(chromium, product, faults) as page:
        page.emulate_media(reduced_motion="reduce")
        for address in ("/admin/", f"{TASK}/{populated['paused']}/live/"):
            page.goto(address)
            assert page.evaluate(moving) == []
    assert not faults
