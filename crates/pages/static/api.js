// Requests to our own server, and its refusals in words.

import { el, one } from "./dom.js";
import { shown } from "./money.js";

/** POSTs JSON. Gives `{ok, status, body}`; never throws. */
export async function post(path, data = {}) {
  const csrf = one('meta[name="csrf"]')?.content ?? "";
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify(data),
    });
    const body = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, body };
  } catch {
    return { ok: false, status: 0, body: {} };
  }
}

/** GETs JSON. Gives `{ok, status, body}`; never throws. */
export async function get(path) {
  try {
    const response = await fetch(path, { headers: { Accept: "application/json" } });
    const body = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, body };
  } catch {
    return { ok: false, status: 0, body: {} };
  }
}

/** What to say about a refused request: a sentence, and a link that helps. */
export function problem({ status, body }) {
  const error = body.error ?? {};
  const message = error.message ?? body.message;
  if (status === 402 || error.code === "insufficient_credits") return short(error, message);
  if (status === 403 && needsVerification(error)) {
    return { text: message ?? "Verify your identity before spending credits.", link: ["/verify", "Verify now"] };
  }
  if (status === 401) return { text: "You are signed out.", link: ["/login", "Sign in again"] };
  if (status === 0) return { text: "The server could not be reached. Check your connection and try again." };
  return { text: message ?? "That did not work. Try again in a moment." };
}

export function needsVerification(error) {
  return /verif/.test(`${error.code ?? ""} ${error.reason ?? ""}`);
}

function short(error, message) {
  const known = error.required != null && error.available != null;
  const text = known
    ? `You need ${shown(error.required)} credits, you have ${shown(error.available)}.`
    : message ?? "You do not have enough credits.";
  return { text, link: ["/credits", "Buy credits"] };
}

/** Places a problem; `null` takes it away. A calm one is news rather than trouble. */
export function showProblem(box, found, ...extra) {
  box.replaceChildren();
  box.hidden = !found;
  box.classList.toggle("calm", Boolean(found?.calm));
  if (!found) return;
  const line = el("p", {}, found.text);
  if (found.link) line.append(" ", el("a", { href: found.link[0] }, found.link[1]));
  box.append(line, ...extra);
}
