// A key with limits, on the pages and in use; what it spent, as a table and as files.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { heading, sees } from "./support/see.mjs";
import { world } from "./support/world.mjs";

const the = world();

const keys = (page) => page.getByRole("region", { name: "API keys" });
const field = (page, name) => page.getByLabel(name, { exact: true });

/** A chat completion with a key; the demo's cheapest Island asks 2 credits. */
async function ask(server, key) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const body = JSON.stringify({ model: "default", messages: [{ role: "user", content: "Hello" }] });
  const response = await fetch(new URL("/v1/chat/completions", server.url), { method: "POST", headers, body });
  return { status: response.status, ...(await response.json()) };
}

/** Creates a key on the page; gives its secret. */
async function create(page, name, limits = {}) {
  await page.goto("/settings");
  await keys(page).getByLabel("Name", { exact: true }).fill(name);
  if (Object.keys(limits).length) await keys(page).getByText("Spending limits").click();
  for (const [period, limit] of Object.entries(limits)) await field(page, period).fill(limit);
  await page.getByRole("button", { name: "Create key" }).click();
}

the.test("a key is limited, used up, and given more", async ({ server, person }) => {
  const browser = await person("kim@example.org", { credits: 100 });
  const page = await browser.newPage();
  await create(page, "ci", { "Per day": "3", "Per month": "50" });
  await heading(page, "API key “ci”");
  const key = await page.locator("#key-text").innerText();
  await sees(keys(page).getByRole("listitem"), /0\.00 of 3\.00 today\s*0\.00 of 50\.00 this month/);

  assert.equal((await ask(server, key)).status, 200);
  const refused = await ask(server, key);
  assert.deepEqual([refused.status, refused.error.reason, refused.error.available], [402, "key_limit_day", 1]);
  assert.match(refused.error.message, /limit.*1 left today/);
  await page.goto("/settings");
  await sees(keys(page).getByRole("listitem"), /2\.00 of 3\.00 today\s*2\.00 of 50\.00 this month/);

  // Too little of the longer period: nothing is changed, and what was typed is still there.
  await page.getByRole("link", { name: "Edit ci" }).click();
  await heading(page, "API key “ci”");
  await sees(page.locator(".hint").first(), /^2\.00 used; begins anew \d+ \w+ 20\d\d, 00:00 UTC\.$/);
  await field(page, "Name").fill("robot");
  await field(page, "Per day").fill("60");
  await page.getByRole("button", { name: "Save" }).click();
  await sees(page.getByRole("alert"), /^Nothing was changed/);
  await sees(page.locator(".field-error"), "Must not be more than the limit per month, 50.00.");
  assert.equal(await field(page, "Per day").getAttribute("aria-invalid"), "true");
  assert.deepEqual([await field(page, "Name").inputValue(), await field(page, "Per day").inputValue()], ["robot", "60"]);

  await field(page, "Per day").fill("2");
  await page.getByRole("button", { name: "Save" }).click();
  await sees(page.getByRole("status").first(), /^The key was saved/);
  await sees(keys(page).getByRole("listitem"), /robot[^]*2\.00 of 2\.00 today used up\s*2\.00 of 50\.00 this month/);
  assert.equal((await ask(server, key)).status, 402);

  await page.getByRole("link", { name: "Edit robot" }).click();
  await field(page, "Per day").fill("");
  await field(page, "Per month").fill("");
  await page.getByRole("button", { name: "Save" }).click();
  await sees(keys(page).getByRole("listitem"), /2\.00 spent · no limit/);
  assert.equal((await ask(server, key)).status, 200);
});

the.test("a form with a mistake keeps what was typed", async ({ person }) => {
  const browser = await person("tippfehler@example.org");
  const page = await browser.newPage();
  await create(page, "ci", { "Per day": "5", "Per week": "4,5" });
  await sees(page.getByRole("alert"), /^No key was made/);
  await sees(page.locator(".field-error"), "Must be a number of credits above 0.");
  const typed = ["Per day", "Per week"].map((name) => field(page, name).inputValue());
  assert.deepEqual(await Promise.all(typed), ["5", "4,5"]);
  assert.equal(await keys(page).getByLabel("Name", { exact: true }).inputValue(), "ci");
  await sees(keys(page), /No keys yet/);
  await field(page, "Per week").fill("4.5");
  await page.getByRole("button", { name: "Create key" }).click();
  await sees(page.locator(".field-error"), "Must not be more than the limit per week, 4.50.");
  await field(page, "Per week").fill("5");
  await page.getByRole("button", { name: "Create key" }).click();
  await heading(page, "API key “ci”");
});

/** Follows a link that downloads; gives name and text of the file. */
async function download(page, link) {
  const [file] = await Promise.all([page.waitForEvent("download"), link.click()]);
  return { name: file.suggestedFilename(), text: await readFile(await file.path(), "utf8") };
}

the.test("a statement is filtered and downloaded", async ({ server, person }) => {
  const email = "buch@example.org";
  const browser = await person(email, { credits: 50 });
  const page = await browser.newPage();
  await page.goto("/credits");
  const activity = page.getByRole("region", { name: "Recent activity" });
  const rows = () => activity.getByRole("group", { name: "Statement" }).getByRole("row");
  assert.equal((await ask(server, await server.apiKey(email))).status, 200);
  await page.reload();
  assert.equal(await rows().count(), 3, "a header, a job, a grant");

  const csv = await download(page, activity.getByRole("link", { name: "CSV" }));
  assert.match(csv.name, /^archipelago-wallet-\d{4}-\d\d-\d\d\.csv$/);
  const lines = csv.text.split("\r\n");
  assert.equal(lines.length, 4, csv.text);
  assert.match(lines[0], /^at,kind,amount,balance,note,/);
  assert.match(lines[1], /^\d{4}-[^,]*,job,-2,48,,LLM Chat \(standard\),Palma demo,job_/);
  assert.match(lines[2], /,grant,50,50,Granted by a test,/);

  await activity.getByText("Filter", { exact: true }).click();
  await activity.getByLabel("What").selectOption("Job");
  await activity.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/kind=job.*#activity$/);
  assert.equal(await rows().count(), 2);
  const json = await download(page, activity.getByRole("link", { name: "JSON" }));
  assert.match(json.name, /\.json$/);
  assert.deepEqual(JSON.parse(json.text).map(({ kind, amount }) => [kind, amount]), [["job", -2]]);

  await activity.getByLabel("From").fill("2020-01-02");
  await activity.getByLabel("Until").fill("2020-01-01");
  await activity.getByRole("button", { name: "Show" }).click();
  await sees(activity.locator(".field-error"), /^The last day is before the first one/);
  await activity.getByLabel("Until").fill("2020-01-03");
  await activity.getByRole("button", { name: "Show" }).click();
  await sees(activity.locator(".empty"), "Nothing like that has moved.");
  await activity.getByRole("link", { name: "Show everything" }).click();
  await page.waitForURL(/\/credits#activity$/);
  assert.equal(await rows().count(), 3);
});
