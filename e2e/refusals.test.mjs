// What is refused, and how it is said: nothing is charged, and the way out is one click away.

import assert from "node:assert/strict";

import { accountCredits, agree, answers, composer, costs, prompt, questions, say } from "./support/person.mjs";
import { heading, isAmber, mark, sees, stayed } from "./support/see.mjs";
import { world } from "./support/world.mjs";

const the = world();

const messages = (page) => page.getByRole("log", { name: "Messages" });
const nudge = (page) => page.getByText("You have fewer than 10 credits left.");

/** Nothing was charged and nothing is held. */
async function untouched(server, email, credits) {
  const user = await server.user(email);
  assert.deepEqual({ credits: user.credits, held: user.held }, { credits, held: 0 });
}

the.test("whoever is not verified is shown the way to the identity check", async ({ server, person }) => {
  const browser = await person("una@example.org", { verified: false, credits: 50 });
  const page = await browser.newPage();
  await page.goto("/chat");
  await say(page, "Hello?");
  await sees(answers(page), /verify your identity/i);
  assert.equal(await composer(page).inputValue(), "Hello?", "the words are not lost");
  assert.equal(await questions(page).count(), 0);
  await untouched(server, "una@example.org", 50);

  await page.goto("/image");
  await prompt(page).fill("A lighthouse");
  await page.getByRole("button", { name: "Generate image" }).click();
  const result = page.getByRole("region", { name: "Result" });
  await sees(result, /verify your identity/i);
  await untouched(server, "una@example.org", 50);
  await result.getByRole("link", { name: "Verify now" }).click();
  await heading(page, "Verify your identity");
});

the.test("whoever has no credits is told how many are missing", async ({ server, person }) => {
  const browser = await person("pau@example.org");
  const page = await browser.newPage();
  await page.goto("/chat");
  const answer = page.waitForResponse((response) => response.url().endsWith("/app/chat"));
  await say(page, "Hello?");
  assert.equal((await answer).status(), 402);
  await sees(answers(page), /You need 2\.00 credits, you have 0\.00\./);
  await untouched(server, "pau@example.org", 0);
  await messages(page).getByRole("link", { name: "Buy credits" }).click();
  await heading(page, "Credits");
  await page.getByText("Nothing has moved yet.").waitFor();
});

the.test("a bid below every ask waits, says why, and can be taken back", async ({ server, person }) => {
  const browser = await person("bea@example.org", { credits: 20 });
  const page = await browser.newPage();
  await page.goto("/chat");
  await page.getByText("Max price", { exact: true }).click();
  await page.getByLabel("Max price in credits").fill("1.5");
  await say(page, "Is anybody there for 1.5?");
  await sees(answers(page), /Waiting for an Island: best ask is 2\.00, your bid is 1\.50/);
  await untouched(server, "bea@example.org", 20);
  await answers(page).getByRole("button", { name: "Cancel" }).click();
  await sees(answers(page), /Stopped\./);
  await untouched(server, "bea@example.org", 20);
  // The same question, at the usual price.
  await page.getByLabel("Max price in credits").fill("");
  await answers(page).getByRole("button", { name: "Retry" }).click();
  await costs(answers(page), "Palma demo", 2);
});

the.test("a bid that is no price is refused by name", async ({ server, person }) => {
  const browser = await person("nil@example.org", { credits: 20 });
  const page = await browser.newPage();
  await page.goto("/chat");
  await page.getByText("Max price", { exact: true }).click();
  for (const bid of ["0", "1.2345678", "99999999999999999999"]) {
    await page.getByLabel("Max price in credits").fill(bid);
    const answer = page.waitForResponse((response) => response.url().endsWith("/app/chat"));
    await say(page, "Hello?");
    assert.equal((await answer).status(), 422, bid);
    await sees(answers(page), /bid_price|max price/i);
  }
  await untouched(server, "nil@example.org", 20);
});

the.test("a low balance is shown in amber, with a nudge where credits are spent, live", async ({ server, person }) => {
  const email = "low@example.org";
  const browser = await person(email, { credits: 11 });
  const [page, image, credits] = [await browser.newPage(), await browser.newPage(), await browser.newPage()];
  await page.goto("/chat");
  await image.goto("/image");
  await credits.goto("/credits");
  for (const each of [page, image, credits]) await mark(each);
  const large = credits.getByRole("region", { name: "Balance" }).getByRole("strong");
  const marked = () => Promise.all([isAmber(accountCredits(page).getByRole("strong")), isAmber(large)]);

  await agree(server, email, { page, credits }, "11.00", "≈ $0.11");
  assert.deepEqual(await marked(), [false, false]);
  for (const each of [page, image]) assert.equal(await nudge(each).isVisible(), false);

  // From 11 to 9.
  await say(page, "Down I go");
  await costs(answers(page), "Palma demo", 2);
  await nudge(page).waitFor();
  await nudge(image).waitFor();
  await agree(server, email, { page, credits }, "9.00", "≈ $0.09");
  assert.deepEqual(await marked(), [true, true]);

  // The operator grants one credit: 10 is not low.
  await server.grant(email, 1);
  await agree(server, email, { page, credits }, "10.00", "≈ $0.10");
  await nudge(page).waitFor({ state: "hidden" });
  await nudge(image).waitFor({ state: "hidden" });
  assert.deepEqual(await marked(), [false, false]);
  for (const each of [page, image, credits]) await stayed(each);
});

the.test("an operator's grant shows up without a reload", async ({ server, person }) => {
  const email = "gil@example.org";
  const browser = await person(email);
  const [page, credits] = [await browser.newPage(), await browser.newPage()];
  await page.goto("/image");
  await credits.goto("/credits");
  for (const each of [page, credits]) await mark(each);
  await nudge(page).waitFor();
  await server.grant(email, 9);
  await agree(server, email, { page, credits }, "9.00", "≈ $0.09");
  await nudge(page).waitFor();
  await server.grant(email, "1225.5");
  await agree(server, email, { page, credits }, "1,234.50", "≈ $12.35");
  await sees(credits.getByText(/You’ll have/).first(), "You’ll have 1,734.50");
  await nudge(page).waitFor({ state: "hidden" });
  for (const each of [page, credits]) await stayed(each);
});
