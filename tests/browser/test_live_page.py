"""What a person sees: a task is added, started, followed without a reload, and cancelled."""

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, Route, expect

from tests.integration.product import Product, until

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds
MEASURE = (
    "import time,os,json; time.sleep(1); "
    "print(json.dumps(dict(speed=float(os.environ['AUTOTUNER_X']))))"
)


def add(page: Page, name: str, **fields: str) -> None:
    """Fill in the form and save; ends on the live page."""
    page.goto("/admin/experiments/tuningtask/add/")
    page.select_option("[name=engine]", "job")
    page.select_option("[name=strategy]", "grid_search")
    texts = {
        "name": name,
        "command": f"python3\n-c\n{MEASURE}",
        "objective": "maximize_speed",
        "search_space": "x: 1, 3, 2",
        "max_parallel_experiments": "2",
        **fields,
    }
    page.get_by_role("button", name="As text: parameters").click()
    for field, text in texts.items():
        page.fill(f"[name={field}]", text)
    page.click("[name=_save]")
    # Its first frame draws all anew: a click at that very moment may fall between two buttons
    page.locator("#connection, .errorlist").first.wait_for(timeout=SOON, state="attached")
    if page.locator("#connection").count():
        expect(page.locator("#connection")).to_have_text("live", timeout=SOON)


def rows(page: Page) -> Any:
    return page.locator("#live-rows tbody tr")


def status(page: Page) -> Any:
    return page.locator("[data-status]")


def test_a_task_is_added_started_and_followed_without_a_reload(page: Page) -> None:
    add(page, "followed")
    expect(status(page)).to_have_text("PENDING")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    page.evaluate("window.sameDocument = true")
    expect(rows(page).filter(has_text="SUCCESS")).to_have_count(3, timeout=SOON)
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.locator("#live-numbers")).to_contain_text("3 / 10")
    expect(page.locator("#command")).to_contain_text("AUTOTUNER_X=3")
    expect(rows(page).filter(has_text="best")).to_contain_text("x=3")
    page.locator("[data-copy]").click()
    expect(page.locator("[data-copy]")).to_have_text("Copied")
    assert page.evaluate("window.sameDocument") is True


TRADE = (
    "import os,json; x=float(os.environ['AUTOTUNER_X']); print(json.dumps(dict(speed=x,wait=x*x)))"
)


def test_several_objectives_are_drawn_and_their_front_is_marked(page: Page) -> None:
    objectives = "maximize_speed, minimize_wait"
    command = f"python3\n-c\n{TRADE}"
    add(page, "front", objective=objectives, command=command, search_space="x: 4, 2, 3")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Start").click()
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    expect(page.locator("#live-charts .at-scatter .at-mark")).to_have_count(3)
    expect(page.locator("#live-winner")).to_contain_text("One of 3 on the Pareto front")
    front = page.get_by_role("table", name="The Pareto front")
    expect(front.get_by_role("link")).to_have_text(["#1", "#2", "#3"])
    expect(rows(page).filter(has_text="on the front")).to_have_count(2)
    expect(rows(page).filter(has_text="best")).to_contain_text("x=2")
    assert page.evaluate("window.sameDocument") is True


def test_pointing_at_an_experiment_marks_it_in_every_part(page: Page) -> None:
    space = "x: 1, 3, 2\ny: 1, 2"
    add(page, "pointed", command=f"python3\n-c\n{TRADE}", search_space=space)
    page.get_by_role("button", name="Start").click()
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    expect(page.locator("#live-charts .at-mark")).to_have_count(6)
    expect(page.locator("#live-charts polyline")).to_have_count(6)
    expect(page.locator("#live-importance dt")).to_have_text(["x", "y"], timeout=SOON)
    page.reload()  # Nothing more moves on it, not even under the pointer
    page.locator('#live-charts .at-mark[data-n="4"] circle:not(.at-hit)').hover()
    for part in ("strip .at-block", "lanes .at-bar", "charts polyline", "rows tr"):
        pointed = page.locator(f"#live-{part}.at-pointed")
        expect(pointed).to_have_count(1)
        expect(pointed).to_have_attribute("data-n", "4")
    page.locator("#live-rows tr[data-n='2'] a").focus()
    expect(page.locator("#live-charts .at-mark.at-pointed")).to_have_attribute("data-n", "2")


