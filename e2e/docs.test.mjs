// The documentation: every example of the guides is run, every operation is in the reference, and what can be tried works.

import assert from "node:assert/strict";

import { blocks, guides, matches, runAll } from "./support/examples.mjs";
import { Island } from "./support/island.mjs";
import { sees } from "./support/see.mjs";
import { Upstream } from "./support/upstream.mjs";
import { world } from "./support/world.mjs";

const the = world();
const PAGES = await guides();

/** Somebody who may spend, with a key. */
async function reader(server, email, credits = 500) {
  await server.createUser(email);
  await server.grant(email, credits);
  return server.apiKey(email);
}

/** What a page needs beside the demo's Islands. */
const STAGES = {
  // The demo calls no tools. This Island has a model that does, and is the cheapest of its Cargo.
  async tools(server) {
    const owner = "keeper@example.org";
    await server.createUser(owner);
    const { token } = await server.admin("island-token", "create", "--email", owner, "--name", "Toolshed");
    const upstream = await Upstream.start();
    const offers = [{ workload: "llm-chat-hq", ask: "1", slots: 4, models: ["tiny"] }];
    const island = await Island.start({ coordinator: server.url, token, upstream: upstream.url, offers });
    return async () => {
      assert.equal(await island.stop(), 0, `the Island ended well:\n${island.log}`);
      await upstream.stop();
    };
  },
};

for (const page of PAGES) {
  the.test(`the examples of ${page.name}.md do what it says`, async ({ server }) => {
    const clear = await STAGES[page.name]?.(server);
    try {
      for (const language of ["bash", "python", "javascript"]) {
        // Each language has a reader of its own, who begins with the same credits.
        const key = await reader(server, `${page.name}-${language}@example.org`);
        for (const { block, printed } of await runAll(page, language, { url: server.url, key })) {
          if (block.output === undefined) continue;
          const at = `docs/api/${page.name}.md, line ${block.line}`;
          assert.ok(matches(block.output, printed), `${at}: should print\n${block.output}\nand prints\n${printed}`);
        }
      }
    } finally {
      await clear?.();
    }
  });
}

the.test("an example that is not run says why", async () => {
  const all = PAGES.flatMap((page) => page.blocks.map((block) => ({ page, ...block })));
  const examples = all.filter(({ language }) => /^(bash|sh|python|javascript)$/.test(language));
  for (const { page, run, why, line } of examples) {
    assert.ok(run || why, `docs/api/${page.name}.md, line ${line}: mark it "run", or "not-run: " and the reason`);
  }
  const run = examples.filter((example) => example.run);
  assert.ok(run.length >= 40, `${run.length} examples are run`);
  assert.ok(examples.length - run.length <= run.length / 6, "nearly all examples are run");
  for (const { page, output, line } of run) assert.ok(output !== undefined, `docs/api/${page.name}.md, line ${line}: says what it prints`);
});

the.test("blocks are found as they are written", async () => {
  const found = blocks("```bash run\na\n```\n```output\n1 … 2\n```\ntext\n```python not-run: it never ends by itself\nb\n```\n");
  assert.deepEqual(found.map(({ language, run, why, output }) => [language, run, why, output]), [
    ["bash", true, undefined, "1 … 2"],
    ["python", false, "it never ends by itself", undefined],
  ]);
  assert.ok(matches("1 … 2", "1 and 2") && matches("a…c", "a\nb\nc") && !matches("1 x", "1 x2") && !matches("a…c", "a b"));
  assert.ok(matches('{"a":1,…"b":2…}', '{"b":2,"c":3,"a":1}') && matches('{"a":1,"b":2}', '{"b":2,"a":1}'), "JSON in any order");
  assert.ok(!matches('{"a":1…}', '{"a":"1"}') && !matches('{"a":1}', '{"a":1,"b":2}'));
});

/** All addresses that a page links to, without their anchors' pages being loaded twice. */
const links = (page) => page.$$eval("main a[href], .docs-side a[href]", (all) => all.map((one) => one.getAttribute("href")));

the.test("no link leads nowhere", async ({ context }) => {
  const browser = await context();
  const page = await browser.newPage();
  const [open, anchors, missing] = [["/docs"], new Map(), []];
  const seen = new Set(open);
  const wanted = [];
  while (open.length) {
    const path = open.pop();
    const answer = await page.goto(path);
    if (answer.status() !== 200) missing.push(`${answer.status()} ${path}`);
    anchors.set(path, new Set(await page.$$eval("[id]", (all) => all.map((one) => one.id))));
    for (const href of await links(page)) {
      if (/^(https?|mailto):/.test(href)) continue;
      const { pathname, hash, search } = new URL(href, `http://x${path}`);
      if (hash) wanted.push([path, pathname, decodeURIComponent(hash.slice(1))]);
      if (seen.has(pathname) || search) continue;
      seen.add(pathname);
      if (pathname.startsWith("/docs")) open.push(pathname);
      else {
        // Pages of members lead visitors to the login; that they are there is enough.
        const { status } = await fetch(new URL(pathname, the.server.url), { redirect: "manual" });
        if (![200, 303].includes(status)) missing.push(`${status} ${pathname}, linked from ${path}`);
      }
    }
  }
  for (const [from, to, anchor] of wanted) {
    if (anchors.has(to) && !anchors.get(to).has(anchor)) missing.push(`${to}#${anchor}, linked from ${from}`);
  }
  assert.deepEqual(missing, []);
  assert.ok(anchors.size >= 20, `${anchors.size} pages were seen`);
});

