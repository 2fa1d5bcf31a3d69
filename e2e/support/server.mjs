// A coordinator of one's own, and the operator's commands beside it.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

import { Running, remove, run, temporaryFolder } from "./programs.mjs";

export class Server {
  /** Starts a coordinator on a free port and an empty data directory, and waits until it is ready. */
  static async start({ demo = true, settings = {} } = {}) {
    const server = new Server();
    server.data = await temporaryFolder();
    const args = ["serve", ...(demo ? ["--demo"] : []), "--listen", "127.0.0.1:0", "--data", server.data];
    server.process = new Running("archipelago", args, settings);
    const [, url] = await server.process.says(/Archipelago is ready: (http:\S+)/);
    server.url = url;
    return server;
  }

  get log() {
    return this.process.log;
  }

  /** An operator's command; gives its answer. */
  async admin(...args) {
    return JSON.parse(await run("archipelago", ["admin", ...args, "--data", this.data, "--json"]));
  }

  createUser(email, { verified = true } = {}) {
    return this.admin("user", "create", "--email", email, ...(verified ? ["--verified"] : []));
  }

  grant(email, credits) {
    return this.admin("grant", "--email", email, "--credits", String(credits), "--note", "Granted by a test");
  }

  user(email) {
    return this.admin("user", "show", "--email", email);
  }

  async apiKey(email) {
    return (await this.admin("api-key", "create", "--email", email, "--name", "test")).key;
  }

  /** The books balance. */
  async audit() {
    try {
      await run("archipelago", ["audit", "--data", this.data]);
    } catch (error) {
      assert.fail(`archipelago audit ended with ${error.code}:\n${error.stdout}${error.stderr}`);
    }
  }

  /** The newest sign-in link mailed to this address, with `mail.transport` set to `file`. */
  async mailedLink(email) {
    const folder = join(this.data, "mail");
    const names = (await readdir(folder)).filter((name) => name.startsWith(`${email}-`) && name.endsWith(".eml"));
    assert.equal(names.length, 1, `mails to ${email}: ${names}`);
    const mail = await readFile(join(folder, names[0]), "utf8");
    assert.match(mail, new RegExp(`^To: ${email}\r$`, "m"));
    return /^http\S+/m.exec(mail)[0];
  }

  /** Stops it as an operator would, and looks at the books once more: nothing may be left open. */
  async stop() {
    const ended = await this.process.stop();
    await this.audit();
    assert.equal(ended, 0, `the coordinator ended with ${ended}:\n${this.log}`);
    await remove(this.data);
  }
}
