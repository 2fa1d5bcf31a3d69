// The Compute Exchange: its charts by eye, keyboard and ear, live and without a jump; and owners who set their asks.

import assert from "node:assert/strict";

import { accessible } from "./support/axe.mjs";
import { Island } from "./support/island.mjs";
import { answers, costs, say } from "./support/person.mjs";
import { heading, mark, sees, stayed } from "./support/see.mjs";
import { Upstream } from "./support/upstream.mjs";
import { steps, world } from "./support/world.mjs";

const the = world({ demo: false, settings: { ARCHIPELAGO__MAIL__TRANSPORT: "file" } });

const OWNER = "owner@example.org";
const offer = (ask) => ({ workload: "llm-chat", ask, slots: 2, model: "tiny" });
const price = (page) => page.getByRole("application", { name: /^Price of LLM Chat/ });
const said = (page, chart) => page.locator(".plot", { has: chart }).locator(".plot-said");
const stat = (page, label) => page.locator(".stats > div", { hasText: label });

/** Layout shifts from now on; `moved()` gives their sum. */
async function watchShifts(page) {
  await page.evaluate(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
    }).observe({ type: "layout-shift" });
  });
  return () => page.evaluate(() => window.shifts.reduce((sum, value) => sum + value, 0));
}

the.test("a market from nothing", async ({ server, context, person }, t) => {
  const upstream = await Upstream.start();
  const visitor = await (await context()).newPage();
  const browser = await person("consumer@example.org", { credits: 100 });
  const [page, chat] = [await browser.newPage(), await browser.newPage()];
  await server.createUser(OWNER);
  const islands = [];
  let owner;
  const start = async (name, ask) => {
    const { token } = await server.admin("island-token", "create", "--email", OWNER, "--name", name);
    islands.push(await Island.start({ coordinator: server.url, token, upstream: upstream.url, offers: [offer(ask)] }));
    return islands.at(-1);
  };
  try {
    await steps(t, {
      "without trades nothing is drawn, and it is said": async () => {
        await visitor.goto("/exchange");
        await visitor.getByRole("link", { name: "LLM Chat (standard)" }).click();
        await heading(visitor, "LLM Chat (standard)");
        await visitor.getByText("Nothing was traded in the last 24 hours.").waitFor();
        await visitor.getByText("The book is empty").waitFor();
        assert.equal(await visitor.locator(".plot").count(), 0);
        await sees(stat(visitor, "Median"), /No trades/);
        await accessible(visitor, "/exchange/llm-chat, empty");
      },

      "a page that is open follows the market, without a jump and without being loaded anew": async () => {
        await page.goto("/exchange/llm-chat?window=1h");
        await mark(page);
        const moved = await watchShifts(page);
        await start("Palma", "2.5");
        await sees(stat(page, "Best free ask"), /2\.50\s+2 of 2 slots free/);
        await chat.goto("/chat");
        await say(chat, "One");
        await costs(answers(chat), "Palma", 2.5);
        await sees(stat(page, "Last price"), /2\.50/);
        await price(page).waitFor();
        await sees(page.getByRole("group", { name: "Trades, table" }).getByRole("row").nth(1), /2\.50\s+1/);
        await stayed(page);
        assert.ok((await moved()) < 0.01, `the page moved by ${await moved()}`);
      },

      "a second Island and another price": async () => {
        await start("Naxos", "3");
        await islands[0].offer([offer("2")]);
        await sees(page.getByRole("group", { name: "Asks, table" }).getByRole("row").nth(1), /2\.00\s+2\s+2\s+1/);
        await sees(page.getByRole("group", { name: "Asks, table" }).getByRole("row").nth(2), /3\.00\s+2\s+2\s+1/);
        await say(chat, "Two");
        await costs(answers(chat).nth(1), "Palma", 2);
        await sees(stat(page, "Lowest–highest"), /2\.00–2\.50/);
        await stayed(page);
      },

      "the chart is read with the keyboard": async () => {
        const chart = price(page);
        await chart.focus();
        await page.keyboard.press("End");
        await sees(said(page, chart), /^\d\d:\d\d: /);
        assert.equal(await said(page, chart).getAttribute("aria-live"), "polite");
        // Back along the minutes to one in which something was traded.
        for (let step = 0; step < 60 && !/job/.test(await said(page, chart).innerText()); step += 1) {
          await page.keyboard.press("ArrowLeft");
        }
        await sees(said(page, chart), /: (2\.00|2\.50|mean 2\.25, .*); [12] jobs?$/);
        await page.keyboard.press("Home");
        await sees(said(page, chart), /no trades$/);
        const first = await said(page, chart).innerText();
        await page.keyboard.press("ArrowRight");
        assert.notEqual(await said(page, chart).innerText(), first);
        await page.keyboard.press("ArrowLeft");
        await sees(said(page, chart), first);
        await page.keyboard.press("Escape");
        await sees(said(page, chart), /In the last hour prices were from 2\.00 to 2\.50/);
        const depth = page.getByRole("application", { name: /^Depth of the book/ });
        await depth.focus();
        await page.keyboard.press("ArrowRight");
        await sees(said(page, depth), "At or below 2.00: 2 of 2 slots free");
        await page.keyboard.press("End");
        await sees(said(page, depth), "At or below 3.00: 4 of 4 slots free");
      },

      "and with the pointer": async () => {
        const chart = price(page);
        await chart.hover({ position: { x: 3, y: 60 } });
        await sees(said(page, chart), /^\d\d:\d\d: no trades$/);
        await page.mouse.move(0, 0);
        await sees(said(page, chart), /In the last hour/);
      },

      "windows are links, and each is as good": async () => {
        for (const [name, words] of [["7 d", "7 days"], ["30 d", "30 days"], ["24 h", "24 hours"]]) {
          await page.getByRole("navigation", { name: "Window" }).getByRole("link", { name }).click();
          await sees(page.getByText(/^In the last/), new RegExp(`In the last ${words} prices were from 2\\.00 to 2\\.50`));
        }
        await accessible(page, "/exchange/llm-chat");
        await page.goto("/exchange");
        await accessible(page, "/exchange");
      },

      "without scripts the charts are pictures with words": async () => {
        const plain = await (await context({ javaScriptEnabled: false })).newPage();
        await plain.goto("/exchange/llm-chat?window=1h");
        await plain.getByRole("img", { name: /^Price of LLM Chat.*prices were from 2\.00 to 2\.50/ }).waitFor();
        await plain.getByRole("img", { name: /^Depth of the book.*4 of 4 slots are free/ }).waitFor();
        await plain.getByText("The same as a table").click();
        await sees(plain.getByRole("group", { name: "Prices, table" }).getByRole("row").nth(1), /\d\d:\d\d\s+2\.\d/);
      },

      "the owner sees earnings, rank and advice, and sets an ask that stands": async () => {
        owner = await (await person(OWNER)).newPage();
        await owner.goto("/islands");
        const asks = owner.getByRole("region", { name: "What they ask" });
        const mine = asks.getByRole("listitem").filter({ hasText: "on Naxos" });
        await sees(mine, /2nd cheapest of 2; the next cheaper asks 2\.00\./);
        await sees(mine, /Suggested: 2\.00/);
        await sees(stat(owner, "Earned"), /4\.05/);
        await owner.getByRole("application", { name: /^Earnings over time/ }).focus();
        await owner.keyboard.press("End");
        await sees(owner.locator(".chosen .plot-said"), /4\.05 credits, 2 jobs$/);
        await accessible(owner, "/islands, full");

        await mine.getByRole("textbox").fill("1.75");
        await mine.getByRole("button", { name: "Set ask" }).click();
        await sees(owner.getByRole("status"), /^The ask was set/);
        await sees(mine, /Set here; the agent says 3\.00\./);
        await sees(mine, /Cheapest of 2\./);
        await say(chat, "Three");
        await costs(answers(chat).nth(2), "Naxos", 1.75);
        // The agent may say what it likes.
        await islands[1].offer([offer("4")]);
        await sees(mine, /the agent says 4\.00/);
        await sees(mine, /1\.75 credits per request/);
      },

      "a price ten times off is confirmed first": async () => {
        await owner.goto("/islands");
        const mine = owner.getByRole("region", { name: "What they ask" }).getByRole("listitem").filter({ hasText: "on Naxos" });
        await mine.getByRole("textbox").fill("175");
        await mine.getByRole("button", { name: "Set ask" }).click();
        await heading(owner, "Is this price meant?");
        await owner.getByText(/what cost 1\.75 credits per request would cost 175\.00/).waitFor();
        await accessible(owner, "/islands, to be confirmed");
        await sees(mine, /1\.75 credits per request/);
        await owner.getByRole("button", { name: "Yes, ask 175.00 credits" }).click();
        await sees(mine, /175\.00 credits per request/);
        await mine.getByRole("button", { name: "Reset to the agent’s" }).click();
        await sees(owner.getByRole("status"), /^The ask is the agent’s again/);
        await sees(mine, /4\.00 credits per request/);
      },

      "a suspended Island gets no job until it is resumed": async () => {
        await owner.goto("/islands");
        await owner.getByRole("button", { name: "Suspend Palma" }).click();
        await sees(owner.getByRole("row").filter({ hasText: "Palma" }), /suspended/);
        await page.goto("/exchange/llm-chat");
        await sees(stat(page, "Islands"), /1/);
        await owner.getByRole("button", { name: "Resume Palma" }).click();
        await sees(stat(page, "Islands"), /2/);
      },
    });
  } catch (error) {
    for (const island of islands) t.diagnostic(`an Island's log:\n${island.log}`);
    throw error;
  } finally {
    await Promise.all(islands.map((island) => island.stop()));
    await upstream.stop();
  }
});

the.test("a newcomer is told how to begin", async ({ person, server }) => {
  const page = await (await person("newcomer@example.org")).newPage();
  await page.goto("/islands");
  await page.getByText(`island pair --coordinator ${server.url}`).waitFor();
  assert.equal(await page.getByRole("link", { name: "Pair an Island" }).getAttribute("href"), "/pair");
  await accessible(page, "/islands, new");
});
