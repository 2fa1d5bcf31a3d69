// A job by itself: what it would cost before it is sent, what it waits for, its bid raised, its receipt.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { accessible } from "./support/axe.mjs";
import { Island } from "./support/island.mjs";
import { answers, costs, say } from "./support/person.mjs";
import { heading, sees } from "./support/see.mjs";
import { Upstream } from "./support/upstream.mjs";
import { steps, world } from "./support/world.mjs";

const the = world({ demo: false, settings: { ARCHIPELAGO__MAIL__TRANSPORT: "file" } });

const OWNER = "owner@example.org";

the.test("a job that waits, is paid more, and shows its receipt", async ({ server, person }, t) => {
  const upstream = await Upstream.start();
  const consumer = await person("consumer@example.org", { credits: 100 });
  const page = await consumer.newPage();
  const owner = await (await person(OWNER)).newPage();
  const { token } = await server.admin("island-token", "create", "--email", OWNER, "--name", "Palma");
  const offers = [{ workload: "llm-chat", ask: "3", slots: 1, model: "tiny" }];
  const island = await Island.start({ coordinator: server.url, token, upstream: upstream.url, offers });
  const message = page.getByRole("textbox", { name: "Message" });
  const quote = page.locator("[data-quote]");
  const bid = page.getByLabel("Max price in credits");
  try {
    await steps(t, {
      "what it would cost is said before it is sent": async () => {
        await page.goto("/chat");
        await message.fill("How do tides work?");
        await sees(quote, /^Costs 3\.00 credits · starts at once$/);
        await page.getByText("Max price", { exact: true }).click();
        await bid.fill("2");
        await sees(quote, /^Would wait: the cheapest Island needs a max price of 3\.00, yours is 2\.00\.$/);
        await accessible(page, "/chat with a quote");
      },

      "a job whose bid is too low says what it waits for": async () => {
        await message.press("Enter");
        await answers(page).last().getByText(/best ask is 3\.00, your bid is 2\.00/).waitFor();
        await answers(page).last().getByRole("link", { name: "Raise the bid" }).click();
        await heading(page, "LLM Chat (standard)");
        await page.getByText("Every Island that could run it asks for more than you bid.").waitFor();
        await accessible(page, "/jobs/… that waits");
      },

      "a bid can be raised and not lowered": async () => {
        const field = page.getByRole("textbox", { name: /^New max price/ });
        assert.equal(await field.inputValue(), "3");
        await field.fill("1");
        await page.getByRole("button", { name: "Raise the bid" }).click();
        await page.getByText("The new max price must be above the present bid, 2.").waitFor();
        await field.fill("3.5");
        await page.getByRole("button", { name: "Raise the bid" }).click();
        // The page follows the job by itself.
        await page.getByRole("heading", { name: "Receipt" }).waitFor();
      },

      "the receipt shows the match, and can be taken along": async () => {
        await page.getByText("3.00 credits").or(page.getByText("3 credits")).first().waitFor();
        await page.getByRole("cell", { name: "The job went there." }).waitFor();
        await accessible(page, "/jobs/… with a receipt");
        const download = page.waitForEvent("download");
        await page.getByRole("link", { name: "Download the signed receipt" }).click();
        const file = JSON.parse(await readFile(await (await download).path(), "utf8"));
        assert.equal(file.receipt.attempts[0].clearing_price, "3");
        assert.equal(file.receipt.attempts[0].island_earned, "2.7");
        assert.equal(file.receipt.bid.total, "3.5");
        await owner.goto(`/jobs/${file.receipt.job_id}`);
        await owner.getByText("2.7", { exact: true }).waitFor();
        assert.equal(await owner.getByText("3.5").count(), 0, "the owner does not see the bid");
      },

      "a max price that is kept holds for the next job": async () => {
        await page.goto("/settings");
        await page.getByRole("textbox", { name: /^LLM Chat \(standard\)/ }).fill("2.5");
        await page.getByRole("button", { name: "Save max prices" }).click();
        await page.getByText("Your max prices were saved.").waitFor();
        await page.goto("/chat");
        await message.fill("Again?");
        await sees(quote, /^Would wait: .* yours is 2\.50\.$/);
        await page.getByText("Max price", { exact: true }).click();
        assert.equal(await bid.getAttribute("placeholder"), "2.5");
        await bid.fill("4");
        await sees(quote, /^Costs 3\.00 credits/);
        await say(page, "Again?");
        await costs(answers(page), "Palma", 3);
        await answers(page).last().getByRole("link", { name: "Receipt" }).click();
        await heading(page, "LLM Chat (standard)");
      },
    });
  } finally {
    await island.stop();
    await upstream.stop();
  }
});
