"""The page in a real browser: what it shows is what the API says, and everything can be reached without a mouse."""

import math
import re
import urllib.request
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Route

from geodrop import grid
from tests.browser.conftest import PHONE, SMALL, Visit
from tests.integration.conftest import HEADER, Pipeline

AREA = ("dataset", "bbox", "level")
CALIFORNIA = "#dataset=earthquakes&map=4.6/37.5/-119"

CLASSES = """async (address) => {
  const { classes, classOf, colours } = await import(address);
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const kinds = [
    () => Math.ceil(random() ** -2),
    () => random() * 10 - 5,
    () => Math.floor(random() * 3),
    () => -(random() ** 9),
  ];
  const wrong = [];
  for (let n = 0; n < 300; n++) {
    const values = Array.from({ length: 1 + Math.floor(random() * 200) }, kinds[n % 4]);
    const made = classes(values);
    const counts = made.map(() => 0);
    for (const value of values) counts[classOf(value, made)]++;
    const good = made.every((one, k) => one.count && one.count === counts[k] && one.from <= one.low);
    if (!good || made.length > 6) wrong.push([values, made]);
  }
  return {
    wrong,
    none: classes([null, NaN]),
    quakes: classes([1, 1, 1, 2, 2, 3, 7, 9, 12, 30, 44, 210, 468]).map((one) => one.from),
    light: colours(6, "light"),
    dark: colours(6, "dark"),
  };
}"""


def shown(number: float, digits: int = 2) -> str:
    """A number as the page writes it."""
    return f"{round(number, digits):,.{digits}f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}")


def expected(properties: dict, decimals: int = 2) -> dict[str, str]:
    told = {"count": f"{properties['count']:,}"}
    for name in ("sum", "min", "max"):
        told[name] = shown(properties[name], decimals)
    for name in ("avg", "stddev"):
        told[name] = "\N{EN DASH}" if properties[name] is None else shown(properties[name], decimals + 1)
    return told


def pixel(visit: Visit, longitude: float, latitude: float) -> tuple[float, float]:
    """Where a place is on the canvas, by the view in the address and the Mercator formula."""
    zoom, middle_lat, middle_lon = (float(one) for one in re.search(r"map=([^&]+)", visit.page.url)[1].split("/"))
    world = 512 * 2**zoom

    def down(degrees: float) -> float:
        return math.log(math.tan(math.pi / 4 + math.radians(degrees) / 2)) / (2 * math.pi)

    box = visit.page.locator("#map").bounding_box()
    x = box["x"] + box["width"] / 2 + (longitude - middle_lon) / 360 * world
    return x, box["y"] + box["height"] / 2 - (down(latitude) - down(middle_lat)) * world


def last(visit: Visit, path: str) -> dict[str, str]:
    """Parameters of the newest request for a path."""
    return dict(parse_qsl(urlsplit(visit.asked(path)[-1]).query))


def test_it_loads_all_rows_with_one_request_for_cells_and_one_for_the_series(visit, site):
    opened = visit("#dataset=earthquakes", fresh=True)
    assert opened.rows() == site.total(dataset="earthquakes") == 1707
    assert len(opened.asked("/aggregated-data")) == len(opened.asked("/series")) == len(opened.asked("/datasets")) == 1
    assert opened.page.title() == "Earthquakes \N{EN DASH} geodrop"
    assert opened.text("#legend h2") == "Count"
    assert 3 <= opened.page.locator("#legend li").count() <= 6
    days = {row["bucket"] for row in site.get("aggregated-data/series", dataset="earthquakes")["series"]}
    assert "1,707 rows in the time span" in opened.page.get_attribute("#histogram", "aria-label")
    assert opened.page.evaluate("document.querySelector('#histogram .in').getAttribute('d').split('M').length") == (
        len(days) + 1
    )