the.test("the reference has every operation of the OpenAPI document", async ({ server }) => {
  const document = await (await fetch(new URL("/api/v1/openapi.json", server.url))).json();
  const overview = await (await fetch(new URL("/docs", server.url))).text();
  const pages = new Set([...overview.matchAll(/href="(\/docs\/reference\/[^"#]+)/g)].map(([, path]) => path));
  const text = (await Promise.all([...pages].map(async (path) => (await fetch(new URL(path, server.url))).text()))).join("");
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { operationId }] of Object.entries(methods)) {
      const name = operationId.replace(/BelowApi$/, "");
      assert.ok(overview.includes(`id="${name}"`), `${name} is in the overview`);
      assert.ok(text.includes(`<section class="operation" id="${name}"`), `${name} is in the reference`);
      assert.ok(text.includes(`>${path}</code>`), `${method} ${path}`);
    }
  }
});

the.test("what is looked for is found, with scripts and without", async ({ context, server }) => {
  const page = await (await context()).newPage();
  await page.goto("/docs");
  const search = page.getByRole("searchbox");
  const reference = page.getByRole("region", { name: "Reference" });
  await search.fill("raise bid");
  await sees(page.getByRole("status"), /^\d+ found$/);
  await reference.getByRole("link", { name: /Raise the bid/ }).waitFor();
  assert.equal(await reference.getByRole("link", { name: /\/api\/v1\/account/ }).isVisible(), false);
  await search.fill("zzzz");
  await sees(page.getByRole("status"), "0 found");
  const plain = await (await context({ javaScriptEnabled: false })).newPage();
  await plain.goto("/docs");
  await plain.getByRole("searchbox").fill("createJob");
  await plain.getByRole("button", { name: "Search" }).click();
  await plain.waitForURL(/\?q=createJob$/);
  await plain.getByRole("link", { name: /Submit a job/ }).click();
  await plain.waitForURL(/\/docs\/reference\/jobs#createJob$/);
  // Tabs are radio buttons.
  const example = plain.locator("#createJob .tabs");
  assert.match(await example.locator("pre:visible").innerText(), /^curl "http/);
  await example.getByText("Python", { exact: true }).click();
  assert.match(await example.locator("pre:visible").innerText(), /import requests/);
  assert.ok((await example.locator("pre:visible").innerText()).includes(server.url), "with the address of this server");
});

the.test("a language chosen once is chosen everywhere, by keyboard", async ({ context }) => {
  const page = await (await context()).newPage();
  await page.goto("/docs/reference/jobs");
  const first = page.locator(".tabs").first();
  await first.getByRole("radio", { name: "curl" }).focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await first.getByRole("radio", { name: "Python" }).isChecked(), true);
  await page.keyboard.press("ArrowRight");
  for (const example of await page.locator(".tabs").all()) {
    assert.match(await example.locator("pre:visible").first().innerText(), /await fetch/);
  }
});

/** Opens the form of an operation. */
async function tryIt(page, chapter, name) {
  await page.goto(`/docs/reference/${chapter}#${name}`);
  const operation = page.locator(`#${name}`);
  await operation.getByText("Try it", { exact: true }).click();
  return operation;
}

the.test("trying it: a look, a mistake, a job, a stream", async ({ server, context }) => {
  const key = await reader(server, "try@example.org", 50);
  const page = await (await context()).newPage();
  const account = await tryIt(page, "account", "getAccount");
  await account.getByRole("button", { name: "Send GET" }).click();
  await sees(account.getByRole("alert"), "Paste an API key at the top of the page first.");
  await page.getByLabel("Your API key").fill(key);
  await account.getByRole("button", { name: "Send GET" }).click();
  await sees(account.locator("[data-try-status]"), /^200 OK · \d+ ms$/);
  await sees(account.locator("[data-try-body]"), /"email": "try@example\.org"/);
  await account.getByText("Headers", { exact: true }).click();
  await sees(account.locator("[data-try-headers]"), /x-request-id: req_/);

  const job = await tryIt(page, "jobs", "createJob");
  assert.equal(await page.getByLabel("Your API key").inputValue(), key, "the tab remembers the key");
  await job.getByLabel("Body").fill("{");
  await job.getByRole("button", { name: "Send POST" }).click();
  await sees(job.getByRole("alert"), /^The body is not JSON: /);
  await job.getByLabel("Body").fill('{"workload": "llm-chat", "input": {"prompt": 1}}');
  await job.getByRole("button", { name: "Send POST" }).click();
  await sees(job.locator("[data-try-status]"), /^422 /);
  await sees(job.locator("[data-try-body]"), /input\.prompt/);

  const chat = await tryIt(page, "openai", "createChatCompletion");
  await chat.getByLabel("Body").fill('{"model": "default", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}');
  await chat.getByRole("button", { name: "Send POST" }).click();
  await sees(chat.locator("[data-try-status]"), /^200 OK/);
  await sees(chat.locator("[data-try-body]"), /chat\.completion\.chunk[\s\S]*data: \[DONE\]/);

  await page.getByRole("button", { name: "Forget" }).click();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, "the key is forgotten");
  assert.deepEqual(await page.context().cookies(), await page.context().cookies(server.url), "no cookie of anybody else");
});
