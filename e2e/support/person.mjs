// What a signed-in person does and sees, in their words.

import assert from "node:assert/strict";

import { sees } from "./see.mjs";

/** Opens the account menu if it is closed. */
export async function openAccountMenu(page) {
  const menu = page.getByRole("banner").getByRole("link", { name: "Settings" });
  const entry = accountCredits(page);
  if (!(await entry.isVisible())) await page.getByRole("banner").locator("summary:visible").click();
  await entry.waitFor();
  await menu.first().waitFor();
}

/** "Credits 500.00" in the account menu. */
export function accountCredits(page) {
  return page.getByRole("banner").getByRole("link", { name: /^Credits\s+-?[\d,]+\.\d+$/ });
}

/** The balance is `amount` in the account menu of `page`, beside the address in the sidebar, and on `credits`, the page
 * /credits in another tab; all of them live. */
export async function agree(server, email, { page, credits }, amount, usd) {
  await openAccountMenu(page);
  await sees(accountCredits(page), new RegExp(`^\\s*Credits\\s*${amount.replaceAll(".", "\\.")}\\s*$`));
  await sees(page.getByRole("banner").getByText(/credits$/), `${amount} credits`);
  const balance = credits.getByRole("region", { name: "Balance" });
  await sees(balance.getByRole("strong"), amount);
  if (usd) await sees(balance.getByText(/^≈/), usd);
  const stored = await server.user(email);
  assert.equal(Number(stored.credits).toFixed(2), amount.replaceAll(",", ""), "the operator sees the same");
}

/** Buys a package on /credits and stops at the card processor's page. */
export async function goToCheckout(page, price) {
  await page.goto("/credits");
  await page.getByRole("button", { name: `Buy for ${price}` }).click();
  await page.getByRole("heading", { name: "Pretend to pay" }).waitFor();
  await sees(page.getByRole("definition").first(), price);
}

export const composer = (page) => page.getByRole("textbox", { name: "Message", exact: true });

/** Types a message and sends it. */
export async function say(page, text) {
  await composer(page).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

export const questions = (page) => page.getByRole("article").filter({ has: page.getByRole("heading", { name: "You" }) });
export const answers = (page) => page.getByRole("article").filter({ has: page.getByRole("heading", { name: "Answer" }) });

/** The line under an answer or an image comes to say who did it, how fast, for how much: "Palma · 2.4 s · 2 credits". */
export function costs(scope, island, cost) {
  const credits = `${String(cost).replace(".", "\\.")} credits?`;
  return sees(scope.getByText(/ · .* s · /), new RegExp(`(^|· )${island} · \\d+\\.\\d s · ${credits}$`));
}

export const prompt = (page) => page.getByRole("textbox", { name: "Prompt", exact: true });
