// The one event stream of a signed-in page: balance, market, purchases, verification.

import { all, announce, one, setText, show } from "./dom.js";
import { credits, grouped, micros, usd } from "./money.js";

let source = null;
let closing = 0;
let earningsVersion = -1;

export function start() {
  if (!document.body.dataset.live) return;
  open();
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  // A browser allows few connections to one server: a page nobody looks at gives its own back after a while.
  document.addEventListener("visibilitychange", () => {
    clearTimeout(closing);
    if (document.hidden) closing = setTimeout(close, 60_000);
    else if (!source || source.readyState === EventSource.CLOSED) open();
  });
}

function open() {
  close();
  source = new EventSource(document.body.dataset.live);
  listen("balance", balance);
  listen("earnings", earnings);
  listen("market", market);
  listen("purchase", (data) => settled("purchase", data));
  listen("verification", (data) => settled("verification", data));
}

function close() {
  source?.close();
  source = null;
}

function listen(name, apply) {
  source.addEventListener(name, (event) => {
    try {
      apply(JSON.parse(event.data));
    } catch (error) {
      console.error(`event ${name} was not understood`, error);
    }
  });
}

/** A late event must not overwrite a newer one, hence the version. */
function balance(data) {
  const body = document.body;
  if (!(Number(data.version) > Number(body.dataset.version))) return;
  body.dataset.version = data.version;
  const before = one('[data-balance="available"]')?.textContent;
  for (const name of ["available", "usd"]) {
    if (data[name] != null) all(`[data-balance="${name}"]`).forEach((node) => setText(node, data[name]));
  }
  all('[data-balance="held"]').forEach((node) => setText(node, data.held ?? "0.00"));
  all("[data-held-box]").forEach((node) => show(node, data.held != null));
  all("[data-held-none]").forEach((node) => show(node, data.held == null));
  all("[data-tone]").forEach((node) => node.classList.toggle("low", data.low));
  all("[data-nudge]").forEach((node) => show(node, data.low));
  project(data.available);
  if (before !== data.available) announce(`Balance: ${data.available} credits`);
}

function earnings(data) {
  if (!(Number(data.version) > earningsVersion)) return;
  earningsVersion = Number(data.version);
  all('[data-balance="earnings"]').forEach((node) => setText(node, data.earnings));
  const amount = micros(data.earnings) ?? 0n;
  all('[data-balance="earnings-usd"]').forEach((node) => setText(node, usd(amount)));
  const some = amount > 0n;
  all("[data-move]").forEach((button) => { button.disabled = !some; });
}

/** "You'll have …" on the package cards follows the balance. */
function project(available) {
  const have = micros(available);
  if (have === null) return;
  all("[data-projected]").forEach((node) => {
    const more = micros(node.dataset.projected);
    if (more !== null) setText(node, grouped(have + more));
  });
}

function market(data) {
  document.dispatchEvent(new CustomEvent("market", { detail: data }));
  for (const row of data.rows ?? []) {
    const slug = CSS.escape(row.slug);
    const line = one(`[data-market-row="${slug}"]`);
    for (const cell of line ? all("[data-field]", line) : []) {
      const name = cell.dataset.field;
      if (!(name in row)) continue;
      setText(cell, row[name] ?? cell.dataset.none ?? "0");
      cell.classList.toggle("none", row[name] == null);
    }
    if (!("best_ask" in row)) continue;
    const option = one(`option[data-name][value="${slug}"]`);
    if (option) {
      const per = row.best_ask != null && option.dataset.unit ? ` per ${option.dataset.unit}` : "";
      setText(option, `${option.dataset.name} · ${offer(row.best_ask)}${per}`);
    }
    const ask = one(`[data-image-ask="${slug}"]`);
    if (ask) {
      const words = row.best_ask == null
        ? "No Island that makes images is online right now; your job would wait for one."
        : `From ${row.best_ask} ${credits(row.best_ask)} at the moment.`;
      setText(ask, words);
    }
  }
}

function offer(ask) {
  return ask == null ? "no Island online" : `from ${ask} ${credits(ask)}`;
}

/** Pages that show the state of a purchase or of the identity check read themselves anew. */
function settled(kind, data) {
  const wish = one('meta[name="reload-on"]');
  if (!wish?.content.split(" ").includes(kind)) return;
  const only = wish.dataset.purchase;
  if (kind === "purchase" && only && data.id && only !== data.id) return;
  // A page that shows a key or token once must not lose it.
  if (one("[data-secret]")) return;
  location.reload();
}
