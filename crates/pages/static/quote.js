// What a job would cost and how long it would wait, shown before it is sent.

import { get } from "./api.js";
import { setText } from "./dom.js";
import { credits, shown } from "./money.js";

/** How long nothing must have been typed before the server is asked, in milliseconds. */
const PAUSE = 400;

/**
 * Keeps a line up to date: `request` gives what is asked, or nothing while there is nothing to ask.
 * Gives a function to be called whenever something was changed.
 */
export function quoting(line, path, request) {
  let timer = 0;
  let number = 0;
  const ask = async () => {
    const data = request();
    const mine = ++number;
    if (!data) return setText(line, "");
    const reply = await get(`${path}?${new URLSearchParams(data)}`);
    // An answer that was overtaken by a later question says nothing any more.
    if (mine === number) setText(line, reply.ok ? words(reply.body) : "");
  };
  return () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  };
}

/** "About 1.20 credits, at most 2.40 · starts at once" and its relatives. */
export function words(quote) {
  const most = `${shown(quote.worst_case)} ${credits(quote.worst_case)}`;
  if (!quote.available) {
    if (quote.best_ask == null) return "No Island could run this right now: it would wait. Nothing is held while it waits.";
    return `Would wait: the cheapest Island needs a max price of ${shown(quote.needed ?? quote.best_ask)}, yours is ${shown(quote.bid)}.`;
  }
  const cost = quote.expected == null || quote.expected === quote.worst_case
    ? `Costs ${quote.expected == null ? "at most " : ""}${most}`
    : `About ${shown(quote.expected)}, at most ${most}`;
  return `${cost} · ${wait(quote.wait_secs)}`;
}

function wait(seconds) {
  if (seconds === 0) return "starts at once";
  if (seconds == null) return "all Islands within your price are busy";
  return seconds < 90 ? `waits about ${seconds} s` : `waits about ${Math.round(seconds / 60)} min`;
}
