// Webhooks and the bounds of a key, on the pages: made, tested, seen to arrive, sent again, switched off.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, before } from "node:test";

import { heading, sees } from "./support/see.mjs";
import { world } from "./support/world.mjs";

const the = world({ settings: { ARCHIPELAGO__WEBHOOKS__ALLOW_PRIVATE: "true" } });

const got = [];
let receiver;

before(async () => {
  receiver = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      got.push({ headers: request.headers, body });
      response.writeHead(200, { "content-type": "text/plain" }).end("Thank you.");
    });
  });
  await new Promise((listening) => receiver.listen(0, "127.0.0.1", listening));
});

after(() => receiver.close());

the.test("a webhook is made, tested and sent again", async ({ person }) => {
  const browser = await person("kim@example.org", { credits: 100 });
  const page = await browser.newPage();
  await page.goto("/settings");
  await page.getByRole("link", { name: "Manage webhooks" }).click();
  await heading(page, "Webhooks");
  const url = `http://127.0.0.1:${receiver.address().port}/hook`;
  await page.getByLabel("Address").fill(url);
  await page.getByText("Only some events").click();
  await page.getByLabel("job.completed").check();
  await page.getByRole("button", { name: "Create webhook" }).click();
  const secret = await page.locator("#secret-text").innerText();
  assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);

  await page.getByRole("link", { name: url }).click();
  await page.getByRole("button", { name: "Send a test" }).click();
  await sees(page.getByRole("status").first(), /^A test is on its way/);
  while (!got.length) await page.waitForTimeout(50);
  const { headers, body } = got[0];
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const mac = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(signed).digest("base64");
  assert.equal(headers["webhook-signature"], `v1,${mac}`);
  assert.equal(JSON.parse(body).type, "webhook.test");
  while (!(await page.getByText("delivered", { exact: true }).count())) await page.reload();
  await page.getByText("Event and answer").click();
  await sees(page.getByLabel("Answer"), "Thank you.");

  await page.getByRole("button", { name: /^Send webhook\.test of .* again$/ }).click();
  while (got.length < 2) await page.waitForTimeout(50);
  assert.equal(got[1].headers["webhook-id"], headers["webhook-id"]);

  await page.getByRole("button", { name: "Switch off" }).click();
  await sees(page.getByRole("status").first(), /^The webhook is off/);
  assert.ok(await page.getByRole("button", { name: "Send a test" }).isDisabled());
});

the.test("a key has an end, places and a new secret", async ({ person }) => {
  const browser = await person("lou@example.org", {});
  const page = await browser.newPage();
  await page.goto("/settings");
  const keys = page.getByRole("region", { name: "API keys" });
  await keys.getByLabel("Name", { exact: true }).fill("ops");
  await keys.getByText("End and addresses").click();
  await keys.getByLabel("Last day").fill("2099-12-31");
  await keys.getByLabel("Only from these addresses").fill("127.0.0.1, 2001:db8::/32");
  await page.getByRole("button", { name: "Create key" }).click();
  const first = await page.locator("#key-text").innerText();
  await sees(keys.getByRole("listitem"), /ends 1 Jan 2100, 00:00 UTC · from 2 places only/);
  await page.getByRole("link", { name: "Edit ops" }).click();
  await page.getByLabel("Only from these addresses").fill("home");
  await page.getByRole("button", { name: "Save" }).click();
  await sees(page.locator(".field-error"), /^Must be an address or a range/);
  await page.getByLabel("Only from these addresses").fill("");
  await page.getByRole("button", { name: "Save" }).click();
  await sees(page.getByRole("status").first(), /^The key was saved/);
  await page.getByRole("link", { name: "Edit ops" }).click();
  page.on("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: "Make a new secret" }).click();
  const second = await page.locator("#key-text").innerText();
  assert.notEqual(first, second);
});