def test_a_clicked_cell_shows_what_the_api_says_of_it(visit, site):
    opened = visit(CALIFORNIA)
    asked = last(opened, "/aggregated-data")
    page = site.get("aggregated-data", **asked)
    assert opened.rows() == sum(one["properties"]["count"] for one in page["features"])
    assert opened.categories() == opened.rows()
    inside = [one["properties"] for one in page["features"] if one["properties"]["count"] > 3]
    for cell in inside[:: len(inside) // 3][:3]:
        west, south, east, north = grid.bounds(cell["level"], cell["x"], cell["y"])
        opened.page.mouse.click(*pixel(opened, (west + east) / 2, (south + north) / 2))
        opened.page.wait_for_selector("#cell:not([hidden]) .detail svg")
        assert opened.cell() == expected(cell)
        assert f"cell={cell['level']}/{cell['x']}/{cell['y']}" in opened.page.url
    opened.page.click("#cell >> text=Close")
    assert not opened.page.is_visible("#cell")


def test_another_statistic_needs_no_request(visit):
    opened = visit(CALIFORNIA)
    before = opened.data()
    opened.page.check("input[value=max]")
    assert opened.text("#legend h2") == "Highest magnitude"
    assert opened.text(".top b >> nth=0") == "4.33"
    opened.page.check("input[value=avg]")
    assert opened.text("#legend h2") == "Mean magnitude"
    assert opened.data() == before
    assert "show=avg" in opened.page.url


def test_categories_filter_and_say_how_many_rows_they_have(visit, site):
    opened = visit("#dataset=earthquakes")
    told = {one["category"]: one["count"] for one in site.get("datasets")["datasets"][1]["categories"]}
    listed = [line.split("\n") for line in opened.page.locator("#categories li").all_inner_texts()]
    assert {name: int(count.replace(",", "")) for name, count in listed} == told
    opened.page.check("#categories input[value=explosion]")
    opened.settle()
    assert opened.rows() == told["explosion"]
    opened.page.check("#categories input[value='quarry blast']")
    opened.settle()
    assert opened.rows() == told["explosion"] + told["quarry blast"]
    assert last(opened, "/aggregated-data")["category"] == "explosion,quarry blast"
    assert len(opened.asked("/series")) == 1
    opened.page.click("#every")
    opened.settle()
    assert opened.rows() == sum(told.values())


def test_the_time_span_moves_by_keys_by_hand_and_as_a_whole(visit, site):
    opened = visit("#dataset=earthquakes")
    opened.page.focus("#since")
    for _ in range(12):
        opened.page.keyboard.press("ArrowRight")
    opened.settle()
    assert opened.text("#span").startswith("31 Jan 2018, 13:00")
    assert last(opened, "/aggregated-data")["datetime"] == "2018-01-31T13:00:00Z/.."
    assert opened.rows() == site.total(dataset="earthquakes", datetime="2018-01-31T13:00:00Z/..")
    assert len(opened.asked("/aggregated-data")) <= 3  # not one a key
    assert len(opened.asked("/series")) == 1

    slider = opened.page.locator("#slider").bounding_box()
    across, middle = slider["x"] + slider["width"] - 8, slider["y"] + slider["height"] / 2
    opened.page.mouse.move(across, middle)
    opened.page.mouse.down()
    opened.page.mouse.move(slider["x"] + slider["width"] / 2, middle, steps=4)
    opened.page.mouse.up()
    opened.settle()
    span = last(opened, "/aggregated-data")["datetime"]
    assert re.fullmatch(r"2018-01-31T13:00:00Z/2018-02-03T1[23]:59:59Z", span)
    assert opened.rows() == site.total(dataset="earthquakes", datetime=span)
    assert opened.categories() == opened.rows()

    window = opened.page.locator("#window").bounding_box()
    opened.page.mouse.move(window["x"] + window["width"] / 2, middle)
    opened.page.mouse.down()
    opened.page.mouse.move(window["x"] + window["width"] / 2 + 200, middle, steps=4)
    opened.page.mouse.up()
    opened.settle()
    moved = last(opened, "/aggregated-data")["datetime"]
    assert moved > span
    assert opened.rows() == site.total(dataset="earthquakes", datetime=moved)
    opened.page.click("#whole")
    opened.settle()
    assert "datetime" not in last(opened, "/aggregated-data")


def test_a_move_of_the_map_asks_twice_and_stale_answers_are_dropped(visit, site):
    opened = visit(CALIFORNIA)
    before = len(opened.data())
    box = opened.page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x - 150, y + 60, steps=3)
    opened.page.emulate_media(reduced_motion="no-preference")  # the other tests go without motion: it takes its time
    with opened.page.expect_response("**/series?*"):  # after it has glided to a stop
        opened.page.mouse.up()
    opened.settle()
    opened.page.emulate_media(reduced_motion="reduce")
    paths = sorted(urlsplit(url).path for url in opened.data()[before:])
    assert paths == ["/aggregated-data", "/aggregated-data/series"]
    # The first answer is held back until the second has come: what is shown is of the second.
    held: list[Route] = []
    opened.page.route("**/aggregated-data?*", lambda route: held.append(route) if not held else route.continue_())
    opened.page.focus("canvas")
    opened.page.keyboard.press("ArrowLeft")
    opened.page.wait_for_timeout(700)
    opened.page.keyboard.press("ArrowUp")
    opened.page.wait_for_timeout(700)
    opened.settle()
    assert held
    held[0].continue_()
    opened.page.unroute_all()
    assert opened.rows() == site.total(**{k: v for k, v in last(opened, "/aggregated-data").items() if k in AREA})