def gated(page: Page, name: str, gate: Path) -> None:
    """1 and 3 work, 2 fails, 4 works once the gate is there; ends when only that one runs."""
    script = (
        f"if test $AUTOTUNER_X = 4; then until test -e {gate}; do sleep 0.1; done; fi; "
        "test $AUTOTUNER_X != 2 && echo '{{\"speed\": '$AUTOTUNER_X'}}'"
    )
    add(page, name, command=f"sh\n-c\n{script}", search_space="x: 3, 1, 2, 4")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(1, timeout=SOON)
    expect(rows(page).filter(has_text="SUCCESS")).to_have_count(2, timeout=SOON)
    expect(rows(page).filter(has_text="FAILED")).to_have_count(1, timeout=SOON)


def numbers(page: Page) -> list[str]:
    return [
        str(text).lstrip("#") for text in rows(page).locator("td:first-child").all_inner_texts()
    ]


def test_a_filter_acts_on_the_table_and_the_charts_and_survives_an_update(
    page: Page, product: Product
) -> None:
    gate = product.folder / "gate-of-the-filter"
    gated(page, "filtered", gate)
    page.locator("#only-succeeded").click()
    expect(page).to_have_url(re.compile("only=succeeded"))
    expect(rows(page)).to_have_count(2, timeout=SOON)
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    page.evaluate("window.sameDocument = true")
    for part in ("#live-strip .at-block", "#live-lanes .at-bar", "#live-charts .at-mark"):
        expect(page.locator(f"{part}[data-n='3']").first).to_have_css("opacity", "0.08")
        expect(page.locator(f"{part}[data-n='1']").first).to_have_css("opacity", "1")
    gate.touch()
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#live-charts .at-mark[data-n='3']")).to_have_css("opacity", "0.08")
    expect(page.locator("#only-succeeded")).to_have_attribute("aria-current", "true")
    expect(page.locator("#only-succeeded")).to_contain_text("3")
    page.reload()
    expect(rows(page)).to_have_count(3)
    page.locator("#only-all").click()
    expect(rows(page)).to_have_count(4)
    expect(page.locator("#live-charts .at-mark[data-n='3']")).to_have_css("opacity", "1")


def test_the_table_is_sorted_with_the_keyboard_and_stays_so_after_an_update(
    page: Page, product: Product
) -> None:
    gate = product.folder / "gate-of-the-order"
    gated(page, "sorted", gate)
    page.locator("#sort-score").focus()
    page.keyboard.press("Enter")
    head = page.locator("th", has=page.locator("#sort-score"))
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#sort-score")).to_be_focused()
    until(lambda: numbers(page)[:2] == ["1", "2"], 30, lambda: str(numbers(page)))
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page).to_have_url(re.compile("sort=score"))
    until(lambda: numbers(page)[:2] == ["2", "1"], 30, lambda: str(numbers(page)))
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    gate.touch()
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    expect(rows(page).nth(2)).to_contain_text("x=4")
    until(
        lambda: numbers(page) == ["2", "1", "4", "3"], 30, lambda: str(numbers(page))
    )  # What failed has no score


def test_the_log_has_what_happened_in_the_readers_own_time(page: Page) -> None:
    add(page, "logged", max_experiments="1")
    page.get_by_role("button", name="Start").click()
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    log = page.locator("#live-log li")
    expect(log.first).to_contain_text("COMPLETED")
    expect(log.filter(has_text="is measured")).to_have_count(1)
    moment = log.first.locator("time")
    expect(moment).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    expect(moment).to_have_attribute("title", re.compile(r"\(UTC[+−]\d\d:\d\d\)"))


def test_a_task_is_cancelled_with_its_button(page: Page) -> None:
    add(page, "cancelled", command="sleep\n3600")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    question = page.get_by_role("dialog")
    page.locator("#cancel-task").click()
    question.get_by_role("button", name="Keep it").click()
    expect(question).to_be_hidden()
    expect(status(page)).to_have_text("RUNNING")
    page.locator("#cancel-task").click()
    question.get_by_role("button", name="Cancel the task").click()
    expect(status(page)).to_have_text("CANCELLED")
    expect(rows(page).filter(has_text="CANCELLED")).to_have_count(2, timeout=SOON)
    assert page.evaluate("window.sameDocument") is True


