// Pages of the market follow it: their parts are read again from the server and put in place of the old ones.

import { all, one } from "./dom.js";
import { enliven, isRead } from "./plot.js";

const cargo = one("[data-cargo]")?.dataset.cargo;
// A table of all Cargos has its numbers from the stream; only its small lines are read again.
const wish = Number(one("[data-refresh]")?.dataset.refresh);
const PAUSE = cargo ? 3_000 : wish || 60_000;
// Who is not signed in has no stream.
const LOOK = 20_000;

let due = 0;
let last = Date.now();

async function refresh() {
  due = 0;
  last = Date.now();
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of all("[data-part]")) {
      const now = one(`[data-part="${CSS.escape(part.dataset.part)}"]`, fresh);
      // Nobody is interrupted in reading, typing or choosing.
      const busy = isRead(part) || part.contains(document.activeElement) || all("input", part).some((input) => input.value !== input.defaultValue);
      if (!now || busy || now.innerHTML === part.dataset.was) continue;
      part.dataset.was = now.innerHTML;
      part.replaceChildren(...now.childNodes);
      enliven(part);
    }
  } catch {
    // The next change of the market tries again.
  }
}

function soon() {
  if (!due) due = setTimeout(refresh, Math.max(0, last + PAUSE - Date.now()));
}

document.addEventListener("market", ({ detail }) => {
  if (!cargo || detail.rows?.some((row) => row.slug === cargo)) soon();
});
if (!document.body.dataset.live) setInterval(() => { if (!document.hidden) soon(); }, LOOK);
