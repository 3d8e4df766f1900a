"""Pictures of the page for the documents: `make screenshots` writes docs/screenshots/. No test runs this."""

from playwright.sync_api import Page

from tests.browser.conftest import DESKTOP, PHONE, ROOT

TARGET = ROOT / "docs" / "screenshots"
WEST = "#dataset=earthquakes&map=4.35/38/-118.5"
MOST_BYTES = 300_000


def keep(page: Page, name: str) -> None:
    page.wait_for_timeout(1200)  # the map draws on after the last answer
    TARGET.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=TARGET / f"{name}.png")
    assert (TARGET / f"{name}.png").stat().st_size < MOST_BYTES


def test_world_in_light(chromium, visit):
    context = chromium.new_context(viewport=DESKTOP)
    keep(visit("#dataset=earthquakes&show=avg", context=context).page, "world-light")
    context.close()


def test_a_cell_in_the_dark(chromium, visit):
    context = chromium.new_context(viewport=DESKTOP, color_scheme="dark")
    opened = visit(f"{WEST}&time=2018-02-02T00:00:00Z/2018-02-04T11:59:59Z", context=context)
    opened.page.click(".top button >> nth=1")
    keep(opened.page, "cell-dark")
    context.close()


def test_rejected_rows(chromium, visit):
    context = chromium.new_context(viewport=DESKTOP)
    opened = visit("#dataset=earthquakes-csv&category=explosion&category=quarry+blast&tab=files", context=context)
    opened.page.click(".files summary:has-text('every-kind-of-wrong')")
    opened.page.wait_for_selector(".rejects li")
    opened.page.evaluate("document.querySelector('.rules').scrollIntoView({block: 'center'})")
    keep(opened.page, "rejects-light")
    context.close()


def test_phone(chromium, visit):
    context = chromium.new_context(**PHONE | {"color_scheme": "dark", "device_scale_factor": 1.5})
    keep(visit("#dataset=earthquakes&show=max&map=3.1/40/-116", context=context).page, "phone-dark")
    context.close()
    context = chromium.new_context(**PHONE | {"device_scale_factor": 1.5})
    opened = visit("#dataset=earthquakes&map=3.4/38/-117", context=context)
    opened.page.tap("#sheet")
    keep(opened.page, "phone-light")
    context.close()
