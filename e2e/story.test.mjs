// The whole main job, as a newcomer lives it: sign in, verify, buy, chat, make an image.
// After each step the balance is the same in all places, without a reload.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { accountCredits, agree, answers, costs, goToCheckout, openAccountMenu, prompt, questions, say } from "./support/person.mjs";
import { heading, mark, record, sees, stayed } from "./support/see.mjs";
import { steps, world } from "./support/world.mjs";

const the = world();
const EMAIL = "ana@example.org";
const QUESTION = "Which island is the largest of the Balearic islands?";

/** From the front page to being signed in; the demo shows the link that would be mailed. */
async function signIn(page) {
  await page.goto("/");
  await page.getByRole("note").filter({ hasText: "TEST MODE" }).waitFor();
  await page.getByRole("main").getByRole("link", { name: "Sign in" }).click();
  await page.getByLabel("E-mail").fill(EMAIL);
  await page.getByRole("button", { name: "Send sign-in link" }).click();
  await heading(page, "Check your mail");
  await page.getByText(EMAIL).waitFor();
  await page.getByRole("link", { name: "Sign in now" }).click();
  await openAccountMenu(page);
  await sees(accountCredits(page), /0\.00/);
}

const step = (page, name) => page.getByRole("listitem").filter({ has: page.getByRole("heading", { name, exact: true }) });
const history = (page) => page.getByRole("group", { name: "Purchases" }).getByRole("row");

