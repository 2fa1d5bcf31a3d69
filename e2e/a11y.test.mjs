// Every page for everybody: no violation of axe's rules, by keyboard alone, on a phone, and nothing jumps.

import assert from "node:assert/strict";

import { accessible } from "./support/axe.mjs";
import { accountCredits, answers, costs, goToCheckout, openAccountMenu, prompt, say } from "./support/person.mjs";
import { heading, mark, sees, stayed } from "./support/see.mjs";
import { world } from "./support/world.mjs";

const the = world();

/** Looks at each page: `[name, how to get there]`. All are looked at before any complaint. */
async function lookAt(page, pages) {
  const complaints = [];
  for (const [name, open] of Object.entries(pages)) {
    await open();
    await accessible(page, name).catch((error) => complaints.push(error.message));
  }
  assert.equal(complaints.length, 0, complaints.join("\n"));
}

/** Goes there, also when the page before reads itself anew in the same moment, as /credits does when a purchase settles. */
async function visit(page, path) {
  try {
    await page.goto(path);
  } catch (error) {
    if (!/interrupted by another navigation/.test(error.message)) throw error;
    await page.goto(path);
  }
}

the.test("pages for visitors", async ({ context }) => {
  const [browser, another] = [await context(), await context()];
  const [page, elsewhere] = [await browser.newPage(), await another.newPage()];
  let link;
  await lookAt(page, {
    "/": () => page.goto("/"),
    "/login": () => page.goto("/login"),
    "/login, a mistake": async () => {
      // Past the browser's own check.
      await page.getByLabel("E-mail").evaluate((field) => { field.type = "text"; });
      await page.getByLabel("E-mail").fill("nobody");
      await page.getByRole("button", { name: "Send sign-in link" }).click();
      await page.getByText("This is not an e-mail address.").waitFor();
    },
    "/login, sent": async () => {
      await page.getByLabel("E-mail").fill("axe@example.org");
      await page.getByRole("button", { name: "Send sign-in link" }).click();
      await heading(page, "Check your mail");
      link = await page.getByRole("link", { name: "Sign in now" }).getAttribute("href");
    },
    "/exchange": () => page.goto("/exchange"),
    "/docs": () => page.goto("/docs"),
    "/docs/quickstart": () => page.goto("/docs/quickstart"),
    "/docs/errors": () => page.goto("/docs/errors"),
    "no such page": () => page.goto("/nowhere"),
  });
  await lookAt(elsewhere, {
    "/login/…, in another browser": async () => {
      await elsewhere.goto(link);
      await heading(elsewhere, "Almost there");
    },
    "/login/…, used": async () => {
      await elsewhere.getByRole("button", { name: "Sign in as axe@example.org" }).click();
      await elsewhere.waitForURL(/quickstart|chat/);
      await elsewhere.context().clearCookies();
      await elsewhere.goto(link);
      await heading(elsewhere, "This link no longer works");
    },
  });
});

the.test("pages for a newcomer", async ({ person }) => {
  const browser = await person("new@example.org", { verified: false });
  const page = await browser.newPage();
  await lookAt(page, {
    "/quickstart": () => page.goto("/quickstart"),
    "/chat": () => page.goto("/chat"),
    "/chat, refused": async () => {
      await say(page, "Hello?");
      await sees(answers(page), /verify your identity/i);
    },
    "/image": () => page.goto("/image"),
    "/credits": () => page.goto("/credits"),
    "/islands": () => page.goto("/islands"),
    "/pair": () => page.goto("/pair"),
    "/pair, which machine": async () => {
      const begun = await page.request.post("/api/v1/pairing", { data: { name: "box", agent_version: "1" } });
      await page.getByLabel("Code").fill((await begun.json()).code);
      await page.getByRole("button", { name: "Continue" }).click();
      await heading(page, "Is this your machine?");
    },
    "/pair, done": async () => {
      await page.getByRole("button", { name: "Yes, it is mine" }).click();
      await heading(page, "box is yours");
    },
    "/settings": () => page.goto("/settings"),
    "/settings/webhooks": () => page.goto("/settings/webhooks"),
    "/verify": () => page.goto("/verify"),
    "the sandbox's identity check": async () => {
      await page.getByRole("button", { name: "Start verification" }).click();
      await heading(page, "Pretend to be someone");
    },
    "/verify, pending": async () => {
      await page.getByRole("button", { name: "Decide later" }).click();
      await heading(page, "We are checking");
    },
    "/verify, rejected": async () => {
      await page.getByRole("link", { name: "Continue the check" }).click();
      await page.getByRole("button", { name: "Reject" }).click();
      await heading(page, "The check did not succeed");
    },
    "/verify, verified": async () => {
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByRole("button", { name: "Verify" }).click();
      await heading(page, "You are verified");
    },
  });
});

