// Usage: what a person's jobs came to, filtered, with and without scripts; and what the owner's Islands earned.

import assert from "node:assert/strict";

import { accessible } from "./support/axe.mjs";
import { Island } from "./support/island.mjs";
import { answers, costs, say } from "./support/person.mjs";
import { heading, sees } from "./support/see.mjs";
import { Upstream } from "./support/upstream.mjs";
import { steps, world } from "./support/world.mjs";

const the = world({ demo: false, settings: { ARCHIPELAGO__MAIL__TRANSPORT: "file" } });

const OWNER = "owner@example.org";
const stat = (page, label) => page.locator(".stats > div", { hasText: label });
const table = (page, name) => page.getByRole("region", { name, exact: true }).getByRole("table");
const chart = (page) => page.getByRole("application", { name: /^Spent by day/ });

the.test("what was spent, and what was earned with it", async ({ server, context, person }, t) => {
  const upstream = await Upstream.start();
  const browser = await person("consumer@example.org", { credits: 100 });
  const [page, chat] = [await browser.newPage(), await browser.newPage()];
  await server.createUser(OWNER);
  const { token } = await server.admin("island-token", "create", "--email", OWNER, "--name", "Palma");
  const offers = [{ workload: "llm-chat", ask: "2.5", slots: 2, model: "tiny" }];
  const island = await Island.start({ coordinator: server.url, token, upstream: upstream.url, offers });
  try {
    await steps(t, {
      "before the first job it says how to begin": async () => {
        await page.goto("/chat");
        await page.getByRole("link", { name: "Usage", exact: true }).first().click();
        await heading(page, "Usage");
        await page.getByText("No job ended in these days.").waitFor();
        await sees(stat(page, "Credits spent"), /0\.00/);
        await accessible(page, "/usage, empty");
      },

      "two jobs later it adds up": async () => {
        await chat.goto("/chat");
        for (const [index, text] of ["One", "Two"].entries()) {
          await say(chat, text);
          await costs(answers(chat).nth(index), "Palma", 2.5);
        }
        await page.reload();
        await sees(stat(page, "Credits spent"), /5\.00\s+≈ \$0\.05/);
        await sees(stat(page, "Jobs"), /2\s+none failed/);
        await sees(table(page, "By Cargo").getByRole("row").nth(1), /LLM Chat \(standard\)\s+5\.00\s+2\s+0/);
        await sees(table(page, "By API key").getByRole("row").nth(1), /Asked for on pages\s+5\.00\s+2\s+0/);
        await sees(table(page, "By Island").getByRole("row").nth(1), /Palma\s+5\.00\s+2\s+0/);
        await accessible(page, "/usage");
      },

      "the chart is read with the keyboard": async () => {
        await chart(page).focus();
        await page.keyboard.press("End");
        await sees(page.locator(".plot-said"), /: 5\.00 credits, 2 jobs$/);
      },

      "a row leads to itself, and the filter says so": async () => {
        await table(page, "By Island").getByRole("link", { name: "Palma" }).click();
        assert.match(page.url(), /host=isl_/);
        await sees(stat(page, "Credits spent"), /5\.00/);
        await page.getByLabel("Until").fill("2026-01-02");
        await page.getByLabel("From").fill("2026-01-03");
        await page.getByRole("button", { name: "Show" }).click();
        await page.getByText("Without a filter you see the last 30 days.").waitFor();
        await accessible(page, "/usage, a mistake");
        await page.goto("/usage");
      },

      "every job can be kept": async () => {
        const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "CSV" }).click()]);
        assert.match(download.suggestedFilename(), /^archipelago-usage-.*\.csv$/);
      },

      "without scripts it is the same": async () => {
        const plain = await (await context({ javaScriptEnabled: false, storageState: await browser.storageState() })).newPage();
        await plain.goto("/usage");
        await plain.getByRole("img", { name: /^Spent by day.*5\.00 credits in 30 days/ }).waitFor();
        await plain.getByLabel("Cargo", { exact: true }).selectOption({ label: "LLM Chat (standard)" });
        await plain.getByRole("button", { name: "Show" }).click();
        assert.match(plain.url(), /workload=llm-chat/);
        await sees(stat(plain, "Credits spent"), /5\.00/);
      },

      "the owner sees what was earned": async () => {
        const owner = await (await person(OWNER)).newPage();
        await owner.goto("/usage");
        await owner.getByRole("navigation", { name: "View" }).getByRole("link", { name: "Earned" }).click();
        await sees(stat(owner, "Credits earned"), /4\.50/);
        await sees(table(owner, "By Island").getByRole("row").nth(1), /Palma\s+4\.50\s+2\s+0/);
        await accessible(owner, "/usage, earned");
      },
    });
  } finally {
    await island.stop();
    await upstream.stop();
  }
});
