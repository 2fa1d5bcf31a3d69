// Follows one job until it is done.

import { post } from "./api.js";
import { credits, shown } from "./money.js";

/**
 * Listens to a job's stream. The stream replays from the start whenever it is (re)opened, so `restart` is
 * called each time. Gives a function that stops listening.
 */
export function follow(jobId, on) {
  const source = new EventSource(`/app/jobs/${encodeURIComponent(jobId)}/stream`);
  const close = () => source.close();
  source.onopen = () => on.restart?.();
  source.onmessage = (event) => {
    let frame;
    try {
      frame = JSON.parse(event.data);
    } catch {
      return;
    }
    if (frame.type === "done") close();
    on[frame.type]?.(frame);
  };
  source.onerror = () => {
    // While it is CONNECTING the browser tries again by itself.
    if (source.readyState === EventSource.CLOSED) on.lost?.();
  };
  return close;
}

export const cancel = (jobId) => post(`/app/jobs/${encodeURIComponent(jobId)}/cancel`);

/** "Waiting for an Island: best ask is 3.00, your bid is 2.00" and its relatives. */
export function statusWords(frame) {
  if (frame.status === "running") return frame.island ? `Running on ${frame.island}` : frame.message ?? "Running";
  if (frame.status !== "waiting") return frame.message ?? "";
  if (frame.best_ask == null) return frame.message ?? "Waiting for an Island: none is free right now";
  const bid = frame.bid == null ? "" : `, your bid is ${shown(frame.bid)}`;
  return `Waiting for an Island: best ask is ${shown(frame.best_ask)}${bid}`;
}

/** "Palma · 2.4 s · 2 credits" */
export function receipt(job) {
  const parts = [];
  if (job.island) parts.push(job.island);
  if (job.seconds != null) parts.push(`${job.seconds} s`);
  if (job.cost != null) parts.push(`${job.cost} ${credits(job.cost)}`);
  return parts.join(" · ");
}
