// The image page: sending, progress, result, the last ten.

import { post, problem, showProblem } from "./api.js";
import { all, el, one, setText, show } from "./dom.js";
import { quoting } from "./quote.js";
import { cancel, follow, receipt, statusWords } from "./job.js";

const studio = one("[data-image]");
const form = one("[data-image-form]");
const send = one("[data-send]", form);
const stop = one("[data-stop]", form);
const box = one("[data-problem]", studio);
const bar = one("[data-progress]", studio);
const status = one("[data-status]", studio);

let jobId = null;

const source = (id) => `/app/jobs/${encodeURIComponent(id)}/image`;

function busy(on) {
  send.disabled = on;
  stop.disabled = false;
  show(stop, on);
  show(one("[data-making]"), on);
  studio.toggleAttribute("aria-busy", on);
}

function order() {
  const values = form.elements;
  const [width, height] = values.size.value.split("x").map(Number);
  const data = { prompt: values.prompt.value.trim(), width, height, steps: Number(values.steps.value) };
  if (values.negative_prompt.value.trim()) data.negative_prompt = values.negative_prompt.value.trim();
  // As text: a seed may have more digits than a number holds exactly.
  if (values.seed.value.trim()) data.seed = values.seed.value.trim();
  if (values.bid_price.value.trim()) data.bid_price = values.bid_price.value.trim();
  return data;
}

async function submit() {
  const data = order();
  if (!data.prompt) return;
  showProblem(box, null);
  busy(true);
  setText(status, "Sending…");
  bar.removeAttribute("value");
  const reply = await post("/app/image", data);
  if (!reply.ok) {
    busy(false);
    showProblem(box, problem(reply));
    return;
  }
  attach(reply.body.job_id, { prompt: data.prompt, size: `${data.width} × ${data.height}`, seed: data.seed });
}

function attach(id, about) {
  jobId = id;
  busy(true);
  let failure = null;
  follow(id, {
    restart() { failure = null; },
    status(frame) { setText(status, statusWords(frame)); },
    progress(frame) {
      bar.max = frame.total || 1;
      bar.value = frame.step;
      setText(status, `Step ${frame.step} of ${frame.total}`);
    },
    error(frame) { failure = frame; },
    done(frame) { finish(id, about, frame.job ?? {}, failure); },
    lost() {
      busy(false);
      showProblem(box, { text: "The connection to this job was lost. Reload the page to see how it ended." });
    },
  });
}

function finish(id, about, job, failure) {
  jobId = null;
  busy(false);
  if (job.status !== "completed") {
    showProblem(box, ending(job, failure));
    return;
  }
  const seed = job.seed ?? about.seed;
  const line = [about.size, seed == null ? "" : `seed ${seed}`, receipt(job)].filter(Boolean).join(" · ");
  reveal(id, about.prompt, line);
  remember(id, about.prompt, line);
}

function ending(job, failure) {
  if (job.status === "cancelled") return { text: "Stopped.", calm: true };
  if (failure) return problem({ status: /verif/.test(failure.code ?? "") ? 403 : 409, body: { error: { ...failure, message: failure.error } } });
  return { text: "The Island could not finish this image. You were not charged; try again." };
}

/** Shows an image large, with what it was made from. */
function reveal(id, prompt, line) {
  one("[data-frame]").replaceChildren(el("img", { src: source(id), alt: prompt }));
  show(one("[data-caption]"), true);
  setText(one("[data-caption-prompt]"), prompt);
  setText(one("[data-caption] [data-meta]"), line);
  one("[data-download]").href = `${source(id)}?download=1`;
  one("[data-receipt]").href = `/jobs/${encodeURIComponent(id)}`;
}

function remember(id, prompt, line) {
  const list = one("[data-recent]");
  const link = el("a", { href: source(id), "data-thumb": id, "data-prompt": prompt, "data-meta-line": line },
    el("img", { src: source(id), alt: prompt, width: "160", height: "160" }));
  list.prepend(el("li", {}, link));
  while (list.children.length > 10) list.lastElementChild.remove();
  show(one("[data-recent-empty]"), false);
}

const price = quoting(one("[data-quote]"), "/app/image/quote", () => {
  const { width, height, steps, bid_price: bid } = order();
  return bid ? { width, height, steps, bid_price: bid } : { width, height, steps };
});
form.addEventListener("input", price);
price();
form.addEventListener("submit", (event) => { event.preventDefault(); if (!jobId) submit(); });
form.elements.steps.addEventListener("input", (event) => setText(one("[data-steps]"), event.target.value));
stop.addEventListener("click", () => {
  if (!jobId) return;
  stop.disabled = true;
  cancel(jobId);
});
one("[data-recent]").addEventListener("click", (event) => {
  const link = event.target.closest("[data-thumb]");
  if (!link || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  reveal(link.dataset.thumb, link.dataset.prompt, link.dataset.metaLine);
  studio.scrollIntoView({ block: "start" });
});
setText(one("[data-steps]"), form.elements.steps.value);
all("[data-image][data-job-id]").forEach((node) => attach(node.dataset.jobId, { prompt: "", size: "" }));