the.test("a newcomer buys credits and spends them", async ({ server, context }, t) => {
  const browser = await context();
  const page = await browser.newPage();
  const credits = await browser.newPage();
  const same = (amount, usd) => agree(server, EMAIL, { page, credits }, amount, usd);

  await steps(t, {
    "signs in with the link": async () => {
      await signIn(page);
      await credits.goto("/credits");
      await same("0.00", "≈ $0.00");
    },

    "is told by the quickstart what comes next": async () => {
      await page.goto("/quickstart");
      await sees(page.getByText(/steps are done/), /1 of 4/);
      await sees(step(page, "Sign in"), /done/);
      await step(page, "Verify your identity").getByRole("link", { name: "Verify" }).click();
      await heading(page, "Verify your identity");
    },

    "is rejected by the identity check and may try again": async () => {
      await page.getByRole("button", { name: "Start verification" }).click();
      await heading(page, "Pretend to be someone");
      await page.getByLabel("Reason, if you reject").selectOption({ label: "The document has expired" });
      await page.getByRole("button", { name: "Reject" }).click();
      await heading(page, "The check did not succeed");
      await page.getByText("The document has expired.").waitFor();
      assert.equal((await server.user(EMAIL)).verification, "rejected");
    },

    "is verified": async () => {
      await page.getByRole("button", { name: "Try again" }).click();
      await heading(page, "Pretend to be someone");
      await page.getByLabel("Name").fill("Ana Ferrer");
      await page.getByLabel("Country").selectOption({ label: "Spain" });
      await page.getByRole("button", { name: "Verify" }).click();
      await heading(page, "You are verified");
      await page.getByText("Spain").waitFor();
      assert.equal((await server.user(EMAIL)).verification, "verified");
      await page.goto("/quickstart");
      await sees(page.getByText(/steps are done/), /2 of 4/);
      await same("0.00");
    },

    "sees four packages, each with its price and what one will have": async () => {
      await page.goto("/credits");
      const cards = page.getByRole("region", { name: "Buy credits" }).getByRole("listitem");
      assert.equal(await cards.count(), 4);
      const expected = [
        ["Starter", "500", "500.00", "$4.99"],
        ["Explorer", "1,100", "1,100.00", "$9.99"],
        ["Voyager", "2,800", "2,800.00", "$24.99"],
        ["Fleet", "6,000", "6,000.00", "$49.99"],
      ];
      for (const [index, [name, size, after, price]] of expected.entries()) {
        const card = cards.nth(index);
        await card.getByRole("heading", { name: new RegExp(`^${name}`) }).waitFor();
        await sees(card.getByText(/credits$/), `${size} credits`);
        await sees(card.getByText(/You’ll have/), `You’ll have ${after}`);
        await card.getByRole("button", { name: `Buy for ${price}`, exact: true }).waitFor();
      }
    },

    "leaves the payment page: nothing happens": async () => {
      await goToCheckout(page, "$4.99");
      await page.getByRole("button", { name: "Abandon and go back" }).click();
      await heading(page, "Credits");
      await sees(page.getByRole("status"), /You left before paying. Nothing was charged/);
      await same("0.00");
      await page.getByText("No purchases yet.").waitFor();
    },

    "buys 500 credits, with the second card": async () => {
      await goToCheckout(page, "$4.99");
      await page.getByRole("button", { name: "Decline the card" }).click();
      await heading(page, "The card was declined");
      await sees(page.getByRole("alert"), /Nothing was charged/);
      assert.equal((await server.user(EMAIL)).credits, 0);
      await page.getByRole("button", { name: "Pay $4.99" }).click();
      await heading(page, "Credits");
      await sees(page.getByRole("status"), /^Thank you. Your credits are in your wallet/);
      await same("500.00", "≈ $5.00");
    },

    "finds the purchase in the history": async () => {
      await page.goto("/credits");
      assert.deepEqual(await history(page).first().getByRole("columnheader").allInnerTexts(), ["Date", "Package", "Credits", "Amount", "Receipt"]);
      const row = history(page).filter({ hasText: "Starter" });
      assert.equal(await row.count(), 1);
      const cells = await row.getByRole("cell").allInnerTexts();
      assert.match(cells[0], /^\d{1,2} [A-Z][a-z]{2} \d{4}, \d{2}:\d{2} UTC$/);
      assert.deepEqual(cells.slice(1), ["Starter", "500", "$4.99", "PDF"]);
      const receipt = await page.request.get(await row.getByRole("link", { name: /^Receipt as PDF/ }).getAttribute("href"));
      assert.equal(receipt.headers()["content-type"], "application/pdf");
      assert.match(await receipt.text(), /^%PDF-[\s\S]*\(Receipt\)[\s\S]*\(R-1\)/);
      await sees(page.getByText(/You’ll have/).first(), "You’ll have 1,000.00");
      await page.goto("/quickstart");
      await sees(page.getByText(/steps are done/), /3 of 4/);
    },

    "chats, watches the answer arrive, and sees what it cost": async () => {
      await page.goto("/chat");
      await mark(page);
      await mark(credits);
      await page.bringToFront();
      const held = await record(credits, "[aria-label=Balance] .balance-held");
      const arriving = await record(page, "article[aria-busy=true] .said");
      await say(page, QUESTION);
      await sees(questions(page), new RegExp(QUESTION));
      await costs(answers(page), "Palma demo", 2);
      const whole = await answers(page).locator(".said").innerText();
      assert.match(whole, /^\[demo island\] No model ran/);
      const parts = (await arriving.texts()).filter((text) => text !== "" && whole.startsWith(text));
      assert.ok(parts.length > 3, `it came in pieces: ${parts}`);
      await same("498.00", "≈ $4.98");
      await stayed(page);
      await stayed(credits);
      const shown = await held.texts();
      assert.ok(shown.some((text) => /2\.00 held/.test(text)), `held while it ran: ${shown}`);
      assert.match(shown.at(-1), /498\.00 available · nothing held/);
      await sees(credits.getByText(/You’ll have/).first(), "You’ll have 998.00");
    },

    "asks again": async () => {
      await answers(page).getByRole("button", { name: "Regenerate" }).click();
      await same("496.00", "≈ $4.96");
      await costs(answers(page), "Palma demo", 2);
      assert.equal(await answers(page).count(), 1, "the new answer takes the place of the old one");
    },

    "finds the conversation again": async () => {
      await page.reload();
      await sees(page.getByRole("heading", { level: 1 }), /^Which island is the largest/);
      await sees(questions(page), new RegExp(QUESTION));
      await costs(answers(page), "Palma demo", 2);
      await sees(answers(page), /\[demo island\]/);
      await page.getByRole("navigation", { name: "Conversations" }).getByRole("link", { name: /^Which island/ }).waitFor();
      await say(page, "And the second largest?");
      await costs(answers(page).nth(1), "Palma demo", 2);
      await same("494.00", "≈ $4.94");
    },

    "makes an image": async () => {
      await page.goto("/image");
      await mark(page);
      const progress = await record(page, "[data-status]");
      await prompt(page).fill("A lighthouse at dusk");
      await page.getByLabel("Size").selectOption("512x512");
      await page.getByRole("slider", { name: /^Steps/ }).fill("12");
      await page.getByRole("button", { name: "Generate image" }).click();
      const result = page.getByRole("region", { name: "Result" });
      await result.getByRole("img", { name: "A lighthouse at dusk" }).waitFor();
      await sees(result.getByText(/credits/), /^512 × 512 · seed \d+ · Skye demo · [\d.]+ s · 14 credits$/);
      const drawn = await result.getByRole("img").evaluate(async (image) => {
        await image.decode();
        return [image.naturalWidth, image.naturalHeight];
      });
      assert.deepEqual(drawn, [512, 512]);
      const shown = await progress.texts();
      assert.ok(shown.filter((text) => /^Step \d+ of 12$/.test(text)).length > 3, `it told how far it was: ${shown}`);
      await same("480.00", "≈ $4.80");
      await stayed(page);
    },

    "keeps the image": async () => {
      const download = page.waitForEvent("download");
      await page.getByRole("link", { name: "Download" }).click();
      const file = await download;
      assert.match(file.suggestedFilename(), /\.png$/);
      const bytes = await readFile(await file.path());
      assert.equal(bytes.subarray(1, 4).toString(), "PNG");
      await page.reload();
      const recent = page.getByRole("region", { name: "Your last images" });
      await recent.getByRole("link", { name: "A lighthouse at dusk" }).click();
      await page.getByRole("region", { name: "Result" }).getByRole("img", { name: "A lighthouse at dusk" }).waitFor();
      await same("480.00");
    },

    "reads the statement": async () => {
      await credits.reload();
      const rows = await credits.getByRole("group", { name: "Statement" }).getByRole("row").all();
      const cells = await Promise.all(rows.slice(1).map((row) => row.getByRole("cell").allInnerTexts()));
      assert.deepEqual(
        cells.map(([, ...rest]) => rest),
        [
          ["Image generation · Skye demo", "−14.00", "480.00"],
          ["LLM Chat (standard) · Palma demo", "−2.00", "494.00"],
          ["LLM Chat (standard) · Palma demo", "−2.00", "496.00"],
          ["LLM Chat (standard) · Palma demo", "−2.00", "498.00"],
          ["Bought Starter", "+500.00", "500.00"],
        ],
      );
    },

    "pays later: pending at first, granted when the money arrives": async () => {
      const chat = await browser.newPage();
      await chat.goto("/chat");
      await mark(chat);
      await goToCheckout(page, "$9.99");
      await page.getByRole("button", { name: "Pay, but settle later" }).click();
      await heading(page, "Payment is processing");
      await sees(history(credits).filter({ hasText: "Explorer" }), /pending/i);
      assert.equal((await server.user(EMAIL)).credits, 480);
      await heading(page, "Credits");
      await sees(page.getByRole("status"), /^Thank you. Your credits are in your wallet/);
      await same("1,580.00", "≈ $15.80");
      await sees(history(credits).filter({ hasText: "Explorer" }), /UTC\s+Explorer\s+1,100\s+\$9\.99/);
      await agree(server, EMAIL, { page: chat, credits }, "1,580.00");
      await stayed(chat);
    },

    "signs out": async () => {
      await openAccountMenu(page);
      await page.getByRole("banner").getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("link", { name: "Sign in" }).first().waitFor();
      await page.goto("/credits");
      await heading(page, "Sign in");
    },
  });
});
