// Charts: the pointer and the keyboard choose a point, which is marked and read out. Without this they are pictures.

import { all, one, setText } from "./dom.js";

const chosen = new WeakMap();
const frameOf = (event) => event.target.closest?.(".plot-frame");
const spotsOf = (frame) => [...frame.closest(".plot").querySelectorAll("ol > li")];

/** Makes the charts under a node reachable; once for each that comes. */
export function enliven(root = document) {
  for (const frame of all(".plot-frame", root)) {
    frame.tabIndex = 0;
    frame.setAttribute("role", "application");
    frame.setAttribute("aria-roledescription", "chart");
    frame.setAttribute("aria-label", `${frame.dataset.label}. Use the arrow keys to read its points.`);
  }
}

/** Whether somebody is reading a chart under this node. */
export const isRead = (root) => all(".plot-frame", root).some((frame) => frame.matches(":hover, :focus"));

function choose(frame, index, live) {
  const spots = spotsOf(frame);
  if (!spots.length) return;
  const at = Math.min(Math.max(index, 0), spots.length - 1);
  const { x, y } = spots[at].dataset;
  const line = one(".plot-cursor line", frame);
  const dot = one(".plot-cursor circle", frame);
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  dot.setAttribute("cx", x);
  dot.setAttribute("cy", y ?? "100%");
  dot.setAttribute("visibility", y ? "visible" : "hidden");
  const plot = frame.closest(".plot");
  plot.classList.add("chosen");
  const said = one(".plot-said", plot);
  // What the pointer passes over is not read out.
  said.setAttribute("aria-live", live ? "polite" : "off");
  setText(said, spots[at].textContent);
  chosen.set(frame, at);
}

function clear(frame) {
  const plot = frame.closest(".plot");
  plot.classList.remove("chosen");
  const said = one(".plot-said", plot);
  said.setAttribute("aria-live", "off");
  setText(said, said.dataset.summary);
  chosen.delete(frame);
}

function nearest(frame, event) {
  const area = one(".plot-area", frame).getBoundingClientRect();
  const place = ((event.clientX - area.left) / area.width) * 100;
  let best = 0;
  let distance = Infinity;
  spotsOf(frame).forEach((spot, index) => {
    const away = Math.abs(parseFloat(spot.dataset.x) - place);
    if (away < distance) [best, distance] = [index, away];
  });
  return best;
}

function key(event) {
  const frame = frameOf(event);
  if (!frame || event.altKey || event.ctrlKey || event.metaKey) return;
  const count = spotsOf(frame).length;
  const now = chosen.get(frame);
  const next = {
    ArrowRight: now === undefined ? 0 : now + 1,
    ArrowUp: now === undefined ? 0 : now + 1,
    ArrowLeft: (now ?? count) - 1,
    ArrowDown: (now ?? count) - 1,
    PageDown: (now ?? 0) + 10,
    PageUp: (now ?? count) - 10,
    Home: 0,
    End: count - 1,
  }[event.key];
  if (event.key === "Escape" && now !== undefined) clear(frame);
  if (next === undefined) return;
  event.preventDefault();
  choose(frame, next, true);
}

document.addEventListener("pointermove", (event) => {
  const frame = frameOf(event);
  if (frame) choose(frame, nearest(frame, event), false);
});
document.addEventListener("pointerdown", (event) => {
  const frame = frameOf(event);
  if (frame) choose(frame, nearest(frame, event), false);
});
document.addEventListener("pointerout", (event) => {
  const frame = frameOf(event);
  if (frame && !frame.contains(event.relatedTarget) && document.activeElement !== frame) clear(frame);
});
document.addEventListener("focusout", (event) => {
  const frame = frameOf(event);
  if (frame) clear(frame);
});
document.addEventListener("keydown", key);
enliven();
