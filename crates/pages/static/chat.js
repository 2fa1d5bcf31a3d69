// The chat page: sending, streaming, stopping, asking again.

import { post, problem, showProblem } from "./api.js";
import { all, copy, el, one, setText, show } from "./dom.js";
import { cancel, follow, receipt, statusWords } from "./job.js";
import { render } from "./markdown.js";
import { quoting } from "./quote.js";

const chat = one("[data-chat]");
const log = one("[data-log]");
const form = one("[data-composer]");
const field = form.elements.message;
const stop = one("[data-stop]", form);
const send = one("[data-send]", form);

/** The job that is being followed: `{id, answer}`. One at a time. */
let current = null;

function busy(job) {
  current = job;
  show(stop, job !== null);
  show(send, job === null);
  stop.disabled = false;
}

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

function userTurn(text) {
  return el("article", { class: "turn user" }, el("h2", { class: "sr" }, "You"), el("div", { class: "said" }, text));
}

function answerTurn() {
  return el("article", { class: "turn answer", "aria-busy": "true" },
    el("h2", { class: "sr" }, "Answer"),
    el("div", { class: "said", "data-md": true }),
    el("div", { class: "problem", "data-problem": true, hidden: true }),
    el("footer", {},
      el("span", { class: "meta num", "data-meta": true }),
      el("a", { class: "text-button", href: "/chat", "data-receipt": true, hidden: true }, "Receipt"),
      el("button", { class: "text-button", type: "button", "data-copy-answer": true, hidden: true }, "Copy"),
      el("button", { class: "text-button", type: "button", "data-again": true, hidden: true }, "Regenerate")));
}

/** Sends what is in the composer. */
async function submit() {
  const text = field.value.trim();
  if (!text || current) return;
  const question = userTurn(text);
  const answer = answerTurn();
  all("[data-again]").forEach((button) => show(button, false));
  all("[data-unsent]").forEach((node) => node.remove());
  show(one("[data-starters]"), false);
  log.append(question, answer);
  field.value = "";
  fit();
  toEnd();
  busy({ id: null, answer });
  setText(one("[data-meta]", answer), "Sending…");
  const request = { workload: form.elements.workload.value, message: text };
  if (chat.dataset.conversation) request.conversation_id = chat.dataset.conversation;
  const bid = form.elements.bid_price.value.trim();
  if (bid) request.bid_price = bid;
  const reply = await post("/app/chat", request);
  if (!reply.ok) {
    refused(question, answer, text, reply);
    return;
  }
  adopt(reply.body);
  answer.dataset.answer = reply.body.answer_id;
  attach(answer, reply.body.job_id);
}

/** The server took nothing: the words go back where they can be sent again. */
function refused(question, answer, text, reply) {
  question.remove();
  answer.dataset.unsent = "1";
  answer.removeAttribute("aria-busy");
  setText(one("[data-meta]", answer), "");
  showProblem(one("[data-problem]", answer), problem(reply));
  if (!field.value) field.value = text;
  fit();
  busy(null);
  offerAgain();
  field.focus();
  toEnd();
}

/** A first message makes a conversation: it gets its address and its place in the list. */
function adopt({ conversation_id: id, title }) {
  if (!id || chat.dataset.conversation === id) return;
  chat.dataset.conversation = id;
  const href = `/chat/${encodeURIComponent(id)}`;
  history.replaceState(null, "", href);
  const words = title || "New chat";
  setText(one("[data-title]"), words);
  document.title = `${words} · Archipelago`;
  all("[data-list] [aria-current]").forEach((link) => link.removeAttribute("aria-current"));
  one("[data-list]").prepend(el("li", {}, el("a", { href, "aria-current": "page" }, words)));
  show(one("[data-list-empty]"), false);
  const remove = one("[data-delete]");
  remove.action = `${href}/delete`;
  show(remove, true);
}

/** Follows a job and writes what it says into the answer. */
function attach(answer, jobId) {
  const said = one("[data-md]", answer);
  const meta = one("[data-meta]", answer);
  const box = one("[data-problem]", answer);
  let text = "";
  let failure = null;
  let drawing = 0;
  const draw = () => {
    drawing = 0;
    const follows = atEnd();
    render(said, text);
    if (follows) toEnd();
  };
  answer.setAttribute("aria-busy", "true");
  showProblem(box, null);
  busy({ id: jobId, answer });
  follow(jobId, {
    restart() { text = ""; failure = null; },
    status(frame) { waiting(frame, meta, box, jobId); },
    token(frame) {
      text += frame.content ?? "";
      drawing ||= requestAnimationFrame(draw);
    },
    error(frame) { failure = frame; },
    done(frame) {
      cancelAnimationFrame(drawing);
      const job = frame.job ?? {};
      if (typeof job.output === "string" && job.output) text = job.output;
      draw();
      finish(answer, job, failure);
    },
    lost() {
      finish(answer, { status: "failed" }, { error: "The connection to this job was lost. Reload the page to see how it ended." });
    },
  });
}

