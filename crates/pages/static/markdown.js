// A little markdown as DOM nodes. What is not understood stays text; markup in the text is never interpreted.

import { el } from "./dom.js";

/** Replaces the content of `box` by the rendered text. */
export function render(box, text) {
  box.replaceChildren(...blocks(text.replace(/\r\n?/g, "\n").split("\n")));
}

function blocks(lines) {
  const out = [];
  let at = 0;
  while (at < lines.length) {
    const [node, next] = fence(lines, at) ?? list(lines, at) ?? heading(lines, at) ?? paragraph(lines, at);
    if (node) out.push(node);
    at = next;
  }
  return out;
}

function fence(lines, at) {
  const start = /^\s{0,3}(`{3,})\s*([\w+#.-]*)/.exec(lines[at]);
  if (!start) return null;
  let end = at + 1;
  while (end < lines.length && !lines[end].trimStart().startsWith(start[1])) end += 1;
  const code = el("code", {}, lines.slice(at + 1, end).join("\n"));
  const figure = el("figure", { class: "code" });
  if (start[2]) figure.append(el("figcaption", {}, start[2]));
  figure.append(el("pre", { tabindex: "0" }, code));
  return [figure, end + 1];
}

const ITEM = /^\s*(?:([-*•])|(\d{1,9})[.)])\s+(.*)$/;

function list(lines, at) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const numbered = first[2] !== undefined;
  const node = el(numbered ? "ol" : "ul", numbered && first[2] !== "1" ? { start: first[2] } : {});
  let next = at;
  for (; next < lines.length; next += 1) {
    const item = ITEM.exec(lines[next]);
    if (item && (item[2] !== undefined) === numbered) node.append(el("li", {}, ...inline(item[3])));
    else if (/^\s{2,}\S/.test(lines[next]) && !item) node.lastChild.append(el("br"), ...inline(lines[next].trim()));
    else break;
  }
  return [node, next];
}

function heading(lines, at) {
  const found = /^#{1,6}\s+(.*?)\s*#*$/.exec(lines[at]);
  return found ? [el("p", { class: "md-heading" }, ...inline(found[1])), at + 1] : null;
}

function paragraph(lines, at) {
  if (lines[at].trim() === "") return [null, at + 1];
  const node = el("p");
  let next = at;
  while (next < lines.length && lines[next].trim() !== "" && (next === at || !starts(lines[next]))) {
    if (next > at) node.append(el("br"));
    node.append(...inline(lines[next]));
    next += 1;
  }
  return [node, next];
}

const starts = (line) => /^\s{0,3}`{3,}/.test(line) || ITEM.test(line) || /^#{1,6}\s/.test(line);

const INLINE = /(`+)([^`]+?)\1|\*\*([^\n]+?)\*\*|\*([^\s*](?:[^*\n]*[^\s*])?)\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>()]*[^\s<>().,;:!?"'])/g;

function inline(text) {
  const out = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > last) out.push(text.slice(last, match.index));
    if (match[2] !== undefined) out.push(el("code", {}, match[2]));
    else if (match[3] !== undefined) out.push(el("strong", {}, ...inline(match[3])));
    else if (match[4] !== undefined) out.push(el("em", {}, match[4]));
    else if (match[6] !== undefined) out.push(link(match[6], match[5]));
    else out.push(link(match[7], match[7]));
    last = match.index + match[0].length;
  }
  if (last < text.length) out.push(text.slice(last));
  return out;
}

function link(href, words) {
  return el("a", { href, rel: "noopener nofollow", target: "_blank" }, words);
}
