"""What each role is offered on every page, that it works for them, and that nothing else does."""

import http.client
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import watched
from tests.integration.product import Product

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds
ROLES = ("nobody", "viewer", "operator", "engineer", "administrator")
ADMIN = "/admin/experiments"
LISTS = {
    "tasks": f"{ADMIN}/tuningtask/",
    "experiments": f"{ADMIN}/experiment/",
    "gpus": "/admin/gpus/",
    "jobs": "/admin/django_celery_results/taskresult/",
    "audit": f"{ADMIN}/auditentry/",
    "users": "/admin/auth/user/",
    "groups": "/admin/auth/group/",
}
MENU = {
    **dict.fromkeys(("/admin/", LISTS["tasks"], LISTS["experiments"], LISTS["gpus"]), "viewer"),
    f"{ADMIN}/preset/": "viewer",
    **dict.fromkeys((LISTS["jobs"], LISTS["audit"]), "operator"),
    **dict.fromkeys((LISTS["users"], LISTS["groups"]), "administrator"),
}
# What may be offered, by page: the last words of an address, or an action of a list
OFFERED: dict[str, dict[str, str]] = {
    "dashboard": {"tuningtask add": "engineer"},
    "tasks": {
        **dict.fromkeys(("tuningtask add", "tuningtask paste"), "engineer"),
        **{
            f"{verb}_selected": "operator"
            for verb in ("start", "pause", "resume", "cancel", "retry")
        },
        **{"clone_selected": "engineer", "export_selected": "viewer"},
        "delete_selected": "administrator",
    },
    "waits": {
        **dict.fromkeys(("do start", "ask cancel"), "operator"),
        **dict.fromkeys(("tuningtask change", "ask clone"), "engineer"),
    },
    "a job waits": {
        **dict.fromkeys(("do start", "ask cancel"), "operator"),
        **dict.fromkeys(("tuningtask change", "ask clone"), "administrator"),
    },
    "paused": {
        **dict.fromkeys(("do resume", "do retry", "ask cancel", "ask change"), "operator"),
        "ask clone": "engineer",
    },
    "done": {
        **dict.fromkeys(("do retry", "ask extend"), "operator"),
        "ask clone": "engineer",
    },
    "experiments": {
        **dict.fromkeys(("compare_selected", "csv_selected"), "viewer"),
        **dict.fromkeys(("cancel_selected", "retry_selected"), "operator"),
    },
    "a failed experiment": {"do retry": "operator"},
    "a waiting experiment": {"do cancel": "operator"},
    "gpus": dict.fromkeys(("ask drain", "ask quarantine"), "administrator"),
    "jobs": {},
    "audit": {},
    "users": {},
    "groups": {},
}
# Where a page sends its reader, or asks by itself
SAID = """() => {
  const said = [];
  const within = document.querySelector("#main") || document.body;
  within.querySelectorAll("a[href], [hx-get], [hx-post], form[action]").forEach((one) => {
    if (!one.closest("h1")) {
      ["href", "hx-get", "hx-post", "action"].forEach((name) => {
        if (one.hasAttribute(name)) said.push([name, one.getAttribute(name)]);
      });
    }
  });
  document.querySelectorAll("select[name=action] option[value]").forEach((one) => {
    if (one.value) said.push(["option", one.value]);
  });
  return said;
}"""
WORDS = re.compile(r"/(ask|do)/(\w+)/|/(tuningtask)/(?:\d+/)?(add|paste|change|delete)/")


def at_least(role: str, needed: str) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


@pytest.fixture(scope="module")
def pages(populated: dict[str, int]) -> dict[str, str]:
    """The address of every page, by the name that OFFERED gives it."""
    live = {
        name: f"{ADMIN}/tuningtask/{populated[name]}/live/"
        for name in ("waits", "a job waits", "paused", "done")
    }
    change = f"{ADMIN}/experiment/%d/change/"
    one = {
        "a failed experiment": change % populated["done #3"],
        "a waiting experiment": change % populated["paused #1"],
    }
    return {"dashboard": "/admin/", **LISTS, **live, **one}


def said_on(page: Page, address: str) -> list[tuple[str, str]]:
    """All that a page offers, when its parts have come by the socket, too."""
    page.goto(address)
    if address.endswith("/live/"):
        expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    return [(kind, where) for kind, where in page.evaluate(SAID)]


def offered(said: list[tuple[str, str]]) -> set[str]:
    found = {where for kind, where in said if kind == "option"}
    for kind, where in said:
        match = None if kind == "option" else WORDS.search(where)
        if match is not None:
            found.add(" ".join(word for word in match.groups() if word))
    return found