def test_the_antimeridian_is_no_edge(visit, site):
    opened = visit("#dataset=earthquakes&map=2.9/52/179")
    west, _, east, _ = (float(one) for one in last(opened, "/aggregated-data")["bbox"].split(","))
    assert west > 0 > east
    assert opened.categories() == opened.rows()
    assert opened.rows() == site.total(**{k: v for k, v in last(opened, "/aggregated-data").items() if k in AREA}) > 50


def test_files_tell_every_rejected_row_and_its_reason(visit, site):
    # A name and a row that would be seen if the page took text for HTML.
    hostile = "<img src=x onerror=alert(1)> & co.csv"
    pipeline = Pipeline(site.database)
    row = "<script>alert(1)</script>,91,0,5,2,<b>x</b>,earthquake\n"
    pipeline.put(f"landing/earthquakes-csv/{hostile}", HEADER + row)
    pipeline.kept.drop()
    opened = visit("#dataset=earthquakes-csv&tab=files")
    entries = site.get("ingestions", dataset="earthquakes-csv")["ingestions"]
    opened.page.wait_for_selector(".files summary")
    assert opened.page.locator(".files summary").count() == len(entries) == 3
    assert opened.page.locator(".files .name >> nth=0").inner_text() == hostile
    for n, entry in enumerate(entries):
        item = opened.page.locator(".files details").nth(n)
        assert f"{entry['accepted']:,} in" in item.inner_text()
        item.locator("summary").click()
        if not entry["rejected"]:
            item.locator("text=Every row was accepted.").wait_for()
            continue
        item.locator(".rejects li").first.wait_for()
        detail = site.get(f"ingestions/{entry['id']}")
        listed = item.locator(".rejects li").all_inner_texts()
        assert len(listed) == len(detail["rejects"])
        for text, reject in zip(listed, detail["rejects"], strict=True):
            assert f"line {reject['line']}, {reject['field'] or 'row'}: {reject['reason']}" in text
            assert " ".join(reject["raw"].split()) in " ".join(text.split())
        counts = {text.split()[0] for text in item.locator(".rules li").all_inner_texts()}
        assert counts == {str(one["count"]) for one in detail["rejects_by_rule"]}
    assert opened.page.locator("#panel-files img, #panel-files script").count() == 0


def test_links_ask_for_what_is_in_view(visit, site):
    opened = visit(CALIFORNIA + "&category=earthquake&time=2018-02-01T00:00:00Z/2018-02-03T23:59:59Z&tab=data")
    links = {one.inner_text(): one.get_attribute("href") for one in opened.page.locator(".links a").all()}
    assert list(links) == ["GeoJSON", "CSV", "Time series", "Vector tiles"]
    answers = {}
    for name, href in links.items():
        assert href.startswith(site.url)
        with urllib.request.urlopen(href) as response:
            answers[name] = response.read().decode()
    csv = answers["CSV"].splitlines()
    column = csv[0].split(",").index("count")
    assert sum(int(line.split(",")[column]) for line in csv[1:]) == opened.rows()
    assert answers["GeoJSON"].count('"type":"Polygon"') == len(csv) - 1
    assert opened.text("#curl").replace("\n", "") == f"curl --compressed '{links['GeoJSON']}'"
    assert '"tilejson"' in answers["Vector tiles"]
    assert len(answers["Time series"].splitlines()) > 24


def test_an_address_brings_back_what_it_was_copied_from(visit):
    first = visit(CALIFORNIA)
    first.page.check("input[value=avg]")
    first.page.check("#categories input[value=earthquake]")
    first.page.focus("#until")
    first.page.keyboard.press("PageDown")
    first.settle()
    first.page.click(".top button >> nth=3")
    first.page.click("#tab-data")
    address = urlsplit(first.page.url).fragment
    for part in ("show=avg", "category=earthquake", "time=", "cell=", "tab=data", "map=4.6/37.5/-119"):
        assert part in address
    second = visit(f"#{address}", fresh=True)
    for place in ("#summary", "#span", "#legend", "#cell dl", "#panel-data", "#categories"):
        assert second.text(place) == first.text(place)
    assert urlsplit(second.page.url).fragment == address


