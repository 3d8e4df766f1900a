// The ledger: which files came in, and which of their rows were rejected, with the reason for each.

import { address, Failure, get, Latest } from "./api.js";
import { bytes, el, many, moment, number } from "./format.js";

const PAGE = 50;
const ROWS = 50;
const STATES = { loaded: "loaded", deleted: "deleted", failed: "failed", deferred: "waiting" };

export class Files {
  constructor(panel) {
    this.panel = panel;
    this.latest = new Latest();
  }

  /** Show the files of a dataset, newest first. */
  async show(dataset) {
    this.list = el("ul", { className: "files" });
    this.panel.replaceChildren(el("p", { className: "muted" }, "Loading …"));
    try {
      const page = await this.latest.get(address("ingestions", { dataset: dataset.name, limit: PAGE }));
      if (!page) return;
      const refresh = el("button", { type: "button", className: "quiet", onclick: () => this.show(dataset) }, "Refresh");
      const head = el("div", { className: "line" }, el("p", { className: "muted" }, "What became of each file"), refresh);
      this.panel.replaceChildren(head, this.list);
      this.#add(page);
      if (!page.ingestions.length) {
        this.panel.append(el("p", {}, "No file has come in yet. Put one under ", el("code", {}, dataset.upload), " in the bucket."));
      }
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.panel.replaceChildren(el("p", { className: "bad" }, error.message));
    }
  }

  #add(page) {
    this.list.append(...page.ingestions.map((entry) => this.#item(entry)));
    const next = page.links.find((link) => link.rel === "next");
    if (!next) return;
    const more = el("button", { type: "button" }, "Older files");
    const query = new URL(next.href).search;
    more.onclick = async () => {
      more.remove();
      const older = await this.latest.get(address(`ingestions${query}`));
      if (older) this.#add(older);
    };
    this.panel.append(more);
  }

  #item(entry) {
    const name = entry.object.split("/").slice(5).join("/") || entry.object;
    const counts = [el("span", {}, `${number(entry.accepted)} in`)];
    if (entry.rejected) counts.push(el("span", { className: "bad" }, `${number(entry.rejected)} rejected`));
    if (entry.state !== "loaded") counts.unshift(el("span", { className: "badge" }, STATES[entry.state] ?? entry.state));
    const summary = el("summary", {}, el("span", { className: "name", title: entry.object }, name), el("span", { className: "counts" }, ...counts));
    const body = el("div", { className: "body" });
    const item = el("details", {}, summary, body);
    item.addEventListener("toggle", () => item.open && !body.hasChildNodes() && this.#detail(entry, body));
    return el("li", {}, item);
  }

  async #detail(entry, body) {
    const came = Date.parse(entry.finished);
    const took = entry.seconds === null ? "" : `, in ${number(entry.seconds, 2)} s`;
    const facts = `${many(entry.rows, "row")}, ${bytes(entry.bytes ?? 0)}, ${moment(came)} UTC${took}`;
    body.append(el("p", { className: "muted" }, facts), el("p", { className: "muted address" }, entry.object));
    if (entry.reason) body.append(el("p", { className: "bad" }, entry.reason));
    if (!entry.rejected) {
      if (entry.state === "loaded") body.append(el("p", {}, "Every row was accepted."));
      return;
    }
    const waiting = body.appendChild(el("p", { className: "muted" }, "Loading …"));
    try {
      const told = await get(address(`ingestions/${entry.id}`));
      waiting.replaceWith(...rejects(told));
    } catch (error) {
      waiting.replaceWith(el("p", { className: "bad" }, error.message));
    }
  }
}

function rejects(told) {
  const rules = told.rejects_by_rule.map(({ field, rule, count }) =>
    el("li", {}, el("b", {}, number(count)), ` ${field || "row"}: ${rule}`),
  );
  const rows = told.rejects.map((one) =>
    el(
      "li",
      {},
      el("div", {}, el("span", { className: "muted" }, `line ${number(one.line)}, `), el("b", {}, one.field || "row"), `: ${one.reason}`),
      el("code", {}, one.raw),
    ),
  );
  const list = el("ol", { className: "rejects" }, ...rows.slice(0, ROWS));
  const made = [el("h3", {}, "Why rows were rejected"), el("ul", { className: "rules" }, ...rules), el("h3", {}, "Rejected rows"), list];
  if (rows.length > ROWS) {
    const more = el("button", { type: "button" }, `Show all ${number(rows.length)}`);
    more.onclick = () => (list.append(...rows.slice(ROWS)), more.remove());
    made.push(more);
  }
  if (told.rejected > new Set(told.rejects.map((one) => one.line)).size) {
    made.push(el("p", { className: "muted" }, "Only the first rejected rows are kept; all are counted above."));
  }
  return made;
}