the.test("pages in use", async ({ server, person }) => {
  const email = "use@example.org";
  const browser = await person(email, { credits: 12 });
  const page = await browser.newPage();
  await lookAt(page, {
    "/chat, answered": async () => {
      await page.goto("/chat");
      await say(page, "What is `code`?");
      await costs(answers(page), "Palma demo", 2);
    },
    "/chat, waiting": async () => {
      await page.getByText("Max price", { exact: true }).click();
      await page.getByLabel("Max price in credits").fill("1");
      await say(page, "For less?");
      await sees(answers(page).last(), /Waiting for an Island/);
    },
    "/chat, stopped": async () => {
      await answers(page).last().getByRole("button", { name: "Cancel" }).click();
      await sees(answers(page).last(), /Stopped\./);
    },
    "/chat, low, with the menu open": async () => {
      await page.setViewportSize({ width: 1280, height: 900 });
      await say(page, "Again");
      await page.getByLabel("Max price in credits").fill("");
      await answers(page).last().getByRole("button", { name: "Cancel" }).click();
      await answers(page).last().getByRole("button", { name: "Retry" }).click();
      await costs(answers(page).last(), "Palma demo", 2);
      await page.getByText("You have fewer than 10 credits left.").waitFor();
      await openAccountMenu(page);
    },
    "/image, made": async () => {
      await server.grant(email, 40);
      await page.goto("/image");
      await prompt(page).fill("A lighthouse");
      await page.getByLabel("Size").selectOption("512x512");
      await page.getByRole("slider", { name: /^Steps/ }).fill("4");
      await page.getByRole("button", { name: "Generate image" }).click();
      await page.getByRole("region", { name: "Result" }).getByRole("img", { name: "A lighthouse" }).waitFor();
    },
    "the sandbox's checkout": () => goToCheckout(page, "$24.99"),
    "the sandbox's checkout, declined": async () => {
      await page.getByRole("button", { name: "Decline the card" }).click();
      await heading(page, "The card was declined");
    },
    "/credits, bought": async () => {
      await page.getByRole("button", { name: "Pay $24.99" }).click();
      await heading(page, "Credits");
    },
    "/credits/return, waiting": async () => {
      await goToCheckout(page, "$4.99");
      await page.getByRole("button", { name: "Pay, but settle later" }).click();
      await heading(page, "Payment is processing");
    },
    "/exchange": () => page.goto("/exchange"),
    "/islands, a new token": async () => {
      await page.goto("/islands");
      await page.getByLabel("Name of the new Island").fill("Palma");
      await page.getByRole("button", { name: "Create Island token" }).click();
      await heading(page, "Token for “Palma”");
    },
    "/settings, a new key": async () => {
      await page.goto("/settings");
      await page.getByRole("textbox", { name: "Name", exact: true }).fill("laptop");
      await page.getByRole("button", { name: "Create key" }).click();
      await heading(page, "API key “laptop”");
    },
    "/settings, a key that was refused": async () => {
      await page.goto("/settings");
      await page.getByRole("textbox", { name: "Name", exact: true }).fill("ci");
      await page.getByText("Spending limits").click();
      await page.getByLabel("Per day").fill("5");
      await page.getByLabel("Per week").fill("4");
      await page.getByRole("button", { name: "Create key" }).click();
      await sees(page.getByRole("alert"), /^No key was made/);
    },
    "/settings": async () => {
      await page.getByLabel("Per week").fill("5");
      await page.getByRole("button", { name: "Create key" }).click();
      await page.goto("/settings");
      await page.getByText("0.00 of 5.00 this week").waitFor();
    },
    "/settings/keys/…": async () => {
      await page.getByRole("link", { name: "Edit ci" }).click();
      await heading(page, "API key “ci”");
    },
    "/credits, filtered": () => visit(page, "/credits?kind=job"),
    "/credits, filtered backwards": () => visit(page, "/credits?from=2026-01-02&until=2026-01-01"),
    "/quickstart": () => visit(page, "/quickstart"),
    "/docs, searched": () => page.goto("/docs?q=bid"),
    "/docs/jobs": () => page.goto("/docs/jobs"),
    "/docs/reference/jobs, trying": async () => {
      await page.goto("/docs/reference/jobs");
      await page.locator("#createJob").getByText("Try it", { exact: true }).click();
      await page.getByRole("button", { name: "Send POST" }).first().click();
      await page.getByText("Paste an API key at the top of the page first.").waitFor();
    },
    "no such page": () => page.goto("/nowhere"),
    "not allowed": () => page.goto("/logout"),
  });
});

const focused = (page) => page.evaluate(() => {
  const node = document.activeElement;
  return `${node.tagName.toLowerCase()}: ${node.innerText.trim().split("\n")[0] || node.getAttribute("aria-label") || ""}`;
});

/** The element with the focus has an outline, or the box around a field a ring. */
const focusIsSeen = (page) => page.evaluate(() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  const box = document.activeElement.parentElement;
  return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) || getComputedStyle(box).boxShadow !== "none";
});

