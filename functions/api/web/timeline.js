// The time span: a histogram with a handle at either end. Positions are edges of buckets: 0 is where the first
// begins, `steps` where the last ends.

import * as format from "./format.js";

const HOUR = 3_600_000;
const MOST_STEPS = { hour: 24 * 16, day: 400 };

/** Start of the bucket that holds a time. */
export function floor(time, bucket) {
  if (bucket === "month") return Date.UTC(new Date(time).getUTCFullYear(), new Date(time).getUTCMonth());
  const size = bucket === "day" ? 24 * HOUR : HOUR;
  return Math.floor(time / size) * size;
}

function after(time, bucket) {
  if (bucket === "month") return Date.UTC(new Date(time).getUTCFullYear(), new Date(time).getUTCMonth() + 1);
  return time + (bucket === "day" ? 24 * HOUR : HOUR);
}

/** The finest bucket, from the dataset's own on, that gives a readable number of bars. */
export function bucketFor(first, last, finest) {
  const known = ["hour", "day", "month"];
  return known.slice(known.indexOf(finest)).find((bucket) => {
    const size = bucket === "hour" ? HOUR : 24 * HOUR;
    return bucket === "month" || (last - first) / size <= MOST_STEPS[bucket];
  });
}

export class Timeline {
  /** onchange is called when the span has another value; onsettle when the hand is off. */
  constructor(onchange) {
    const find = (id) => document.getElementById(id);
    [this.since, this.until] = [find("since"), find("until")];
    [this.histogram, this.window, this.told] = [find("histogram"), find("window"), find("span")];
    [this.whole, this.ticks, this.slider] = [find("whole"), find("ticks"), find("slider")];
    this.edges = [];
    this.counts = [];
    this.onchange = onchange;
    this.since.addEventListener("input", () => this.#moved(this.since));
    this.until.addEventListener("input", () => this.#moved(this.until));
    this.whole.addEventListener("click", () => {
      this.#put(0, this.steps);
      this.since.focus();
    });
    this.#drag();
  }

  get steps() {
    return Math.max(this.edges.length - 1, 0);
  }

  /** Set the axis of a dataset; the span becomes all time. */
  axis(first, last, bucket) {
    this.bucket = bucket;
    this.edges = [];
    if (first !== null) {
      let edge = floor(first, bucket);
      for (; edge <= last; edge = after(edge, bucket)) this.edges.push(edge);
      this.edges.push(edge);
    }
    this.counts = Array(this.steps).fill(0);
    for (const input of [this.since, this.until]) {
      input.min = 0;
      input.max = this.steps;
      input.disabled = this.steps < 2;
    }
    this.since.value = 0;
    this.until.value = this.steps;
    this.#axisTicks();
    this.#show();
  }

  /** Rows of a series to bars. */
  fill(rows) {
    const place = new Map(this.edges.map((edge, n) => [edge, n]));
    this.counts = Array(this.steps).fill(0);
    for (const row of rows) {
      const n = place.get(floor(Date.parse(row.bucket), this.bucket));
      if (n !== undefined && n < this.steps) this.counts[n] += row.count;
    }
    this.#draw();
  }

  /** Whether a bucket lies in the span. */
  holds(time) {
    return !this.chosen || (time >= this.edges[this.from] && time < this.edges[this.to]);
  }

  get from() {
    return Number(this.since.value);
  }

  get to() {
    return Number(this.until.value);
  }

  /** Whether the span is less than all time. */
  get chosen() {
    return this.steps > 0 && (this.from > 0 || this.to < this.steps);
  }

  /** The span for the API's parameter datetime; null for all time. The end is the last second that counts. */
  get datetime() {
    if (!this.chosen) return null;
    const text = (time) => new Date(time).toISOString().replace(".000", "");
    const start = this.from > 0 ? text(this.edges[this.from]) : "..";
    const end = this.to < this.steps ? text(this.edges[this.to] - 1000) : "..";
    return `${start}/${end}`;
  }

  /** Take a span as `datetime` writes it. */
  choose(datetime) {
    const [start, end] = (datetime ?? "../..").split("/");
    const from = start === ".." ? 0 : this.edges.findIndex((edge) => edge >= Date.parse(start));
    const to = end === ".." ? this.steps : this.edges.findIndex((edge) => edge > Date.parse(end));
    const good = from >= 0 && to > from;
    this.since.value = good ? from : 0;
    this.until.value = good ? to : this.steps;
    this.#show();
  }

  #put(from, to) {
    const before = `${this.from}/${this.to}`;
    this.since.value = from;
    this.until.value = to;
    this.#show();
    if (before !== `${this.from}/${this.to}`) this.onchange();
  }

  #moved(input) {
    if (this.from >= this.to) input.value = input === this.since ? this.to - 1 : this.from + 1;
    this.#show();
    this.onchange();
  }