def test_a_task_is_paused_resumed_and_changed_while_it_runs(page: Page) -> None:
    add(page, "steered", command="sh\n-c\nsleep 2; echo '{{\"speed\": 1}}'", search_space="x: 1..9")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    page.get_by_role("button", name="Pause").dblclick()
    expect(status(page)).to_have_text("PAUSED")
    expect(page.locator("#live-messages")).to_contain_text("go on to their end")
    expect(rows(page).filter(has_text="SUCCESS")).to_have_count(2, timeout=SOON)
    page.get_by_role("button", name="Change").click()
    question = page.get_by_role("dialog")
    expect(question.get_by_label("Max parallel experiments")).to_have_value("2")
    question.get_by_label("Max parallel experiments").fill("4")
    question.get_by_label("Priority").fill("7")
    question.get_by_role("button", name="Change").click()
    expect(page.locator("#live-messages")).to_contain_text("has the priority 7")
    expect(page.locator("#live-head")).to_contain_text("priority 7")
    page.get_by_role("button", name="Resume").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(4, timeout=SOON)
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    expect(page.locator("#live-numbers")).to_contain_text("9 / 10")
    assert page.evaluate("window.sameDocument") is True


def test_what_was_done_is_said_also_when_the_page_was_faster_than_the_answer(page: Page) -> None:
    add(page, "fast", command="sh\n-c\nsleep 600")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)

    def late(route: Route) -> None:
        answer = route.fetch()
        time.sleep(1.5)  # Meanwhile the socket has replaced the button
        route.fulfill(response=answer)

    page.route("**/do/pause/", late)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=SOON)
    expect(page.locator("#live-messages")).to_contain_text("go on to their end", timeout=SOON)
    page.locator("#cancel-task").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    expect(status(page)).to_have_text("CANCELLED", timeout=SOON)


def test_an_answer_that_comes_late_takes_nothing_back(page: Page) -> None:
    add(page, "late", command="sh\n-c\nsleep 600")

    def late(route: Route) -> None:
        answer = route.fetch()  # Before there is any experiment, or soon after
        expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
        route.fulfill(response=answer)

    page.route("**/do/start/", late)
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#live-messages")).to_contain_text("is started", timeout=SOON)
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2)
    page.locator("#cancel-task").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    expect(rows(page).filter(has_text="CANCELLED")).to_have_count(2, timeout=SOON)


def test_a_link_that_is_replaced_before_its_answer_came_leads_there_all_the_same(
    page: Page,
) -> None:
    add(page, "linked", search_space="x: 1..99", max_experiments="60")
    page.goto(f"{page.url.partition('?')[0]}?sort=number")  # New rows come last: all are drawn anew
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    page.evaluate("window.sameDocument = true")
    link = page.locator("#sort-score")
    link.evaluate("link => { window.link = link }")

    def late(route: Route) -> None:
        answer = route.fetch()
        page.wait_for_function("!document.contains(window.link)", timeout=SOON)
        route.fulfill(response=answer)

    page.route("**/live/?sort=-score", late, times=1)
    link.click()
    head = page.locator("th", has=page.locator("#sort-score"))
    expect(head).to_have_attribute("aria-sort", "descending", timeout=SOON)
    expect(page).to_have_url(re.compile("sort=-score"))
    assert page.evaluate("window.sameDocument") is True
    page.locator("#cancel-task").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    expect(status(page)).to_have_text("CANCELLED", timeout=SOON)


def test_what_failed_is_tried_again_and_one_is_cancelled(page: Page, product: Product) -> None:
    mended = product.folder / "mended"
    script = (
        f"test -e {mended} && echo '{{{{\"speed\": 1}}}}' && test $AUTOTUNER_X != 3 || sleep 600"
    )
    broken = script.replace("sleep 600", "exit 1")
    text = f"if test $AUTOTUNER_X = 3; then {script}; else {broken}; fi"
    add(page, "retried", command=f"sh\n-c\n{text}")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="FAILED")).to_have_count(2, timeout=SOON)
    endless = rows(page).filter(has_text="x=3")
    expect(endless).to_contain_text("BENCHMARKING", timeout=SOON)
    endless.get_by_role("button", name="Cancel experiment").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the experiment").click()
    expect(endless).to_contain_text("CANCELLED", timeout=SOON)
    expect(status(page)).to_have_text("FAILED", timeout=SOON)
    mended.touch()
    page.get_by_role("button", name="Retry experiment 1").click()
    expect(rows(page).filter(has_text="SUCCESS")).to_have_count(1, timeout=SOON)
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    page.get_by_role("button", name="Retry 1 failed").click()
    expect(rows(page).filter(has_text="SUCCESS")).to_have_count(2, timeout=SOON)
    expect(rows(page).filter(has_text="attempt 2")).to_have_count(2)
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    assert page.evaluate("window.sameDocument") is True


