"""A task is made, corrected and started in the browser, and the list of tasks follows it."""

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.integration.product import Product, job

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds
TASKS = "/admin/experiments/tuningtask/"


def test_what_is_typed_is_said_at_once_with_what_is_wrong(page: Page) -> None:
    page.goto(f"{TASKS}add/")
    summary = page.locator(".at-summary")
    expect(summary).to_contain_text("to correct", timeout=SOON)
    page.fill("[name=name]", "typed")
    page.fill("[name=model]", "/models/x")
    parameter(page, 1, "max-num-seqs", "32, 64, 128")
    page.get_by_role("button", name="Add a parameter").click()
    parameter(page, 2, "enable-prefix-caching", "true, false")
    expect(summary).to_contain_text("6 combinations", timeout=SOON)
    expect(summary).to_contain_text("vllm serve /models/x")
    page.get_by_label("Remove parameter 2").click()
    expect(summary).to_contain_text("3 combinations", timeout=SOON)
    page.get_by_role("button", name="As text: parameters").click()
    page.fill("[name=search_space]", "max-num-seqs: 9..1")
    expect(summary).to_contain_text("Search space", timeout=SOON)


def test_an_error_is_in_the_row_that_it_belongs_to_and_nothing_is_lost(page: Page) -> None:
    page.goto(f"{TASKS}add/")
    page.get_by_label("Begin with a preset").select_option(label="Chat on vLLM")
    page.get_by_role("button", name="Fill in").click()
    expect(page.get_by_label("Parameter 1: name")).to_have_value("max-num-seqs", timeout=SOON)
    page.fill("[name=name]", "from a preset")
    page.fill("[name=model]", "/models/x")
    expect(page.get_by_label("Limit 1: name")).to_have_value("ttft p90")
    expect(page.get_by_label("Limit 1: at most")).to_have_value("1.0 hard")
    parameter(page, 2, "max-num-batched-tokens", "9..1")
    page.get_by_role("button", name="Save", exact=True).click()
    row = page.locator(".at-row-inputs").nth(1)
    expect(row).to_contain_text("9 is not below", timeout=SOON)
    expect(page.get_by_label("Parameter 2: values")).to_have_attribute("aria-invalid", "true")
    parameter(page, 2, "max-num-batched-tokens", "2048..8192 log")
    with page.context.expect_event("response", lambda one: "/download/" in one.url) as answer:
        page.get_by_role("button", name="Download YAML").click()
    assert answer.value.status == 200
    assert "from-a-preset.yaml" in answer.value.headers["content-disposition"]
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)


def parameter(page: Page, number: int, name: str, values: str) -> None:
    page.get_by_label(f"Parameter {number}: name").fill(name)
    page.get_by_label(f"Parameter {number}: values").fill(values)


def test_a_pasted_task_is_started_and_followed_in_the_list_without_a_reload(
    page: Page, product: Product
) -> None:
    go = product.folder / "go-pasted"
    wait = f"while test $AUTOTUNER_X = 2 && ! test -e {go}; do sleep 0.1; done"
    pasted = job("pasted", f"{wait}; echo '{{\"speed\": 7}}'", [1, 2, 3])
    page.goto(TASKS)
    page.get_by_role("link", name="Paste a task file").click()
    page.fill("#paste-text", yaml.safe_dump({**pasted, "bogus": 1}))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("bogus: unknown field")
    page.fill("#paste-text", yaml.safe_dump(pasted))
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Save and start").click()
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    page.goto(TASKS)
    page.evaluate("window.sameDocument = true")
    row = page.locator("#result_list tr").filter(has_text="pasted")
    expect(row).to_contain_text("RUNNING", timeout=SOON)
    go.touch()
    expect(row).to_contain_text("COMPLETED", timeout=SOON)
    expect(row).to_contain_text("3/3")
    assert page.evaluate("window.sameDocument") is True