/** Presses Tab until the focus is where it should be; each stop on the way must be visible. */
async function tabTo(page, wanted, most = 30) {
  const way = [];
  for (let presses = 0; presses < most; presses += 1) {
    await page.keyboard.press("Tab");
    const now = await focused(page);
    way.push(now);
    assert.ok(await focusIsSeen(page), `the focus can be seen on ${now}`);
    if (wanted.test(now)) return way;
  }
  return assert.fail(`Tab does not come to ${wanted}: ${way.join(", ")}`);
}

the.test("by keyboard alone: skip link, account menu, Credits", async ({ person }) => {
  const browser = await person("key@example.org", { credits: 25 });
  const page = await browser.newPage();
  await page.goto("/exchange");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "a: Skip to content", "the first stop");
  assert.ok((await page.getByRole("link", { name: "Skip to content" }).boundingBox()).y >= 0, "it can be seen");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");

  await page.reload();
  await tabTo(page, /^summary: .*/);
  assert.equal(await accountCredits(page).isVisible(), false);
  await page.keyboard.press("Enter");
  await accountCredits(page).waitFor();
  await page.keyboard.press("Escape");
  await accountCredits(page).waitFor({ state: "hidden" });
  assert.match(await focused(page), /^summary/, "closing gives the focus back");
  await page.keyboard.press("Enter");
  await tabTo(page, /^a: Credits/, 1);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/credits$/);
  await heading(page, "Credits");
  await tabTo(page, /^button: Buy for \$4\.99/, 40);
  await page.keyboard.press("Enter");
  await heading(page, "Pretend to pay");
});

the.test("by keyboard alone: a chat", async ({ person }) => {
  const browser = await person("typ@example.org", { credits: 25 });
  const page = await browser.newPage();
  await page.goto("/chat");
  await tabTo(page, /^textarea/, 40);
  await page.keyboard.type("First line");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second line");
  await page.keyboard.press("Enter");
  await costs(answers(page), "Palma demo", 2);
  await sees(page.getByRole("article").first(), /First line\nsecond line/);
});

the.test("by keyboard alone: a key with limits", async ({ person }) => {
  const browser = await person("taste@example.org");
  const page = await browser.newPage();
  await page.goto("/settings#keys");
  const name = page.getByRole("region", { name: "API keys" }).getByLabel("Name", { exact: true });
  await name.focus();
  await page.keyboard.type("ci");
  await tabTo(page, /^summary: Spending limits/, 5);
  assert.equal(await page.getByLabel("Per day").isVisible(), false);
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("2.5");
  await page.keyboard.press("Enter");
  await heading(page, "API key “ci”");
  await page.getByRole("link", { name: "Edit ci" }).focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("Per day").focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("3");
  // Past three limits, the four stops of a date field, and the addresses.
  await tabTo(page, /^button: Save/, 9);
  await page.keyboard.press("Enter");
  await page.getByText("0.00 of 3.00 today").waitFor();
});

the.test("works without scripts where that makes sense", async ({ person }) => {
  const browser = await person("nojs@example.org", { credits: 25, javaScriptEnabled: false });
  const page = await browser.newPage();
  await page.goto("/credits");
  await openAccountMenu(page);
  await sees(accountCredits(page), /25\.00/);
  await page.getByRole("button", { name: "Buy for $4.99" }).click();
  await page.getByRole("button", { name: "Pay $4.99" }).click();
  await heading(page, "Credits");
  await openAccountMenu(page);
  await sees(accountCredits(page), /525\.00/);
  await page.goto("/chat");
  await sees(page.locator("noscript p"), /^Chat needs JavaScript/);
});

/** Adds up, from now on, how far things jump. */
const watchShifts = (page) => page.evaluate(() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      window.shifts.push({ value: entry.value, what: entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 80) ?? "?") });
    }
  }).observe({ type: "layout-shift" });
});

const shifts = (page) => page.evaluate(async () => {
  // What has been laid out but not painted yet counts too.
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return window.shifts;
});

for (const [look, viewport] of Object.entries({ "a desk": { width: 1280, height: 900 }, "a phone": { width: 390, height: 844 } })) {
  the.test(`nothing jumps when the balance changes: ${look}`, async ({ server, person }) => {
    const email = `still-${viewport.width}@example.org`;
    const browser = await person(email, { credits: 9, viewport });
    const pages = [];
    for (const path of ["/credits", "/chat", "/image", "/exchange", "/islands"]) {
      const page = await browser.newPage();
      await page.goto(path, { waitUntil: "load" });
      await mark(page);
      await watchShifts(page);
      pages.push([path, page]);
    }
    const balance = ([, page], text) => sees(page.locator("[data-balance=available]"), text);
    // Out of amber, and to a number with more digits.
    await server.grant(email, 2);
    for (const each of pages) await balance(each, "11.00");
    await server.grant(email, 98_765);
    for (const each of pages) await balance(each, "98,776.00");
    for (const [path, page] of pages) {
      const all = await shifts(page);
      const total = all.reduce((sum, { value }) => sum + value, 0);
      assert.ok(total < 0.01, `${path} jumps by ${total}: ${JSON.stringify(all)}`);
      await stayed(page);
    }
  });
}
