// What every browser test has: a coordinator and a browser of its own, and an audit of the books after each test.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { PATIENCE } from "./programs.mjs";
import { Server } from "./server.mjs";
import { Visitor } from "./visitor.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SWITCHES = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/**
 * Opens the world of one test file: a server, and a browser unless it can do without. Gives `test(name, story)`,
 * which hands the world to the story, audits the books afterwards, and prints what is needed to understand a failure.
 */
export function world({ demo = true, settings, browser = true } = {}) {
  const the = { server: null, browser: null, contexts: [] };

  before(async () => {
    the.server = await Server.start({ demo, settings });
    if (browser) the.browser = await chromium.launch({ executablePath: CHROMIUM, args: SWITCHES });
  });

  after(async () => {
    await the.browser?.close();
    await the.server?.stop();
  });

  /** A browser of a person of their own: nothing is shared with others. */
  the.context = async (options = {}) => {
    const context = await the.browser.newContext({ baseURL: the.server.url, reducedMotion: "reduce", ...options });
    context.setDefaultTimeout(PATIENCE);
    the.contexts.push(context);
    context.troubles = [];
    context.on("weberror", (error) => context.troubles.push(`script error: ${error.error()}`));
    context.on("console", (message) => {
      // Refusals (402, 403, …) are logged by the browser itself; they are looked at by the tests.
      if (message.type() === "error" && !/Failed to load resource/.test(message.text())) {
        context.troubles.push(`console: ${message.text()}`);
      }
    });
    context.on("response", (response) => {
      if (response.status() >= 500) context.troubles.push(`${response.status()} from ${response.url()}`);
    });
    return context;
  };

  /** A person who is signed in already, in a browser of their own. */
  the.person = async (email, { verified = true, credits = 0, ...options } = {}) => {
    await the.server.createUser(email, { verified });
    if (credits) await the.server.grant(email, credits);
    const visitor = new Visitor(the.server.url);
    await visitor.signIn(email, demo ? undefined : () => the.server.mailedLink(email));
    const context = await the.context(options);
    await context.addCookies(visitor.cookiesForBrowser());
    return context;
  };

  the.test = (name, story) =>
    test(name, async (t) => {
      try {
        await story(the, t);
        await the.server.audit();
        assert.deepEqual(the.contexts.flatMap((context) => context.troubles), [], "the pages ran without errors");
        assert.doesNotMatch(the.server.log, /\b(ERROR|panicked)\b/, "the server logged no error");
      } catch (error) {
        await explain(t, the);
        await the.server.audit().catch((audit) => t.diagnostic(audit.message));
        throw error;
      } finally {
        await Promise.all(the.contexts.splice(0).map((context) => context.close()));
      }
    });

  return the;
}

/** Runs the steps of a story one after the other, each as a test of its own; the first that fails ends it. */
export async function steps(t, list) {
  for (const [name, step] of Object.entries(list)) {
    let failed = true;
    await t.test(name, async () => {
      await step();
      failed = false;
    });
    if (failed) throw new Error(`the story ended at: ${name}`);
  }
}

async function explain(t, { server, contexts }) {
  for (const page of contexts.flatMap((context) => context.pages())) {
    const shown = await page.locator("body").ariaSnapshot({ timeout: 2000 }).catch((error) => error.message);
    t.diagnostic(`page ${page.url()} shows:\n${shown}`);
  }
  t.diagnostic(`the server's log:\n${server.log}`);
}