def test_everything_can_be_done_by_keyboard(visit):
    opened = visit("#dataset=earthquakes-csv")
    keys = opened.page.keyboard

    def tab_to(selector: str) -> None:
        for _ in range(60):
            if opened.page.evaluate("one => document.activeElement.matches(one)", selector):
                return
            keys.press("Tab")
        pytest.fail(f"{selector} is not reached")

    tab_to("#dataset")
    keys.press("ArrowDown")
    opened.settle()
    assert "dataset=earthquakes&" in opened.page.url
    tab_to("canvas")
    for key in ("Equal", "Equal", "ArrowLeft"):
        keys.press(key)
        opened.page.wait_for_timeout(450)
    opened.settle()
    tab_to("#until")
    keys.press("PageDown")
    opened.settle()
    assert "time=" in opened.page.url
    tab_to("input[name=statistic]")
    keys.press("ArrowRight")
    assert "show=avg" in opened.page.url
    tab_to("#categories input")
    keys.press("Space")
    opened.settle()
    assert "category=earthquake" in opened.page.url
    tab_to("[role=tab]")
    keys.press("ArrowRight")
    assert opened.page.is_visible("#panel-files")
    keys.press("ArrowLeft")
    tab_to(".top button")
    keys.press("Enter")
    assert opened.page.is_visible("#cell")
    keys.press("Escape")
    assert not opened.page.is_visible("#cell")


def test_enter_picks_the_cell_in_the_middle_of_the_map(visit):
    opened = visit("#dataset=earthquakes&map=5/37.6/-118.9", fresh=True)
    opened.page.keyboard.press("Tab")
    assert opened.text(":focus") == "Skip to the map"
    opened.page.keyboard.press("Enter")
    assert opened.page.is_visible("#cross")
    opened.page.keyboard.press("Enter")
    assert "cell=9/86/181" in opened.page.url
    assert opened.page.is_visible("#cell")


def test_on_a_phone_the_map_and_the_controls_share_the_screen(chromium, visit):
    context = chromium.new_context(**PHONE, reduced_motion="reduce")
    opened = visit(CALIFORNIA, context=context)
    assert not opened.page.is_visible("#controls")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
    opened.page.tap("#sheet")
    assert opened.page.is_visible("#statistics")
    assert opened.page.locator("#map").bounding_box()["height"] > 140
    opened.page.tap("label:has(input[value=max])")
    assert opened.text("#legend h2") == "Highest magnitude"
    opened.page.locator(".top button").nth(1).tap()
    assert not opened.page.is_visible("#controls")
    box = opened.page.locator("#cell").bounding_box()
    assert 0 <= box["x"] < box["x"] + box["width"] <= PHONE["viewport"]["width"]
    assert (
        opened.page.evaluate(
            "[...document.querySelectorAll('button, select')].filter(b => b.checkVisibility()"
            " && !b.closest('#cell') && b.getBoundingClientRect().right > innerWidth).length"
        )
        == 0
    )
    context.close()


def test_dark_where_the_reader_likes_it_dark(visit):
    opened = visit(CALIFORNIA)
    page = opened.page
    look = """[
      getComputedStyle(document.documentElement).backgroundColor,
      document.querySelector(".swatch").style.background,
    ]"""
    light = page.evaluate(look)
    before = opened.data()
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    dark = page.evaluate(look)
    assert (light[0], dark[0]) == ("rgb(255, 255, 255)", "rgb(20, 24, 29)")
    assert light[1] != dark[1]
    assert opened.data() == before
    page.emulate_media(color_scheme="light")


def test_an_empty_dataset_says_where_files_go(visit, empty_site):
    opened = visit(url=empty_site.url)
    assert "There is nothing in" in opened.text("#message")
    assert "landing/earthquakes-csv/" in opened.text("#message")
    assert opened.asked("/aggregated-data") == []


