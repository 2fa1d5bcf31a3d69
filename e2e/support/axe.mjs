// The accessibility audit, over a page as it is shown.

import assert from "node:assert/strict";
import axe from "axe-core";

/** Runs every rule of axe; gives one line for each place that breaks one. */
export async function violations(page) {
  if (!(await page.evaluate(() => typeof window.axe === "object"))) await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => ({
      id, help, nodes: nodes.map(({ html, failureSummary }) => `${html}\n      ${failureSummary.replaceAll("\n", " ")}`),
    }));
  });
  return found.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id} (${help}): ${node}`));
}

/** What sticks out of the page to the right, if anything makes it scroll sideways. */
export function overflowing(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    const wide = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > root.clientWidth + 0.5);
    return [`${root.scrollWidth} > ${root.clientWidth}`, ...wide.slice(0, 5).map((node) => node.outerHTML.slice(0, 120))];
  });
}

const LOOKS = [
  { width: 1280, height: 900, colorScheme: "light" },
  { width: 1280, height: 900, colorScheme: "dark" },
  { width: 390, height: 844, colorScheme: "dark" },
  { width: 390, height: 844, colorScheme: "light" },
];

/** The page, as it is now, in light and dark, on a desk and on a phone. */
export async function accessible(page, name) {
  const problems = [];
  for (const { width, height, colorScheme } of LOOKS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const look = `${name}, ${colorScheme}, ${width} px`;
    problems.push(...(await violations(page)).map((line) => `${look}: ${line}`));
    problems.push(...(await overflowing(page)).map((line) => `${look}: wider than the screen: ${line}`));
  }
  assert.deepEqual(problems, [], problems.join("\n"));
}
