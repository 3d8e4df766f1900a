// The page: state in the address, one request for cells and one for the time series, and what is drawn of them.

import { address, Failure, get, Latest } from "./api.js";
import { classes, classOf, colours } from "./classes.js";
import { Files } from "./files.js";
import { el, many, moment, number, place, size, span } from "./format.js";
import { bounds, side } from "./grid.js";
import { bucketFor, floor, Timeline } from "./timeline.js";

const SOON_MS = 120;
const MOST_CELLS = 5000;
const SMALLEST_CELL = 7;
const TOP = 12;
const STATISTICS = ["count", "avg", "max", "min", "sum"];
const NAMES = { count: "Count", avg: "Mean", max: "Highest", min: "Lowest", sum: "Sum", stddev: "Std. deviation" };
const TABS = ["cells", "files", "data"];

const find = (id) => document.getElementById(id);
const darkness = matchMedia("(prefers-color-scheme: dark)");
const theme = () => (darkness.matches ? "dark" : "light");

const state = { dataset: null, statistic: "count", categories: new Set(), cell: null, tab: "cells", time: null, view: null };
let datasets = [];
let cells = []; // what the API said of each cell in view
let level = null;
let rowsInView = null;
let groups = []; // classes of the chosen statistic
let rows = []; // the time series in view
let map = null;

const cellRequests = new Latest();
const seriesRequests = new Latest();
const detailRequests = new Latest();
const files = new Files(find("panel-files"));
const timeline = new Timeline(() => soon({ series: false }));

// -- address ---------------------------------------------------------------------------------------------------

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  state.dataset = given.get("dataset");
  state.statistic = STATISTICS.includes(given.get("show")) ? given.get("show") : "count";
  state.categories = new Set(given.getAll("category"));
  state.time = given.get("time");
  state.tab = TABS.includes(given.get("tab")) ? given.get("tab") : "cells";
  const view = (given.get("map") ?? "").split("/").map(Number);
  state.view = view.length === 3 && view.every(Number.isFinite) && Math.abs(view[1]) <= 90 ? view : null;
  const cell = (given.get("cell") ?? "").split("/").map(Number);
  state.cell = cell.length === 3 && cell.every(Number.isInteger) ? { level: cell[0], x: cell[1], y: cell[2] } : null;
}

let written = "";
function writeAddress() {
  const told = new URLSearchParams({ dataset: state.dataset });
  if (state.statistic !== "count") told.set("show", state.statistic);
  for (const category of state.categories) told.append("category", category);
  if (timeline.datetime) told.set("time", timeline.datetime);
  if (map) told.set("map", map.view.join("/"));
  if (state.cell) told.set("cell", [state.cell.level, state.cell.x, state.cell.y].join("/"));
  if (state.tab !== "cells") told.set("tab", state.tab);
  written = `#${told.toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`;
  history.replaceState(null, "", written);
}

// -- requests --------------------------------------------------------------------------------------------------

const dataset = () => datasets.find((one) => one.name === state.dataset);
const area = () => (map ? map.bbox : [-180, -90, 180, 90]).join(",");

/** What is asked, without what only concerns the page. */
function query() {
  return {
    dataset: state.dataset,
    bbox: area(),
    datetime: timeline.datetime,
    category: state.categories.size ? [...state.categories].join(",") : null,
    level: levelFor(),
  };
}

/**
 * The finest level whose cells can be told apart and whose answer is one page. That is sure where the view has few
 * cells, and likely where it has few rows. Null leaves it to the API.
 */
function levelFor() {
  if (!map) return null;
  const { levels, count } = dataset();
  const [west, south, east, north] = map.bbox;
  const wide = east > west ? east - west : east - west + 360;
  const sparse = count <= MOST_CELLS || (rowsInView !== null && rowsInView <= MOST_CELLS / 2);
  const good = levels.filter((one) => {
    const few = (wide / side(one) + 1) * ((north - south) / side(one) + 1) <= MOST_CELLS;
    return map.pixels(side(one)) >= SMALLEST_CELL && (few || sparse);
  });
  return good.length ? Math.max(...good) : null;
}