def test_a_failing_api_says_what_is_wrong_and_can_be_tried_again(visit):
    opened = visit(CALIFORNIA, fresh=True)
    problem = {
        "title": "x",
        "status": 503,
        "detail": "the database cannot be reached now; try again",
        "request_id": "r7",
    }
    opened.page.route("**/aggregated-data?*", lambda route: route.fulfill(status=503, json=problem))
    opened.page.check("#categories input[value=explosion]")
    opened.settle()
    assert "503: the database cannot be reached now; try again (request r7)" in opened.text("#message")
    opened.page.unroute_all()
    opened.page.route("**/datasets", lambda route: route.abort())
    opened.page.click("#message button")
    opened.page.wait_for_selector("#message >> text=The API cannot be reached.")
    opened.page.unroute_all()
    opened.page.click("#message button")
    opened.page.wait_for_selector("#message", state="hidden")
    opened.settle()
    assert opened.rows() == 9
    assert all("Failed to load resource" in one for one in opened.complaints)
    opened.complaints.clear()


def test_it_works_behind_a_stage_with_and_without_the_slash(chromium, visit, site):
    context = chromium.new_context(viewport=SMALL, reduced_motion="reduce")

    def forward(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("/dev/", "/", 1).removesuffix("/dev")))

    context.route(re.compile(r"/dev(/|$)"), forward)
    opened = visit("dev", context=context)
    assert opened.page.url.startswith(f"{site.url}/dev/#")
    opened.settle()
    assert opened.rows() == 1711
    assert [urlsplit(url).path for url in opened.asked("/aggregated-data")] == ["/dev/aggregated-data"]
    with_slash = visit("dev/#dataset=earthquakes&tab=data", context=context)
    assert [url for url in with_slash.requests if not urlsplit(url).path.startswith("/dev/")] == []
    assert f"{site.url}/dev/aggregated-data?" in with_slash.text("#curl").replace("\n", "")
    context.close()


def test_without_webgl_the_cells_are_listed(chromium, visit):
    context = chromium.new_context(viewport=SMALL, reduced_motion="reduce")
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    opened = visit("#dataset=earthquakes", context=context)
    assert "cannot draw the map" in opened.text("#map")
    assert opened.rows() == 1707
    opened.page.click(".top button >> nth=0")
    assert opened.cell()["count"] == opened.text(".top b >> nth=0")
    opened.complaints.clear()
    context.close()


def test_classes_hold_every_value_once_and_part_at_round_numbers(visit, site):
    opened = visit("#dataset=earthquakes")
    found = opened.page.evaluate(CLASSES, f"{site.url}/web/{'0' * 12}/classes.js")
    assert found["wrong"] == []
    assert found["none"] == []
    assert found["quakes"][0] == 1
    assert all(float(f"{limit:.1g}") == limit for limit in found["quakes"])

    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    for name, order in (("light", -1), ("dark", 1)):
        steps = [order * lightness(one) for one in found[name]]
        assert steps == sorted(steps)
        assert min(b - a for a, b in pairwise(steps)) > 0.02


def test_a_dataset_that_only_counts_has_no_other_statistics(visit, site):
    told = site.get("datasets")
    for dataset in told["datasets"]:
        dataset["value"] |= {"name": "", "unit": ""}
    opened = visit()
    opened.page.route("**/datasets", lambda route: route.fulfill(json=told))
    opened.page.goto(f"{site.url}/#dataset=earthquakes&show=avg")
    opened.page.reload()
    opened.settle()
    assert not opened.page.is_visible("#statistics")
    assert opened.text("#legend h2") == "Count"
    opened.page.click(".top button >> nth=0")
    assert list(opened.cell()) == ["count"]


def test_a_chosen_cell_comes_out_from_under_its_numbers(chromium, visit):
    context = chromium.new_context(**PHONE, reduced_motion="reduce")
    for opened in (visit("#dataset=earthquakes&map=6/36.5/-122"), visit(CALIFORNIA, context=context)):
        buttons = opened.page.query_selector_all(".top button")
        listed = [tuple(map(int, one.get_attribute("data-cell").split("/"))) for one in buttons]
        for level, x, y in (max(listed, key=lambda one: one[1] + one[2]), listed[0]):
            button = opened.page.query_selector(f"[data-cell='{level}/{x}/{y}']")
            if button:  # else it went out of view with the one before
                button.evaluate("one => one.click()")
                assert comes_out(opened, level, x, y)
    context.close()


def comes_out(opened: Visit, level: int, x: int, y: int) -> bool:
    """Whether the middle of a cell is soon beside the box with its numbers, or below."""
    west, south, east, north = grid.bounds(level, x, y)
    for _ in range(20):
        across, down = pixel(opened, (west + east) / 2, (south + north) / 2)
        box = opened.page.locator("#cell").bounding_box()
        if across < box["x"] or across > box["x"] + box["width"] or down > box["y"] + box["height"]:
            return True
        opened.page.wait_for_timeout(150)
    return False
