// The provider's agent, with a configuration file of its own.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Running, remove, temporaryFolder } from "./programs.mjs";

export class Island {
  /** Starts an Island and waits until it serves. */
  static async start({ coordinator, token, upstream, offers }) {
    const island = new Island();
    island.folder = await temporaryFolder();
    island.config = join(island.folder, "island.toml");
    island.fixed = { coordinator, token, upstream };
    await island.offer(offers);
    island.process = new Running("island", ["--config", island.config]);
    await island.process.says(/Connected as /);
    return island;
  }

  /** Writes what is offered into the configuration file; a running Island follows it. */
  offer(offers) {
    const { coordinator, token, upstream } = this.fixed;
    const lines = [
      `coordinator = "${coordinator}"`, `token = "${token}"`, 'region = "eu-south"',
      "[[backend]]", 'kind = "openai"', `base_url = "${upstream}"`,
    ];
    for (const offer of offers) {
      lines.push("[[backend.offer]]", ...Object.entries(offer).map(([key, value]) => `${key} = ${JSON.stringify(value)}`));
    }
    return writeFile(this.config, `${lines.join("\n")}\n`);
  }

  get log() {
    return this.process.log;
  }

  async stop(signal) {
    const ended = await this.process.stop(signal);
    await remove(this.folder);
    return ended;
  }
}