@pytest.mark.parametrize("role", ROLES[1:])
def test_a_role_is_offered_what_works_for_it_and_nothing_else(
    role: str,
    pages: dict[str, str],
    log_in: Callable[..., BrowserContext],
    product: Product,
    faults: list[str],
) -> None:
    window = log_in(role)
    links: set[str] = set()
    with watched(window, product, faults) as tab:
        tab.goto("/admin/")
        menu = tab.locator("#nav-sidebar a[href]").evaluate_all(
            "all => all.map(one => one.getAttribute('href'))"
        )
        assert set(menu) - {"/admin/password_change/"} == {
            page for page, needed in MENU.items() if at_least(role, needed)
        }
        for name, address in pages.items():
            if at_least(role, MENU.get(address, "viewer")):
                said = said_on(tab, address)
                expected = {one for one, needed in OFFERED[name].items() if at_least(role, needed)}
                assert offered(said) == expected, name
                links |= {
                    where for kind, where in said if kind in ("href", "hx-get") and where[:1] == "/"
                }
    for link in sorted(links - {"/admin/logout/"}):
        assert window.request.get(link).status < 400, link
    assert not faults


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_offered_is_refused_and_not_in_the_audit(
    role: str, populated: dict[str, int], log_in: Callable[..., BrowserContext], page: Page
) -> None:
    window = log_in(role)
    tasks, gpus = f"{ADMIN}/tuningtask/", "/admin/gpus/"
    waits, done = populated["waits"], populated["done"]
    posts = {
        **{f"{tasks}{waits}/do/{verb}/": "operator" for verb in ("start", "cancel", "change")},
        f"{ADMIN}/experiment/{populated['done #3']}/do/retry/": "operator",
        **dict.fromkeys((f"{tasks}add/", f"{tasks}{waits}/change/", f"{tasks}paste/"), "engineer"),
        f"{tasks}{done}/do/clone/": "engineer",
        f"{tasks}{populated['a job waits']}/do/clone/": "administrator",
        f"{tasks}{populated['a job waits']}/change/": "administrator",
        f"{tasks}{done}/delete/": "administrator",
        **{f"{gpus}{verb}/": "administrator" for verb in ("quarantine", "drain", "release")},
    }
    # Users and the audit are for nobody to write but superusers
    posts |= {f"{LISTS['users']}1/change/": "superuser", f"{LISTS['users']}add/": "superuser"}
    posts |= {f"{LISTS['audit']}{populated['audit']}/delete/": "superuser"}
    window.request.get("/admin/password_change/")  # Its form has a token
    token = next(str(one["value"]) for one in window.cookies() if one["name"] == "csrftoken")
    before = in_the_audit(page, role)
    for address, needed in posts.items():
        if needed not in ROLES or not at_least(role, needed):
            answer = window.request.post(
                address, headers={"X-CSRFToken": token}, form={"post": "yes"}, max_redirects=0
            )
            assert answer.status == 403, address
    assert in_the_audit(page, role) == before


def in_the_audit(page: Page, actor: str) -> str:
    """How many entries are of what somebody did."""
    page.goto(f"{LISTS['audit']}?actor={actor}")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text(re.compile(r"\d+ results?"))
    return heading.inner_text()


def handshake(product: Product, path: str, cookies: str, origin: str) -> int:
    """The status with which a socket is answered."""
    line = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin, "Cookie": cookies}
    line.request("GET", path, headers={**upgrade, **key})
    status = line.getresponse().status
    line.close()
    return status


def test_a_socket_is_for_viewers_and_for_our_own_pages(
    populated: dict[str, int], product: Product, log_in: Callable[..., BrowserContext]
) -> None:
    path, ours = f"/ws/tasks/{populated['paused']}/", f"http://127.0.0.1:{product.port}"

    def status(role: str, origin: str) -> int:
        cookies = log_in(role).cookies() if role else []
        jar = "; ".join(f"{one['name']}={one['value']}" for one in cookies)
        return handshake(product, path, jar, origin)

    assert [status(role, ours) for role in ("", "nobody")] == [403, 403]
    assert [status(role, ours) for role in ROLES[1:]] == [101] * 4
    assert status("administrator", "http://evil.test") == 403


def test_what_an_operator_does_is_in_the_audit_with_a_link(
    populated: dict[str, int],
    log_in: Callable[..., BrowserContext],
    product: Product,
    faults: list[str],
) -> None:
    with watched(log_in("operator"), product, faults) as tab:
        tab.goto(f"{ADMIN}/tuningtask/{populated['to cancel']}/live/")
        tab.get_by_role("button", name="Cancel").first.click()
        tab.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
        expect(tab.locator("[data-status]").first).to_have_text("CANCELLED", timeout=SOON)
        tab.goto(f"{LISTS['audit']}?actor=operator")
        line = tab.locator("#result_list tbody tr")
        expect(line).to_have_count(1)
        expect(line).to_contain_text("cancel")
        line.get_by_role("link", name="to cancel").click()
        expect(tab).to_have_url(re.compile("/live/$"))
    assert not faults