let waiting = null;
let wanted = { series: false };

/** Ask anew in a moment; several wishes become one. */
function soon({ series }) {
  wanted.series ||= series;
  clearTimeout(waiting);
  waiting = setTimeout(refresh, SOON_MS);
}

async function refresh() {
  clearTimeout(waiting);
  if (!dataset()) return;
  const { series } = wanted;
  wanted = { series: false };
  writeAddress();
  if (!dataset().count) {
    [cells, rows] = [[], []];
    draw();
    say(nothingYet());
    return;
  }
  document.body.classList.add("busy");
  try {
    await Promise.all([askCells(), series && askSeries()]);
    say(null);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    wanted.series ||= series;
    say(el("p", {}, error.message), el("button", { type: "button", onclick: start }, "Try again"));
  } finally {
    document.body.classList.remove("busy");
  }
}

async function askCells() {
  const asked = { ...query(), stats: "count,sum,avg,min,max,stddev", geometry: "none", limit: MOST_CELLS };
  const told = await cellRequests.get(address("aggregated-data", asked));
  if (!told) return;
  const more = told.links.some((link) => link.rel === "next");
  const total = told.features.reduce((sum, feature) => sum + feature.properties.count, 0);
  rowsInView = more ? Infinity : total;
  if (more && asked.level !== levelFor()) {
    await askCells(); // more cells than the last view let hope: once more, with coarser ones
    return;
  }
  cells = told.features.map((feature) => feature.properties);
  cells.more = more;
  level = told.level;
  if (state.cell && state.cell.level !== level) state.cell = null;
  draw();
}

async function askSeries() {
  // Of the same cells as the map, so that both count the same rows.
  const asked = { dataset: state.dataset, bbox: area(), level: levelFor(), bucket: timeline.bucket, limit: MOST_CELLS };
  const told = await seriesRequests.get(address("aggregated-data/series", asked));
  if (!told) return;
  rows = told.series;
  const coarser = { hour: "day", day: "month" }[timeline.bucket];
  if (coarser && told.links.some((link) => link.rel === "next")) {
    // So many categories that the bars would stop early: fewer, longer buckets, from now on.
    const kept = timeline.datetime;
    timeline.axis(Date.parse(dataset().first), Date.parse(dataset().last), coarser);
    timeline.choose(kept);
    await askSeries();
    return;
  }
  drawSeries();
}

// -- drawing ---------------------------------------------------------------------------------------------------

function say(...told) {
  const box = find("message");
  box.replaceChildren(...told.filter(Boolean));
  box.hidden = !box.hasChildNodes();
}

function nothingYet() {
  const { upload, title } = dataset();
  return el("p", {}, el("b", {}, `There is nothing in “${title}” yet. `), "Put a file under ", el("code", {}, upload), " in the landing bucket; a moment later it is here.");
}

/** Datasets that only count have no other statistics. */
const measured = () => Boolean(dataset().value?.name);

/** Name of a statistic: "Mean magnitude". */
function named(statistic) {
  if (statistic === "count") return "Count";
  const { name, unit } = dataset().value;
  return `${NAMES[statistic]} ${statistic === "sum" ? "of " : ""}${name}${unit ? ` (${unit})` : ""}`;
}

function draw() {
  groups = classes(cells.map((cell) => cell[state.statistic]));
  paint();
  drawLegend();
  drawSummary();
  drawTop();
  drawData();
  drawCell();
}

function paint() {
  const ramp = colours(groups.length || 1, theme());
  for (const cell of cells) cell.colour = ramp[classOf(cell[state.statistic], groups)] ?? null;
  map?.show(cells, level);
}

