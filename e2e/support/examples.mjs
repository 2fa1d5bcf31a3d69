// The examples of the guides: found in the Markdown, run as a reader would run them, compared with what the guide says they print.

import { spawn } from "node:child_process";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";

import { remove, temporaryFolder } from "./programs.mjs";

const FOLDER = fileURLToPath(new URL("../../docs/api", import.meta.url));
const HERE = fileURLToPath(new URL("..", import.meta.url));
/** What stands in the guides for the address of the server. */
const BASE_URL = "https://archipelago.example";
/** Printed between the examples of a page. */
const MARK = "--8<-- example ends --8<--";
const PATIENCE = 60_000;

/** All guides: `{name, text, blocks}`. */
export async function guides() {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith(".md")).sort();
  return Promise.all(names.map(async (name) => {
    const text = await readFile(join(FOLDER, name), "utf8");
    return { name: name.slice(0, -3), text, blocks: blocks(text) };
  }));
}

/** Blocks of code: `{language, run, why, code, output, line}`; `output` belongs to the block before it. */
export function blocks(text) {
  const found = [];
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    const open = /^(`{3,})(\w*)\s*(.*)$/.exec(lines[at]);
    if (!open) continue;
    const start = at + 1;
    do at += 1; while (at < lines.length && lines[at] !== open[1]);
    const code = lines.slice(start, at).join("\n");
    const [language, note] = [open[2], open[3].trim()];
    if (language === "output") found.at(-1).output = code;
    else found.push({ language, run: note === "run", why: /^not-run: (.{10,})$/.exec(note)?.[1], code, line: start });
  }
  return found;
}

/** Where a page's examples of one language go, and how they are run: one after the other, in the same session. */
const LANGUAGES = {
  bash: {
    file: "examples.sh",
    // Each example must work by itself; a pipe that breaks counts.
    join: (parts) => `set -euo pipefail\n${parts.map((part) => `${part}\necho; echo '${MARK}'`).join("\n")}\n`,
    command: (file) => ["bash", [file]],
  },
  python: {
    file: "examples.py",
    join: (parts) => parts.map((part) => `${part}\nprint("\\n${MARK}", flush=True)`).join("\n"),
    command: (file) => [process.env.ARCHIPELAGO_PYTHON ?? "python3", [file]],
  },
  javascript: {
    file: "examples.mjs",
    join: (parts) => parts.map((part) => `${part}\nconsole.log("\\n${MARK}");`).join("\n"),
    command: (file) => [process.execPath, [file]],
  },
};

/** Runs all examples of a page in one language. Gives `{block, printed}` for each; throws when they break. */
export async function runAll(page, language, { url, key }) {
  const chosen = page.blocks.filter((block) => block.run && block.language === language);
  if (chosen.length === 0) return [];
  const { file, join: whole, command } = LANGUAGES[language];
  // Below the folder of the tests, so that the packages of the tests are found.
  const folder = language === "javascript" ? join(HERE, "node_modules", `.examples-${process.pid}`) : await temporaryFolder();
  if (language === "javascript") await mkdir(folder, { recursive: true });
  try {
    const path = join(folder, file);
    await writeFile(path, whole(chosen.map((block) => block.code.replaceAll(BASE_URL, url))));
    const [program, args] = command(path);
    const { printed, error } = await output(program, args, {
      cwd: folder,
      env: { ...process.env, ARCHIPELAGO_API_KEY: key, PYTHONUTF8: "1" },
    });
    const parts = printed.split(MARK);
    if (error || parts.length !== chosen.length + 1) {
      const broken = chosen[Math.min(parts.length - 1, chosen.length - 1)];
      throw new Error(`docs/api/${page.name}.md, line ${broken.line}: the ${language} example broke: ${error}\n${printed}`);
    }
    return chosen.map((block, index) => ({ block, printed: parts[index].trim() }));
  } finally {
    await remove(folder);
  }
}

/** Runs a program to its end. */
function output(program, args, options) {
  return new Promise((done) => {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let printed = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text) => { printed += text; });
    child.stderr.setEncoding("utf8").on("data", (text) => { errors += text; });
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE);
    const end = (error) => {
      clearTimeout(timer);
      done({ printed, error });
    };
    child.on("error", (error) => end(String(error)));
    child.on("close", (code, signal) => end(code === 0 ? "" : `ended with ${signal ?? code}:\n${errors}`));
  });
}

/** Whether what was printed is what the guide says; `…` stands for anything. The fields of JSON may come in any order. */
export function matches(expected, printed) {
  const [wanted, got] = [expected.trim(), printed.replaceAll("\r", "").trim()];
  const json = parsed(got);
  if (json !== undefined && !wanted.includes("…")) return isDeepStrictEqual(parsed(wanted), json);
  const parts = wanted.split("…");
  if (json !== undefined) return parts.every((part) => got.includes(part.replace(/^[\s{}[\],]+|[\s{}[\],]+$/g, "")));
  return new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[\\s\\S]*?")}$`).test(got);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
