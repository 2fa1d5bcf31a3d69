// Looking at pages: everything waits for what is to be seen, nothing waits for the clock.

import assert from "node:assert/strict";

const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const exactly = (text) => (text instanceof RegExp ? text : new RegExp(`^\\s*${escape(text)}\\s*$`));

/** Waits until something visible of this locator has exactly this text (or matches). */
export async function sees(locator, text) {
  try {
    await locator.filter({ hasText: exactly(text), visible: true }).first().waitFor();
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
    const actual = await locator.allInnerTexts();
    throw new assert.AssertionError({
      message: `${locator} does not come to show ${text}; it shows ${JSON.stringify(actual)}`,
      actual,
      expected: String(text),
      operator: "sees",
    });
  }
}

export const heading = (page, name) => page.getByRole("heading", { name, exact: true }).waitFor();

/** Marks the document: `stayed` then proves that it was never loaded anew. */
export const mark = (page) => page.evaluate(() => { window.marked = true; });

export async function stayed(page) {
  assert.equal(await page.evaluate(() => window.marked === true), true, `${page.url()} was not loaded anew`);
}

/** Writes down every text that the elements have from now on; `texts()` gives them in order, without repetition. */
export async function record(page, selector) {
  const name = `record${Math.random().toString(36).slice(2)}`;
  await page.evaluate(([name, selector]) => {
    const seen = [];
    window[name] = seen;
    const look = () => {
      const text = [...document.querySelectorAll(selector)].map((node) => node.innerText.trim()).join(" | ");
      if (text !== seen.at(-1)) seen.push(text);
    };
    look();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  }, [name, selector]);
  return { texts: () => page.evaluate((name) => window[name], name) };
}

/** The colour that an element's text is drawn in, as hue (0-360) and saturation (0-1). */
export function colour(locator) {
  return locator.evaluate((node) => {
    const canvas = document.createElement("canvas");
    const paint = canvas.getContext("2d");
    paint.fillStyle = getComputedStyle(node).color;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
    const [most, least] = [Math.max(r, g, b), Math.min(r, g, b)];
    const range = most - least;
    if (range === 0) return { hue: 0, saturation: 0 };
    const sixth = most === r ? ((g - b) / range + 6) % 6 : most === g ? (b - r) / range + 2 : (r - g) / range + 4;
    return { hue: sixth * 60, saturation: range / most };
  });
}

export async function isAmber(locator) {
  const { hue, saturation } = await colour(locator);
  return saturation > 0.4 && hue > 25 && hue < 55;
}