function drawLegend() {
  const box = find("legend");
  box.hidden = !cells.length;
  if (box.hidden) return;
  const ramp = colours(groups.length || 1, theme());
  const whole = state.statistic === "count";
  const items = groups.map((one, n) => {
    const last = n + 1 === groups.length;
    const to = whole && !last ? one.to - 1 : one.to;
    const text = one.from === to || one.low === one.high && last ? number(one.low) : `${number(one.from)} – ${number(to)}`;
    const swatch = el("span", { className: "swatch" });
    swatch.style.background = ramp[n];
    return el("li", { title: many(one.count, "cell") }, swatch, text);
  });
  const without = cells.filter((cell) => cell[state.statistic] === null).length;
  if (without) items.unshift(el("li", { title: many(without, "cell") }, el("span", { className: "swatch none" }), "no value"));
  box.replaceChildren(el("h2", {}, named(state.statistic)), el("ol", {}, ...items), el("p", { className: "muted" }, `cells of ${size(360 / 2 ** level)}`));
}

function drawSummary() {
  const total = cells.reduce((sum, cell) => sum + cell.count, 0);
  const told = cells.length
    ? [el("b", {}, many(total, "row")), ` in ${many(cells.length, "cell")} in view`]
    : [dataset().count ? "Nothing here: move the map, take a longer time span or another category." : "Nothing here yet."];
  if (cells.more) told.push(el("span", { className: "bad" }, ` – only the first ${number(MOST_CELLS)} cells are shown; zoom in for all`));
  find("summary").replaceChildren(...told);
}

function drawTop() {
  const panel = find("panel-cells");
  const focused = panel.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
  const statistic = state.statistic;
  const shown = cells.filter((cell) => cell[statistic] !== null);
  const sign = statistic === "min" ? 1 : -1;
  shown.sort((a, b) => sign * (a[statistic] - b[statistic]) || b.count - a.count);
  const most = Math.abs(shown[0]?.[statistic] ?? 1) || 1;
  const items = shown.slice(0, TOP).map((cell) => {
    const id = `${cell.level}/${cell.x}/${cell.y}`;
    const [w, s, e, n] = bounds(cell);
    const bar = el("span", { className: "bar" });
    bar.style.width = `${Math.min(100, (Math.abs(cell[statistic]) / most) * 100)}%`;
    bar.style.background = cell.colour;
    const button = el("button", { type: "button", onclick: () => pick(cell, { go: true }) }, el("span", {}, place((w + e) / 2, (s + n) / 2, side(level))), el("b", {}, number(cell[statistic])), bar);
    button.dataset.cell = id;
    button.setAttribute("aria-pressed", String(isChosen(cell)));
    return el("li", {}, button);
  });
  panel.replaceChildren(
    el("p", { className: "muted" }, items.length ? `First ${items.length} of ${many(cells.length, "cell")} by ${named(statistic).toLowerCase()}` : "No cells in view."),
    el("ol", { className: "top" }, ...items),
  );
  if (focused) panel.querySelector(`[data-cell="${focused}"]`)?.focus();
}

/** Bars of the chosen categories, and how many rows of each category lie in the span. */
function drawSeries() {
  const chosen = rows.filter((row) => !state.categories.size || state.categories.has(row.category));
  timeline.fill(chosen);
  drawCategories();
}

