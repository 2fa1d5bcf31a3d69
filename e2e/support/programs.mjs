// The programs under test: where they are, how they are started, asked and stopped.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const FOLDER = process.env.ARCHIPELAGO_BIN_DIR ?? fileURLToPath(new URL("../../target/debug", import.meta.url));

/** How long a program may take to start, to stop, or to come to what is waited for. */
export const PATIENCE = Number(process.env.E2E_PATIENCE_MS ?? 30_000);

/** The environment of this process without settings that would change what the programs do. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(ARCHIPELAGO_|ISLAND_|RUST_LOG)/.test(name)),
);

export function program(name) {
  const path = join(FOLDER, name);
  if (!existsSync(path)) throw new Error(`${path} is not there; build it with: cargo build --workspace --bins`);
  return path;
}

/** Runs a program to its end. Gives what it printed; throws, with all it printed, when it ends with anything but 0. */
export async function run(name, args) {
  const { stdout } = await promisify(execFile)(program(name), args, { env: environment, timeout: PATIENCE });
  return stdout;
}

export function temporaryFolder() {
  return mkdtemp(join(tmpdir(), "archipelago-e2e-"));
}

export const remove = (folder) => rm(folder, { recursive: true, force: true });

/** A program that runs until it is stopped. Keeps every line it prints. */
export class Running {
  lines = [];
  #waiting = new Set();

  constructor(name, args, settings = {}) {
    this.name = name;
    this.process = spawn(program(name), args, {
      env: { ...environment, ...settings },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#heard(line));
    }
    this.exit = once(this.process, "close").then(([code, signal]) => {
      this.ended = signal ?? code;
      this.#heard(`(${name} ended: ${this.ended})`);
      return this.ended;
    });
  }

  #heard(line) {
    // Colours are for terminals.
    this.lines.push(line.replace(/\x1b\[[0-9;]*m/g, ""));
    for (const look of this.#waiting) look();
  }

  /** The number of lines so far, to wait for a line that comes after now. */
  get mark() {
    return this.lines.length;
  }

  get log() {
    return this.lines.join("\n");
  }

  /** Waits for a line that matches; gives the match. */
  says(pattern, from = 0) {
    return new Promise((done, fail) => {
      const end = (finish, value) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        finish(value);
      };
      const look = () => {
        const match = this.lines.slice(from).map((line) => pattern.exec(line)).find(Boolean);
        if (match) end(done, match);
        else if (this.ended !== undefined) end(fail, new Error(`${this.name} ended before it said ${pattern}:\n${this.log}`));
      };
      const timer = setTimeout(
        () => end(fail, new Error(`${this.name} did not say ${pattern} in ${PATIENCE} ms:\n${this.log}`)),
        PATIENCE,
      );
      this.#waiting.add(look);
      look();
    });
  }

  /** Asks it to stop and waits; gives what it ended with. One that does not stop is killed, and that is told. */
  async stop(signal = "SIGINT") {
    if (this.ended !== undefined) return this.ended;
    this.process.kill(signal);
    const timer = setTimeout(() => this.process.kill("SIGKILL"), PATIENCE);
    const ended = await this.exit;
    clearTimeout(timer);
    return ended;
  }
}