def test_a_task_is_extended_and_cloned_into_a_form(page: Page) -> None:
    add(page, "extended", max_experiments="1")
    page.get_by_role("button", name="Start").click()
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    page.get_by_role("button", name="Extend").click()
    question = page.get_by_role("dialog")
    question.get_by_label("Experiments in all").fill("2")
    question.get_by_role("button", name="Extend").click()
    expect(page.locator("#live-numbers")).to_contain_text("2 / 2", timeout=SOON)
    expect(status(page)).to_have_text("COMPLETED", timeout=SOON)
    page.get_by_role("button", name="Clone").click()
    expect(question.get_by_label("Name")).to_have_value("extended (2)")
    question.get_by_role("button", name="Clone").click()
    expect(page.locator("[name=name]")).to_have_value("extended (2)")
    expect(page.locator("[name=search_space]")).to_have_value("x: 1, 3, 2")
    page.fill("[name=priority]", "3")
    page.click("[name=_save]")
    expect(status(page)).to_have_text("PENDING")
    expect(page.locator("#live-head")).to_contain_text("priority 3")


def test_a_failure_says_why_in_its_row(page: Page) -> None:
    add(page, "failing", command="python3\n-c\nraise SystemExit('the disk is on fire')")
    page.get_by_role("button", name="Start").click()
    expect(status(page)).to_have_text("FAILED", timeout=SOON)
    expect(rows(page).first).to_contain_text("the disk is on fire")
    rows(page).first.get_by_role("link").click()
    expect(page.locator(".at-log")).to_contain_text("the disk is on fire")


def test_too_many_in_parallel_is_said_at_the_field_and_nothing_typed_is_lost(page: Page) -> None:
    add(page, "greedy", max_parallel_experiments="5")
    message = page.locator(".errorlist")
    expect(message).to_contain_text("at most 4, the smaller of 8")
    expect(message).to_contain_text("4 (GPUs in the pool)")
    expect(page.locator("[name=command]")).to_have_value(f"python3\n-c\n{MEASURE}")
    expect(page.locator("[name=search_space]")).to_have_value("x: 1, 3, 2")
    expect(page.locator("[name=traffic_scenarios]")).to_be_hidden()  # A job has no workload


def test_markup_in_a_name_is_only_text(page: Page) -> None:
    name = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    page.on("dialog", lambda _: pytest.fail("a script ran"))
    add(page, name, model=name)
    expect(page.locator("#live-head")).to_contain_text(name)
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    page.goto("/admin/experiments/tuningtask/")
    expect(page.locator("#result_list")).to_contain_text(name)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(page: Page, theme: str) -> None:
    add(page, f"narrow-{theme}")
    live = page.url
    page.evaluate("theme => localStorage.setItem('adminTheme', JSON.stringify(theme))", theme)
    page.set_viewport_size({"width": 390, "height": 844})
    for address in (live, "/admin/experiments/tuningtask/add/", "/admin/experiments/tuningtask/"):
        page.goto(address)
        expect(page.locator("html")).to_have_class(re.compile(theme))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_page_comes_back_by_itself_after_redis_was_away(
    product: Product, page: Page, faults: list[str]
) -> None:
    add(page, "outage")
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    page.evaluate("window.sameDocument = true")
    [redis] = redis_servers(product)
    redis.kill()
    expect(page.locator("#connection")).to_have_text("reconnecting…", timeout=SOON)
    until(lambda: redis_servers(product) not in ([], [redis]), 60)
    product.manage("cancel", "outage")
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    expect(status(page)).to_have_text("CANCELLED", timeout=SOON)
    assert page.evaluate("window.sameDocument") is True
    faults.clear()  # The browser says that it could not connect


