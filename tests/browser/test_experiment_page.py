"""What a person sees of one experiment: its log, followed, paused and searched; its GPUs."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_live_page import SOON, add, rows
from tests.integration.product import Product, job, until

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


# A simulated GPU has no readings: these are as of one that has
READINGS = """
from experiments import gpu_readings
from experiments.gpu_trace import Trace
from experiments.models import Experiment
from gpupool import GpuReading
one = Experiment.objects.get(task__name="read", number=1)
trace = Trace(["GPU-1", "GPU-2"])
for at in range(40):
    used = GpuReading(at / 100, 1024 * at, 81920, 100.0 + at, 50)
    trace.add(float(at), {"GPU-1": used, "GPU-2": used}, "start" if at < 5 else "level 1")
gpu_readings.keep(one, seconds=39.0, summary=trace.summary(), data=trace.document())
print(one.pk)
"""


def test_readings_of_gpus_are_read_by_pointer_and_keys(page: Page, product: Product) -> None:
    product.finished(job("read", """echo '{"speed": 1}'""", [1]))
    key = product.manage("shell", "-v", "0", "-c", READINGS).stdout.split()[-1]
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"/admin/experiments/experiment/{key}/change/")
    charts, reading = page.locator(".at-gpu-charts"), page.locator(".at-reading")
    expect(reading).to_contain_text("39 s, level 1\nGPU-1: 39 % · 39 GiB · 139 W · 50 °C")
    charts.focus()
    page.keyboard.press("ArrowLeft")
    expect(reading).to_contain_text("38 s, level 1")
    page.keyboard.press("Home")
    expect(reading).to_contain_text("0 s, start")
    expect(charts).to_have_attribute("aria-valuenow", "0")
    charts.locator(".at-plot > svg").nth(1).hover()
    expect(reading).to_contain_text("GPU-2: 19 % · 19 GiB")
    expect(charts.locator(".at-cursor[visibility=visible]")).to_have_count(3)
    page.mouse.move(0, 0)
    expect(reading).to_contain_text("39 s")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
