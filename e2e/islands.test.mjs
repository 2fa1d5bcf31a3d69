// A network for real: no demo, an Island with the real agent before somebody else's server, a consumer and an owner.

import assert from "node:assert/strict";

import { Island } from "./support/island.mjs";
import { agree, answers, costs, prompt, say } from "./support/person.mjs";
import { heading, mark, sees, stayed } from "./support/see.mjs";
import { Upstream } from "./support/upstream.mjs";
import { steps, world } from "./support/world.mjs";

const the = world({ demo: false, settings: { ARCHIPELAGO__MAIL__TRANSPORT: "file" } });

const OWNER = "owner@example.org";
const CONSUMER = "consumer@example.org";

const chatFor = (ask) => ({ workload: "llm-chat", ask, slots: 2, model: "tiny" });
const images = { workload: "sdxl", ask: "12", slots: 1, model: "tiny", endpoint: "images" };

/** The Cargo that is chosen comes to read like this. */
const chosen = (page, label) =>
  page.getByLabel("Cargo").locator("option:checked").and(page.getByText(label, { exact: true })).waitFor({ state: "attached" });

/** Signs in by the link in the mail, as somebody without a demo must. */
async function signInByMail(page, server, email) {
  await page.goto("/login");
  await page.getByLabel("E-mail").fill(email);
  await page.getByRole("button", { name: "Send sign-in link" }).click();
  await heading(page, "Check your mail");
  assert.equal(await page.getByRole("link", { name: "Sign in now" }).count(), 0, "only a demo shows the link");
  const link = await server.mailedLink(email);
  assert.doesNotMatch(server.log, new RegExp(link.split("/").at(-1)), "the link is not in the log");
  await page.goto(link);
}

the.test("an Island serves, its owner earns", async ({ server, context, person }, t) => {
  const upstream = await Upstream.start();
  const ownersBrowser = await context();
  const owner = await ownersBrowser.newPage();
  const consumersBrowser = await person(CONSUMER, { credits: 100 });
  const [page, credits] = [await consumersBrowser.newPage(), await consumersBrowser.newPage()];
  const earnings = owner.getByRole("region", { name: "Earnings" });
  const mine = owner.getByRole("group", { name: "Islands, table" }).getByRole("row").filter({ hasText: "Palma" });
  let island;

  try {
    await steps(t, {
      "the owner signs in by mail and sees no Island yet": async () => {
        await signInByMail(owner, server, OWNER);
        await owner.goto("/islands");
        await owner.getByText("No Island has connected yet.").waitFor();
        await sees(earnings.getByRole("strong"), "0.00");
        await earnings.getByRole("button", { name: "Move to wallet" }).and(owner.getByRole("button", { disabled: true })).waitFor();
      },

      "without an Island a job waits": async () => {
        await page.goto("/chat");
        await credits.goto("/credits");
        await say(page, "Is anybody out there?");
        await sees(answers(page), /Waiting for an Island/);
      },

      "the Island connects, takes the waiting job, and its price is seen": async () => {
        const { token } = await server.admin("island-token", "create", "--email", OWNER, "--name", "Palma");
        island = await Island.start({ coordinator: server.url, token, upstream: upstream.url, offers: [chatFor("2.5"), images] });
        await sees(answers(page), /You asked: Is anybody out there\? — and this is the upstream’s answer\./);
        await costs(answers(page), "Palma", 2.5);
        await agree(server, CONSUMER, { page, credits }, "97.50");
        assert.deepEqual(upstream.requests.map(({ path, body }) => [path, body.model, body.stream]), [["/v1/chat/completions", "tiny", true]]);
      },

      "the owner sees Island and earnings, less the fee": async () => {
        await owner.reload();
        await sees(mine, /online/);
        const asks = owner.getByRole("region", { name: "What they ask" }).getByRole("listitem");
        await sees(asks.filter({ hasText: "LLM Chat (standard)" }), /on Palma\s+2\.50 credits per request/);
        await sees(earnings.getByRole("strong"), "2.25");
        await sees(earnings.getByText(/^≈/), "≈ $0.02");
      },

      "earnings arrive while the page is open": async () => {
        await mark(owner);
        await say(page, "One more, please");
        await costs(answers(page).nth(1), "Palma", 2.5);
        await sees(earnings.getByRole("strong"), "4.50");
        await stayed(owner);
        await agree(server, CONSUMER, { page, credits }, "95.00");
      },

      "a new ask in the Island's file is the price of the next job": async () => {
        await mark(page);
        await island.offer([chatFor("3.25"), images]);
        await chosen(page, "LLM Chat (standard) · from 3.25 credits");
        await say(page, "And what is it now?");
        await costs(answers(page).nth(2), "Palma", 3.25);
        await sees(earnings.getByRole("strong"), "7.425");
        await agree(server, CONSUMER, { page, credits }, "91.75");
        await stayed(page);
        await page.goto("/exchange");
        const row = page.getByRole("row").filter({ hasText: "LLM Chat (standard)" });
        await sees(row, /3\.25\s+3\.25\s+2\.75\s+(n\/a|[+±]\d+\.\d %)\s+3\s+1\s+0/);
        await row.getByRole("img", { name: "24 hours: from 2.50 to 3.25, on average 2.75" }).waitFor();
      },

      "images come through too": async () => {
        await page.goto("/image");
        await prompt(page).fill("Fog");
        await page.getByLabel("Size").selectOption("512x512");
        await page.getByRole("button", { name: "Generate image" }).click();
        const result = page.getByRole("region", { name: "Result" });
        await result.getByRole("img", { name: "Fog" }).waitFor();
        await sees(result.getByText(/credits/), /Palma · [\d.]+ s · 12 credits$/);
        await agree(server, CONSUMER, { page, credits }, "79.75");
        assert.equal(upstream.requests.at(-1).body.size, "512x512");
      },

      "the owner moves earnings to the wallet and they can be spent": async () => {
        await sees(earnings.getByRole("strong"), "18.225");
        await earnings.getByRole("button", { name: "Move to wallet" }).click();
        await sees(owner.getByRole("status"), /^Your earnings are in your wallet/);
        await sees(earnings.getByRole("strong"), "0.00");
        const stored = await server.user(OWNER);
        assert.deepEqual([stored.credits, stored.earnings], [18.225, 0]);
      },

      "asked to stop, the Island finishes what runs and takes nothing new": async () => {
        const open = upstream.holdBack("slowly");
        await page.goto("/chat");
        await say(page, "Tell me slowly");
        await sees(answers(page), /You asked: Tell/);
        const before = island.process.mark;
        island.process.process.kill("SIGINT");
        await island.process.says(/Asked to stop/, before);
        // A job that comes now waits: nobody else is there.
        const late = await consumersBrowser.newPage();
        await late.goto("/chat");
        await chosen(late, "LLM Chat (standard) · no Island online");
        await say(late, "Too late?");
        await sees(answers(late), /Waiting for an Island/);
        assert.equal(island.process.ended, undefined, "it stays for the job that runs");
        open();
        await costs(answers(page), "Palma", 3.25);
        assert.equal(await island.process.exit, 0);
        await answers(late).getByRole("button", { name: "Cancel" }).click();
        await sees(answers(late), /Stopped\./);
        await agree(server, CONSUMER, { page, credits }, "76.50");
        await owner.reload();
        await sees(mine, /offline/);
      },
    });
  } catch (error) {
    if (island) t.diagnostic(`the Island's log:\n${island.log}`);
    throw error;
  } finally {
    await island?.stop();
    await upstream.stop();
  }
});