function drawCategories() {
  const counts = new Map(dataset().categories.map(({ category }) => [category, 0]));
  for (const category of state.categories) counts.set(category, 0);
  for (const row of rows) {
    const inside = timeline.holds(floor(Date.parse(row.bucket), timeline.bucket));
    counts.set(row.category, (counts.get(row.category) ?? 0) + (inside ? row.count : 0));
  }
  const list = find("categories").querySelector("ul");
  const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
  const most = Math.max(...counts.values(), 1);
  list.replaceChildren(
    ...[...counts].map(([category, count]) => {
      // The API cannot be asked for the category without a name.
      const box = el("input", { type: "checkbox", value: category, checked: state.categories.has(category), disabled: !category });
      box.addEventListener("change", () => {
        if (box.checked) state.categories.add(category);
        else state.categories.delete(category);
        drawSeries();
        soon({ series: false });
      });
      const bar = el("span", { className: "bar" });
      bar.style.width = `${(count / most) * 100}%`;
      return el("li", {}, el("label", {}, box, el("span", {}, category || "(none)"), el("b", {}, number(count)), bar));
    }),
  );
  find("every").hidden = !state.categories.size;
  find("all").hidden = state.categories.size > 0;
  find("categories").hidden = counts.size < 2 && !state.categories.size;
  if (focused !== null) [...list.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
}

function drawData() {
  const asked = query();
  const page = { ...asked, limit: MOST_CELLS };
  const links = [
    ["GeoJSON", "cells as polygons, for any GIS", address("aggregated-data", { ...page, f: "geojson" })],
    ["CSV", "cells as a table", address("aggregated-data", { ...page, f: "csv" })],
    ["Time series", "a row per bucket and category, CSV", address("aggregated-data/series", { ...page, bucket: timeline.bucket, f: "csv" })],
    ["Vector tiles", "TileJSON for QGIS, MapLibre, Leaflet", address("aggregated-data/tiles.json", { ...asked, bbox: null, level: null })],
  ];
  const command = `curl --compressed '${links[0][2].replaceAll("'", "%27")}'`;
  find("panel-data").replaceChildren(
    el("p", { className: "muted" }, "The cells in view, as the API gives them to programs"),
    el(
      "ul",
      { className: "links" },
      ...links.map(([name, what, href]) => el("li", {}, el("div", {}, el("a", { href, target: "_blank" }, name), el("span", { className: "muted" }, what)), copier(href, `address of ${name}`))),
    ),
    el("div", { className: "line" }, el("h3", {}, "curl"), copier(command, "curl command")),
    el("pre", { id: "curl", tabIndex: 0 }, command),
  );
}

/** A button that copies a text. */
function copier(text, what) {
  const button = el("button", { type: "button", className: "quiet" }, "Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

// -- one cell --------------------------------------------------------------------------------------------------

const isChosen = (cell) => state.cell && cell.level === state.cell.level && cell.x === state.cell.x && cell.y === state.cell.y;
const lookUp = (at) => cells.find((cell) => cell.level === at.level && cell.x === at.x && cell.y === at.y);

/** Choose a cell, or none. With `go` it was chosen in the list, which on a phone makes way for the map. */
function pick(at, { go = false } = {}) {
  const known = at && lookUp(at);
  state.cell = known ? { level: known.level, x: known.x, y: known.y } : null;
  writeAddress();
  drawTop();
  drawCell();
  if (!known) return;
  if (go && matchMedia("(max-width: 46rem)").matches) openSheet(false);
  map?.uncover(known, find("cell"));
}

let drawnCell = "";
function drawCell() {
  const box = find("cell");
  const cell = state.cell && lookUp(state.cell);
  map?.mark(cell ?? null);
  box.hidden = !cell;
  if (!cell) {
    drawnCell = "";
    return;
  }
  const [w, s, e, n] = bounds(cell);
  const [longitude, latitude] = [(w + e) / 2, (s + n) / 2];
  const { decimals, name, unit } = dataset().value;
  const close = el("button", { type: "button", className: "quiet", onclick: () => pick(null) }, "Close");
  const figures = (measured() ? ["count", "avg", "max", "min", "sum", "stddev"] : ["count"]).map((statistic) => {
    const text = statistic === "count" ? number(cell.count) : number(cell[statistic], decimals + (statistic === "avg" || statistic === "stddev" ? 1 : 0));
    const pair = el("div", {}, el("dt", {}, NAMES[statistic]), el("dd", {}, text));
    pair.dataset.statistic = statistic;
    pair.classList.toggle("shown", statistic === state.statistic);
    return pair;
  });
  const times = span(Date.parse(cell.first), Date.parse(cell.last), "hour");
  const detail = el("div", { className: "detail" });
  box.replaceChildren(
    el("div", { className: "line" }, el("h2", {}, place(longitude, latitude, side(level))), close),
    el("p", { className: "muted" }, [size(side(level)), name && `${name}${unit ? ` in ${unit}` : ""}`].filter(Boolean).join(" · ")),
    el("dl", {}, ...figures),
    el("p", { className: "muted" }, `${times} UTC`),
    detail,
    el("div", { className: "line" }, el("button", { type: "button", onclick: () => map?.fit([w, s, e, n], { smooth: true }), hidden: !map }, "Zoom in")),
  );
  askDetail(cell, longitude, latitude, detail);
}

/** The cell's own rows over time, in the span and categories that are chosen. */
async function askDetail(cell, longitude, latitude, box) {
  const centre = `${longitude},${latitude},${longitude},${latitude}`;
  const url = address("aggregated-data/series", { ...query(), bbox: centre, level: cell.level, bucket: timeline.bucket, limit: MOST_CELLS });
  const known = drawnCell === url ? askDetail.told : null;
  let told = known;
  try {
    told ??= await detailRequests.get(url);
  } catch (error) {
    if (error instanceof Failure) return;
    throw error;
  }
  if (!told) return;
  [drawnCell, askDetail.told] = [url, told];
  const counts = new Map();
  for (const row of told.series) counts.set(row.category, (counts.get(row.category) ?? 0) + row.count);
  const parts = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([category, count]) => el("li", {}, el("span", {}, category || "(none)"), el("b", {}, number(count))));
  box.replaceChildren(sparkline(told.series), parts.length > 1 ? el("ul", {}, ...parts) : "");
}

function sparkline(series) {
  const [from, to] = [timeline.from, timeline.to];
  const steps = Math.min(to - from, 60);
  const sums = Array(steps).fill(0);
  const edges = new Map(timeline.edges.map((edge, n) => [edge, n]));
  for (const row of series) {
    const n = edges.get(floor(Date.parse(row.bucket), timeline.bucket));
    if (n >= from && n < to) sums[Math.floor(((n - from) * steps) / (to - from))] += row.count;
  }
  const most = Math.max(...sums, 1);
  const path = sums.map((sum, n) => (sum ? `M${n + 0.1} 1V${1 - Math.max(sum / most, 0.06)}h.8V1z` : "")).join("");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${steps} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Rows of this cell over time");
  svg.innerHTML = `<path d="${path}"/>`;
  return svg;
}

function hover(at, point) {
  const tip = find("tip");
  const cell = at && lookUp(at);
  tip.hidden = !cell;
  if (map) map.map.getCanvas().style.cursor = cell ? "pointer" : "";
  if (!cell) return;
  tip.textContent = state.statistic === "count" ? many(cell.count, "row") : `${named(state.statistic)} ${number(cell[state.statistic])}, ${many(cell.count, "row")}`;
  tip.style.translate = `${point.x + 14}px ${point.y + 14}px`;
}

// -- controls --------------------------------------------------------------------------------------------------

function chooseDataset(name, { keep = false } = {}) {
  state.dataset = name;
  find("dataset").value = name;
  const { title, description, source, license, first, last, bucket, categories } = dataset();
  document.title = `${title} – geodrop`;
  find("about").replaceChildren(description ?? "", ...(source ? [el("span", { className: "muted" }, ` ${source}${license ? ` (${license})` : ""}.`)] : []));
  if (!keep) {
    state.categories.clear();
    state.cell = null;
    state.time = null;
  }
  [cells, rows, rowsInView] = [[], [], null];
  const [from, to] = [first && Date.parse(first), last && Date.parse(last)];
  timeline.axis(from, to, first ? bucketFor(from, to, bucket) : bucket);
  timeline.choose(state.time);
  const known = new Set(categories.map(({ category }) => category));
  if (known.size && known.size < 16) for (const category of state.categories) if (!known.has(category)) state.categories.delete(category);
  drawStatistics();
  drawCategories();
  if (state.tab === "files") files.show(dataset());
}

function drawStatistics() {
  if (!measured()) state.statistic = "count";
  find("statistics").hidden = !measured();
  const box = find("statistics").querySelector(".pills");
  box.replaceChildren(
    ...STATISTICS.map((statistic) => {
      const radio = el("input", { type: "radio", name: "statistic", value: statistic, checked: statistic === state.statistic });
      radio.addEventListener("change", () => {
        state.statistic = statistic;
        writeAddress();
        draw();
      });
      return el("label", { title: named(statistic) }, radio, el("span", {}, NAMES[statistic]));
    }),
  );
}

function chooseTab(name, { focus = false } = {}) {
  state.tab = name;
  for (const one of TABS) {
    const [tab, panel] = [find(`tab-${one}`), find(`panel-${one}`)];
    tab.setAttribute("aria-selected", String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    panel.hidden = one !== name;
    if (one === name && focus) tab.focus();
  }
  if (name === "files" && dataset()) files.show(dataset());
}

function openSheet(open) {
  find("app").classList.toggle("open", open);
  find("sheet").setAttribute("aria-expanded", String(open));
  map?.map.resize();
}

function listen() {
  find("dataset").addEventListener("change", (event) => {
    chooseDataset(event.target.value);
    if (map && dataset().bbox) map.fit(dataset().bbox);
    soon({ series: true });
  });
  find("every").addEventListener("click", () => {
    state.categories.clear();
    drawSeries();
    soon({ series: false });
    find("categories").querySelector("input")?.focus();
  });
  for (const name of TABS) {
    find(`tab-${name}`).addEventListener("click", () => {
      chooseTab(name);
      writeAddress();
    });
    find(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      chooseTab(TABS[(TABS.indexOf(name) + step + TABS.length) % TABS.length], { focus: true });
      writeAddress();
    });
  }
  for (const input of ["since", "until"]) find(input).addEventListener("input", drawCategories);
  find("sheet").addEventListener("click", () => openSheet(!find("app").classList.contains("open")));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    map?.map.getCanvas().focus();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.cell) pick(null);
  });
  addEventListener("hashchange", () => {
    if (location.hash === written) return;
    readAddress();
    show();
  });
  darkness.addEventListener("change", () => {
    map?.theme(theme());
    draw();
  });
}