def redis_servers(product: Product) -> list[psutil.Process]:
    """The product's Redis; none while `up` has not started it again."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if process.name() == "redis-server" and str(product.folder) in line:
                found.append(process)
    return found


def test_the_page_comes_back_as_the_database_is_after_the_web_server_was_killed(
    product: Product, page: Page, faults: list[str]
) -> None:
    add(page, "killed", command="sleep\n3600")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    servers = programs(product, "autotuner_site.asgi:application")
    for server in servers:
        server.kill()
    expect(page.locator("#connection")).to_have_text("reconnecting…", timeout=SOON)
    product.manage("cancel", "killed")
    expect(page.locator("#connection")).to_have_text("live", timeout=2 * SOON)
    expect(status(page)).to_have_text("CANCELLED", timeout=SOON)
    expect(rows(page).filter(has_text="CANCELLED")).to_have_count(2, timeout=SOON)
    expect(page.locator("#live-strip .at-gone")).to_have_count(2)
    assert page.evaluate("window.sameDocument") is True
    faults.clear()  # The browser says that it could not connect


def test_a_page_that_is_offline_says_so_and_comes_back_as_the_database_is(
    product: Product, page: Page, faults: list[str]
) -> None:
    add(page, "asleep", command="sleep\n3600")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_have_attribute("data-state", "away", timeout=SOON)
    product.manage("cancel", "asleep")
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    expect(status(page)).to_have_text("CANCELLED", timeout=SOON)
    expect(rows(page).filter(has_text="CANCELLED")).to_have_count(2, timeout=SOON)
    assert page.evaluate("window.sameDocument") is True
    faults.clear()


def test_a_server_that_hangs_is_seen_and_afterwards_all_pages_are_as_the_database_is(
    product: Product, page: Page, faults: list[str]
) -> None:
    add(page, "hangs", command="sleep\n3600")
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    tab = page.context.new_page()
    tab.goto("/admin/")
    line = tab.locator("#dashboard-tasks tbody tr").filter(has_text="hangs")
    expect(line.locator("[data-status]")).to_have_text("RUNNING", timeout=SOON)
    for one in (page, tab):
        one.evaluate("window.sameDocument = true")
    servers = programs(product, "autotuner_site.asgi:application")
    for server in servers:
        server.suspend()
    try:
        for one in (page, tab):  # Longer than a page waits to hear of the server
            dot = one.locator("#connection")
            expect(dot).to_have_attribute("data-state", "away", timeout=2 * SOON)
            expect(dot).to_contain_text("reconnecting")
        product.manage("cancel", "hangs")
    finally:
        for server in servers:
            server.resume()
    is_as_the_database(product, page, "hangs", "CANCELLED")
    expect(line.locator("[data-status]")).to_have_text("CANCELLED", timeout=SOON)
    for one in (page, tab):
        expect(one.locator("#connection")).to_have_text("live", timeout=SOON)
        assert one.evaluate("window.sameDocument") is True
    tab.close()
    faults.clear()  # The browser says that nothing answered


SLEEPS = """() => {
    let before = Date.now();
    window.longestSleep = 0;
    setInterval(() => {
        window.longestSleep = Math.max(window.longestSleep, Date.now() - before);
        before = Date.now();
    }, 100);
}"""  # In a new document there would be no such number


def test_a_page_that_slept_is_as_the_database_is_when_it_wakes(
    product: Product, page: Page, faults: list[str]
) -> None:
    add(page, "sleeps", command="sleep\n3600")
    page.evaluate(SLEEPS)
    page.get_by_role("button", name="Start").click()
    expect(rows(page).filter(has_text="BENCHMARKING")).to_have_count(2, timeout=SOON)
    servers = programs(product, "autotuner_site.asgi:application")
    asleep = [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]
    for one in asleep:  # All of the browser, as when a laptop is closed
        one.suspend()
    try:
        for server in servers:  # What it was connected to is gone, and the page is not told so
            server.kill()
        until(lambda: set(programs(product, "autotuner_site.asgi:application")) - {*servers}, 60)
        product.manage("cancel", "sleeps")
    finally:
        for one in asleep:
            one.resume()
    is_as_the_database(product, page, "sleeps", "CANCELLED")
    assert page.evaluate("window.longestSleep") > 1000
    faults.clear()


def is_as_the_database(product: Product, page: Page, name: str, ends_as: str) -> None:
    """Once it is live again, its status and the one of each row are those of `show`."""
    expect(page.locator("#connection")).to_have_text("live", timeout=2 * SOON)
    expect(status(page)).to_have_text(ends_as, timeout=SOON)
    shown = until(lambda: settled(product, name), 60)
    assert shown["status"] == ends_as
    for one in shown["experiments"]:
        pill = page.locator(f"#row-{one['number']} .at-pill")
        expect(pill).to_have_text(one["status"], timeout=SOON)
    expect(rows(page)).to_have_count(len(shown["experiments"]))


def settled(product: Product, name: str) -> Any:
    """The document of a task of which nothing runs any more; else nothing."""
    shown = product.json("show", name)
    is_settled = all(one["finished_at"] for one in shown["experiments"])
    return shown if is_settled else None


def programs(product: Product, word: str) -> list[psutil.Process]:
    """The product's processes with this word on their command line."""
    found = []
    for process in product.processes():
        with contextlib.suppress(psutil.Error):  # It has just ended
            if word in process.cmdline():
                found.append(process)
    return found