  /** The span between the handles can be taken and moved as a whole. */
  #drag() {
    let start = null;
    this.window.addEventListener("pointerdown", (event) => {
      this.window.setPointerCapture(event.pointerId);
      start = { x: event.clientX, from: this.from, width: this.to - this.from };
    });
    this.window.addEventListener("pointermove", (event) => {
      if (!start) return;
      const moved = Math.round(((event.clientX - start.x) / this.histogram.clientWidth) * this.steps);
      const from = Math.min(Math.max(start.from + moved, 0), this.steps - start.width);
      this.#put(from, from + start.width);
    });
    for (const name of ["pointerup", "pointercancel"]) this.window.addEventListener(name, () => (start = null));
  }

  #show() {
    const empty = this.steps === 0;
    this.slider.classList.toggle("empty", empty);
    this.whole.hidden = !this.chosen;
    if (empty) {
      this.told.textContent = "No time span yet";
      this.histogram.replaceChildren();
      return;
    }
    const [from, to] = [this.edges[this.from], this.edges[this.to]];
    const last = this.bucket === "hour" ? to : this.edges[this.to - 1];
    this.told.textContent = `${format.span(from, last, this.bucket)} UTC`;
    this.since.setAttribute("aria-valuetext", format.moment(from, this.bucket));
    this.until.setAttribute("aria-valuetext", format.moment(last, this.bucket));
    this.slider.style.setProperty("--from", this.from / this.steps);
    this.slider.style.setProperty("--to", this.to / this.steps);
    this.#draw();
  }

  #draw() {
    const most = Math.max(...this.counts, 1);
    const gap = this.steps > 200 ? 0 : 0.12;
    const bars = this.counts.map((count, n) => {
      // A bucket with few rows can still be seen.
      const height = count ? Math.max(count / most, 0.03) : 0;
      return `M${n + gap / 2} 1V${1 - height}h${1 - gap}V1z`;
    });
    const path = (part, name) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
      made.setAttribute("d", part.join(""));
      made.setAttribute("class", name);
      return made;
    };
    this.histogram.setAttribute("viewBox", `0 0 ${Math.max(this.steps, 1)} 1`);
    const inside = bars.slice(this.from, this.to);
    const outside = [...bars.slice(0, this.from), ...bars.slice(this.to)];
    this.histogram.replaceChildren(path(outside, "out"), path(inside, "in"));
    const rows = this.counts.slice(this.from, this.to).reduce((sum, count) => sum + count, 0);
    this.histogram.setAttribute("aria-label", `${format.many(rows, "row")} in the time span, at most ${format.number(most)} a ${this.bucket}`);
  }

  #axisTicks() {
    const wanted = Math.min(8, Math.floor(this.slider.clientWidth / 90) || 4);
    const starts = this.edges.slice(0, -1).map((edge, n) => ({ edge, n }));
    const days = this.bucket === "hour" ? starts.filter(({ edge }) => edge % (24 * HOUR) === 0) : starts;
    const every = Math.max(1, Math.ceil(days.length / wanted));
    this.ticks.replaceChildren(
      ...days
        .filter(({ n: at }, n) => n % every === 0 && at / this.steps < 0.95)
        .map(({ edge, n }) => {
          const made = format.el("span", {}, format.tick(edge, this.bucket));
          made.style.setProperty("--at", n / this.steps);
          return made;
        }),
    );
  }
}