function waiting(frame, meta, box, jobId) {
  const follows = atEnd();
  const words = statusWords(frame);
  if (frame.status === "waiting") {
    const button = el("button", { class: "text-button", type: "button" }, "Cancel");
    button.addEventListener("click", () => { button.disabled = true; cancel(jobId); });
    setText(meta, "");
    const more = el("a", { class: "text-button", href: `/jobs/${encodeURIComponent(jobId)}` }, "Raise the bid");
    showProblem(box, { text: words, calm: true }, more, button);
  } else {
    showProblem(box, null);
    setText(meta, words);
  }
  if (follows) toEnd();
}

function finish(answer, job, failure) {
  const box = one("[data-problem]", answer);
  showProblem(box, ending(job, failure));
  setText(one("[data-meta]", answer), receipt(job));
  answer.removeAttribute("aria-busy");
  answer.dataset.failed = String(job.status !== "completed");
  delete answer.dataset.jobId;
  const link = one("[data-receipt]", answer);
  show(link, Boolean(job.id));
  if (job.id) link.href = `/jobs/${encodeURIComponent(job.id)}`;
  show(one("[data-copy-answer]", answer), one("[data-md]", answer).textContent !== "");
  busy(null);
  offerAgain();
  toEnd();
}

function ending(job, failure) {
  if (job.status === "completed") return null;
  if (job.status === "cancelled") return { text: "Stopped.", calm: true };
  if (failure) return problem({ status: /verif/.test(failure.code ?? "") ? 403 : 409, body: { error: { ...failure, message: failure.error } } });
  if (job.status === "timeout") return { text: "No Island took the job in time. Raise your max price, or try again." };
  return { text: "The Island could not finish. You were not charged for what was not delivered." };
}

/** Only the last answer can be asked for again. */
function offerAgain() {
  const answers = all("[data-answer]", log);
  answers.forEach((answer, index) => {
    const button = one("[data-again]", answer);
    const last = index === answers.length - 1;
    show(button, last && !current);
    if (answer.dataset.failed) setText(button, answer.dataset.failed === "true" ? "Retry" : "Regenerate");
  });
}

async function again(answer) {
  if (current) return;
  busy({ id: null, answer });
  show(one("[data-again]", answer), false);
  const reply = await post(`/app/chat/answers/${encodeURIComponent(answer.dataset.answer)}/again`);
  if (!reply.ok) {
    busy(null);
    showProblem(one("[data-problem]", answer), problem(reply));
    offerAgain();
    return;
  }
  answer.dataset.answer = reply.body.answer_id ?? answer.dataset.answer;
  answer.dataset.text = "";
  render(one("[data-md]", answer), "");
  show(one("[data-copy-answer]", answer), false);
  setText(one("[data-meta]", answer), "Sending…");
  attach(answer, reply.body.job_id);
}

/** The composer grows with its text, up to what the style sheet allows. */
function fit() {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

const price = quoting(one("[data-quote]"), "/app/chat/quote", () => {
  const text = field.value.trim();
  if (!text) return null;
  const data = { workload: form.elements.workload.value, bytes: new TextEncoder().encode(text).length };
  if (chat.dataset.conversation) data.conversation_id = chat.dataset.conversation;
  const bid = form.elements.bid_price.value.trim();
  return bid ? { ...data, bid_price: bid } : data;
});

/** The max price becomes the user's own for this Cargo, or the Cargo's again. */
async function keepBid(button) {
  const bid = form.elements.bid_price.value.trim();
  const slug = form.elements.workload.value;
  const reply = await post(`/app/bids/${encodeURIComponent(slug)}`, bid ? { bid_price: bid } : {});
  const done = bid ? "Kept" : "Reset";
  setText(button, reply.ok ? done : problem(reply).text);
  setTimeout(() => setText(button, "Keep for this Cargo"), 2500);
  if (reply.ok) chosen().dataset.ownBid = bid;
  showOwnBid();
  price();
}

const chosen = () => form.elements.workload.selectedOptions[0];

/** What holds when the field is left empty. */
function showOwnBid() {
  const { ownBid, unit } = chosen()?.dataset ?? {};
  // What is kept is for each unit; where that is not a request, this field means something else: see the settings.
  form.elements.bid_price.placeholder = (!unit && ownBid) || "usual";
  show(one("[data-keep-bid]", form), !unit);
}

field.addEventListener("input", fit);
form.addEventListener("input", price);
form.elements.workload.addEventListener("change", showOwnBid);
showOwnBid();
one("[data-keep-bid]", form).addEventListener("click", (event) => keepBid(event.currentTarget));
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
stop.addEventListener("click", () => {
  if (!current?.id) return;
  stop.disabled = true;
  cancel(current.id);
});
log.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const answer = button.closest(".turn");
  if (button.matches("[data-starter]")) {
    field.value = button.textContent;
    fit();
    field.focus();
  } else if (button.matches("[data-copy-answer]")) {
    copy(one("[data-md]", answer).innerText, button);
  } else if (button.matches("[data-again]")) {
    again(answer);
  }
});

all("[data-md]", log).forEach((box) => render(box, box.textContent));
all("[data-job-id]", log).forEach((answer) => attach(answer, answer.dataset.jobId));
const listing = one("[data-conversations]");
if (matchMedia("(min-width: 64rem)").matches) listing.open = true;
toEnd();
