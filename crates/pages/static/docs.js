// The documentation: the filter of the overview, one language for all examples of a page, copying, and "Try it".

import { all, announce, copy, one, setText, show } from "./dom.js";

const side = one("[data-docs-side]");
// On a wide window it is always shown; for programs that read pages aloud it is then open, too.
if (side && matchMedia("(min-width: 64rem)").matches) {
  side.open = true;
  // The page that is shown may stand far down in a list that scrolls by itself.
  const current = one('[aria-current="page"]', side);
  const list = side.parentElement;
  if (current && current.offsetTop > list.clientHeight / 2) list.scrollTop = current.offsetTop - list.clientHeight / 3;
}

/** The overview shows what has all the words. */
function filtering(form) {
  const found = one("[data-docs-found]");
  const entries = all("[data-words]");
  const filter = () => {
    const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const entry of entries) {
      const fits = words.every((word) => entry.dataset.words.includes(word));
      show(entry, fits);
      if (fits) count += 1;
    }
    setText(found, words.length ? `${count} found` : "");
  };
  form.elements.q.addEventListener("input", filter);
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
}

/** Who chooses a language once wants it everywhere on the page. */
function choose(input) {
  const { top } = input.getBoundingClientRect();
  for (const other of all(`.tabs > input[data-language="${CSS.escape(input.dataset.language)}"]`)) other.checked = true;
  // What was chosen stays under the pointer while examples above it change their height.
  scrollBy(0, input.getBoundingClientRect().top - top);
}

/** The code that is shown beside a copy button. */
function codeOf(button) {
  const shown = all("pre:not(.output) > code", button.closest(".code")).find((code) => code.getClientRects().length);
  return shown?.textContent ?? "";
}

const KEY = "docs-key";
const keyField = one("#try-key");

function rememberKey() {
  try {
    if (keyField.value) sessionStorage.setItem(KEY, keyField.value.trim());
    else sessionStorage.removeItem(KEY);
  } catch {
    // Storage is switched off: the field alone remembers.
  }
}

/** What a form says, as a request. Throws words for people. */
function requestOf(form) {
  const { method, needsKey, media } = form.dataset;
  const headers = {};
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const field of all("[data-in]", form)) {
    const value = field.value.trim();
    const { in: place, name } = field.dataset;
    if (place === "path") {
      if (!value) throw new Error(`${name} is missing.`);
      // A name with a slash in it is a part of the path as it stands.
      path = path.replace(`{${name}}`, value.split("/").map(encodeURIComponent).join("/"));
    } else if (value) {
      if (place === "query") query.append(name, value);
      else headers[name] = value;
    }
  }
  if (needsKey !== undefined) {
    const key = keyField.value.trim();
    if (!key) throw new Error("Paste an API key at the top of the page first.");
    headers.Authorization = `Bearer ${key}`;
  }
  const body = one("[data-body]", form)?.value;
  if (body !== undefined) {
    if (/json/.test(media)) check(body);
    headers["Content-Type"] = media;
  }
  const search = query.toString();
  return [path + (search && `?${search}`), { method, headers, body, credentials: "omit", cache: "no-store" }];
}

function check(body) {
  try {
    JSON.parse(body);
  } catch (error) {
    throw new Error(`The body is not JSON: ${error.message}`);
  }
}

/** Sends the request of a form and shows the answer as it comes. */
async function send(form) {
  const [problem, answer, status, headers, body, stop] =
    ["problem", "answer", "status", "headers", "body"].map((name) => one(`[data-try-${name}]`, form))
      .concat(one("[data-stop]", form));
  setText(problem, "");
  let request;
  try {
    request = requestOf(form);
  } catch (error) {
    setText(problem, error.message);
    return;
  }
  const abort = new AbortController();
  form.stopping = abort;
  show(answer, true);
  status.className = "try-status num";
  setText(status, "Waiting for the answer …");
  setText(headers, "");
  setText(body, "");
  show(stop, true);
  const started = performance.now();
  try {
    const response = await fetch(request[0], { ...request[1], signal: abort.signal });
    status.classList.add(response.ok ? "good" : "bad");
    const took = () => `${response.status} ${response.statusText} · ${Math.round(performance.now() - started)} ms`;
    setText(status, took());
    setText(headers, [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n"));
    await read(response, body);
    setText(status, took());
  } catch (error) {
    if (abort.signal.aborted) setText(status, "Stopped.");
    else setText(problem, `The request did not get through: ${error.message}`);
  } finally {
    show(stop, false);
  }
}

/** Most characters of an answer that are shown. */
const MOST = 200_000;

async function read(response, body) {
  const type = response.headers.get("content-type") ?? "";
  if (!/json|text|csv/.test(type)) {
    const { size } = await response.blob();
    setText(body, size ? `(${size} bytes of ${type || "something"})` : "(no body)");
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const streaming = /event-stream/.test(type);
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    if (streaming) setText(body, text.slice(-MOST));
  }
  if (!streaming) setText(body, pretty(text));
}

/** JSON with line breaks. Numbers keep the digits they came with. */
function pretty(text) {
  if (text.length > MOST) return `${text.slice(0, MOST)}\n… (${text.length - MOST} more characters)`;
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let out = "";
  let depth = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "}" || token === "]") {
      depth -= 1;
      out = /[{[]$/.test(out.trimEnd()) ? out.trimEnd() : `${out}\n${"  ".repeat(depth)}`;
      out += token;
    } else if (token === "{" || token === "[") {
      depth += 1;
      out += `${token}\n${"  ".repeat(depth)}`;
    } else if (token === ",") out += `,\n${"  ".repeat(depth)}`;
    else out += token === ":" ? ": " : token;
  }
  return out;
}

const search = one("[data-docs-search]");
if (search) filtering(search);

document.addEventListener("change", (event) => {
  if (event.target.matches(".tabs > input")) choose(event.target);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches("[data-copy-code]")) copy(codeOf(button), button);
  if (button?.matches("[data-stop]")) button.form.stopping?.abort();
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-try] > form")) return;
  event.preventDefault();
  send(event.target);
});
if (keyField) {
  try {
    keyField.value = sessionStorage.getItem(KEY) ?? "";
  } catch {
    // As above.
  }
  keyField.addEventListener("input", rememberKey);
  one("[data-try-key]").addEventListener("submit", (event) => event.preventDefault());
  one("[data-forget-key]").addEventListener("click", () => {
    keyField.value = "";
    rememberKey();
    announce("Forgotten");
    keyField.focus();
  });
}