// -- start -----------------------------------------------------------------------------------------------------

/** Show what the address says. */
function show() {
  const known = dataset() ?? datasets.find((one) => one.count) ?? datasets[0];
  chooseDataset(known.name, { keep: known.name === state.dataset });
  chooseTab(state.tab);
  if (map) {
    if (state.view) map.view = state.view;
    else if (known.bbox) map.fit(known.bbox);
  }
  wanted.series = true;
  refresh();
}

async function start() {
  say(null);
  try {
    datasets = (await get(address("datasets"))).datasets;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(el("p", {}, error.message), el("button", { type: "button", onclick: start }, "Try again"));
    return;
  }
  if (!datasets.length) {
    say(el("p", {}, "This API has no datasets: add a contract under datasets/ and deploy it."));
    return;
  }
  find("dataset").replaceChildren(...datasets.map(({ name, title }) => el("option", { value: name }, title)));
  show();
}

readAddress();
listen();
try {
  const { CellMap } = await import("./map.js");
  map = new CellMap(theme(), state.view, { onmove: () => soon({ series: true }), onpick: (at) => pick(at), onhover: hover });
} catch (error) {
  find("map").append(el("p", { className: "nomap" }, "This browser cannot draw the map (it needs WebGL 2). The cells are listed all the same."));
}
await start();
document.body.dataset.ready = "true";
