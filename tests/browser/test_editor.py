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
    expect(page.get_by_label("Parameter 2: name")).to_be_focused()
    parameter(page, 2, "max-num-batched-tokens", "2048..8192 log")
    with page.context.expect_event("response", lambda one: "/download/" in one.url) as answer:
        page.get_by_role("button", name="Download YAML").click()
    assert answer.value.status == 200
    assert "from-a-preset.yaml" in answer.value.headers["content-disposition"]
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)


def test_rows_are_called_by_where_they_are_and_suggest_for_the_engine_that_is_chosen(
    page: Page,
) -> None:
    page.goto(f"{TASKS}add/")
    expect(page.locator("[name=name]")).to_be_focused(timeout=SOON)
    parameter(page, 1, "max-num-seqs", "1, 2")
    page.get_by_label("Parameter 1: values").press("Enter")  # The next row, and nothing is sent
    expect(page.get_by_label("Parameter 2: name")).to_be_focused()
    parameter(page, 2, "removed", "3")
    page.get_by_role("button", name="Add a parameter").click()
    parameter(page, 3, "n-threads", "4")
    page.get_by_label("Remove parameter 2").click()
    expect(page.get_by_label("Remove parameter 2")).to_be_focused()
    expect(page.get_by_label("Parameter 2: name")).to_have_value("n-threads")
    page.get_by_role("button", name="Add a parameter").click()
    labels = page.locator(".at-row-inputs input").evaluate_all(
        "all => all.map((one) => one.getAttribute('aria-label'))"
    )
    rows = [f"Parameter {row}: {part}" for row in (1, 2, 3) for part in ("name", "values")]
    assert labels == [*rows, "Limit 1: name", "Limit 1: at most"]
    page.get_by_label("Parameter 3: name").evaluate(
        """name => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text", "a: 1, 2\\nb: true, false\\n");
            name.dispatchEvent(new ClipboardEvent("paste", { clipboardData, cancelable: true }));
        }"""
    )
    expect(page.get_by_label("Parameter 4: values")).to_have_value("true, false")
    expect(page.get_by_label("Parameter 1: values")).to_have_value("1, 2")
    threads = page.get_by_label("Parameter 2: values")
    expect(threads).to_have_attribute("placeholder", "")
    page.select_option("[name=engine]", "llamacpp")
    expect(threads).to_have_attribute("placeholder", "for example 2, 4, 8")
    expect(page.get_by_label("Parameter 1: values")).to_have_attribute("placeholder", "")


def test_a_task_of_rows_that_a_preset_completes_is_started_and_runs(
    page: Page, product: Product
) -> None:
    whole = job("rows and a preset", "echo '{\"speed\": 7}'", [0])
    parts = {key: whole[key] for key in ("base_runtime", "command", "optimization")}
    file = product.folder / "echo.yaml"
    file.write_text(yaml.safe_dump({"preset": "Echo", "task": parts}))
    product.manage("presets", "import", str(file))
    page.goto(f"{TASKS}add/")
    page.fill("[name=name]", "rows and a preset")
    page.fill("[name=objective]", "minimize_latency")
    parameter(page, 1, "x", "1, 2")
    page.get_by_label("Begin with a preset").select_option(label="Echo")
    page.get_by_role("button", name="Fill in").click()
    said = page.locator(".at-filled")
    expect(said).to_contain_text("Echo is filled in: Engine, Command", timeout=SOON)
    expect(said).to_contain_text("minimize_latency")  # It was typed, and is no more
    expect(page.locator("[name=name]")).to_have_value("rows and a preset")
    expect(page.get_by_label("Parameter 1: values")).to_have_value("1, 2")
    page.fill("[name=max_experiments]", "2")
    page.get_by_role("button", name="Save and start").click()
    expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
    expect(page.locator("#live-head")).to_contain_text("COMPLETED", timeout=SOON)
    expect(page.locator("#live-rows")).to_contain_text("x=2")


def test_the_form_as_it_stands_becomes_a_preset_in_another_tab(page: Page) -> None:
    page.goto(f"{TASKS}add/")
    page.fill("[name=name]", "as it stands")
    parameter(page, 1, "max-num-seqs", "3, 5")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Save as preset").click()
    preset = opened.value
    expect(preset.locator("[name=name]")).to_have_value("as it stands", timeout=SOON)
    preset.get_by_role("button", name="Save", exact=True).click()
    expect(preset.locator("#result_list")).to_contain_text("as it stands", timeout=SOON)
    preset.close()
    expect(page.get_by_label("Parameter 1: values")).to_have_value("3, 5")


def test_a_bad_file_is_told_with_its_line_or_field_and_nothing_is_lost(page: Page) -> None:
    page.goto(f"{TASKS}paste/")
    for text, says in (
        ("task_name: bad\nparameters:\n\tx: [1]\n", "line 3"),
        ("task_name: bad\nbase_runtime: vlm\n", "base_runtime"),
    ):
        file = {"name": "bad.yaml", "mimeType": "application/yaml", "buffer": text.encode()}
        page.set_input_files("#paste-file", file)  # type: ignore[arg-type]
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text(says, timeout=SOON)
        expect(page.get_by_role("alert")).to_have_count(1)
        expect(page.locator("#paste-text")).to_have_value(text)


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
