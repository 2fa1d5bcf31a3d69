// What a visitor cannot do, tried without a browser.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { Visitor } from "./support/visitor.mjs";
import { world } from "./support/world.mjs";

const the = world({ browser: false });

const SIGNED_IN_PAGES = [
  "/chat", "/chat/con_0000000000001", "/image", "/credits", "/credits/return?purchase=pur_0000000000001",
  "/credits/export?format=csv", "/settings/keys/key_0000000000001", "/quickstart",
  "/islands", "/settings", "/verify", "/verify/return",
];
const FORMS = [
  "/logout", "/chat/con_0000000000001/delete", "/credits/buy", "/verify/start", "/islands/tokens",
  "/islands/tokens/isl_0000000000001/revoke", "/islands/earnings/move", "/settings/profile", "/settings/keys",
  "/settings/keys/key_0000000000001", "/settings/keys/key_0000000000001/revoke", "/settings/sessions/end",
];
const SCRIPTS = [
  "/app/chat", "/app/chat/answers/msg_0000000000001/again", "/app/image", "/app/jobs/job_0000000000001/cancel",
];

async function signedIn(server, email, credits = 0) {
  await server.createUser(email);
  if (credits) await server.grant(email, credits);
  const visitor = new Visitor(server.url);
  await visitor.signIn(email);
  return visitor;
}

async function hasStatus(response, status, what) {
  const text = await response.text();
  assert.equal(response.status, status, `${what} answered ${response.status}: ${text.slice(0, 300)}`);
  return text;
}

/** A purchase that has not been paid. */
async function startPurchase(server, email) {
  const headers = { authorization: `Bearer ${await server.apiKey(email)}`, "content-type": "application/json" };
  const body = JSON.stringify({ package: "fleet" });
  const made = await new Visitor(server.url).request("POST", "/api/v1/credits/purchases", { headers, body });
  return JSON.parse(await hasStatus(made, 201, "a purchase by API")).data;
}

/** Reads a job's stream to its end. */
async function finished(visitor, job) {
  const frames = await hasStatus(await visitor.get(`/app/jobs/${job}/stream`), 200, "the stream");
  assert.match(frames, /"type":"done"/);
}

the.test("pages of signed-in people send everybody else to sign in, and back afterwards", async ({ server }) => {
  const stranger = new Visitor(server.url);
  for (const path of SIGNED_IN_PAGES) {
    const response = await stranger.get(path);
    await hasStatus(response, 303, path);
    assert.equal(response.headers.get("location"), `/login?next=${encodeURIComponent(path).replaceAll("%2F", "/")}`);
  }
  for (const path of ["/live", "/app/jobs/job_0000000000001/stream", "/app/jobs/job_0000000000001/image"]) {
    await hasStatus(await stranger.get(path), 401, path);
  }
  for (const path of ["/", "/login", "/exchange", "/docs", "/health"]) {
    await hasStatus(await stranger.get(path), 200, path);
  }
});

the.test("nothing is changed without the token of the page", async ({ server }) => {
  const ana = await signedIn(server, "csrf@example.org", 10);
  const other = await signedIn(server, "other@example.org");
  for (const [what, token] of [["no token", null], ["an empty one", ""], ["another's", other.csrf]]) {
    for (const path of FORMS) await hasStatus(await ana.form(path, { name: "x", package: "starter", attempt: "1" }, token), 403, `${what}: ${path}`);
    for (const path of SCRIPTS) await hasStatus(await ana.json(path, { workload: "llm-chat", message: "x", prompt: "x" }, token), 403, `${what}: ${path}`);
  }
  // With the token, but sent by another site.
  const headers = { origin: "https://evil.example", "x-csrf-token": ana.csrf, "content-type": "application/json" };
  const body = JSON.stringify({ workload: "llm-chat", message: "x" });
  await hasStatus(await ana.request("POST", "/app/chat", { headers, body }), 403, "another origin");
  // Signed out, the browser's token counts.
  const stranger = new Visitor(server.url);
  await hasStatus(await stranger.form("/login", { email: "x@example.org" }, null), 403, "/login without a cookie");
  await stranger.get("/login");
  await hasStatus(await stranger.form("/login", { email: "x@example.org" }, null), 403, "/login without a token");
  await hasStatus(await stranger.form("/login/confirm", { token: "x" }, null), 403, "/login/confirm");
  await hasStatus(await ana.get("/settings"), 200, "still signed in");
  const user = await server.user("csrf@example.org");
  assert.deepEqual([user.credits, user.held], [10, 0]);
});

the.test("every answer carries the headers that protect it", async ({ server }) => {
  const ana = await signedIn(server, "headers@example.org");
  const stranger = new Visitor(server.url);
  const pages = [
    ...["/", "/login", "/exchange", "/docs", "/no-such-page", "/credits"].map((path) => [stranger, path]),
    ...["/chat", "/credits", "/settings", "/no-such-page", "/chat/con_0000000000001"].map((path) => [ana, path]),
    [stranger, "/api/v1/account"], [stranger, "/health"], [stranger, "/static/app.css"], [stranger, "/sandbox/checkout/none"],
  ];
  for (const [visitor, path] of pages) {
    const response = await visitor.get(path);
    await response.arrayBuffer();
    const header = (name) => response.headers.get(name) ?? "";
    const policy = header("content-security-policy");
    assert.match(policy, /default-src 'self'/, path);
    assert.match(policy, /frame-ancestors 'none'/, path);
    assert.match(policy, /object-src 'none'/, path);
    assert.match(policy, /base-uri 'none'/, path);
    assert.match(policy, /form-action 'self'/, path);
    assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval|\*|https?:/, path);
    assert.equal(header("x-content-type-options"), "nosniff", path);
    assert.match(header("referrer-policy"), /^(same-origin|no-referrer|strict-origin)/, path);
    assert.match(header("x-request-id"), /^req_/, path);
  }
  for (const path of ["/chat", "/credits", "/settings"]) {
    assert.match((await ana.get(path)).headers.get("cache-control"), /no-store/, path);
  }
});

the.test("the session's cookie is kept from scripts and other sites", async ({ server }) => {
  const visitor = new Visitor(server.url);
  visitor.csrf = await visitor.readCsrf("/login");
  const sent = await (await visitor.form("/login", { email: "cookie@example.org" })).text();
  const link = /href="([^"]*\/login\/[^"]+)"/.exec(sent)[1];

  // Another browser is asked first, and signs nobody in by only opening the link.
  const scanner = new Visitor(server.url);
  const page = await hasStatus(await scanner.get(link), 200, "the link in another browser");
  assert.match(page, /Almost there/);
  assert.ok(![...scanner.cookies.keys()].some((name) => name.includes("session")), "a mail scanner is not signed in");

  const opened = await visitor.get(link);
  await hasStatus(opened, 303, "the link");
  const cookie = opened.headers.getSetCookie().find((line) => line.startsWith("archipelago_session="));
  assert.match(cookie, /; HttpOnly(;|$)/);
  assert.match(cookie, /; SameSite=(Lax|Strict)(;|$)/);
  assert.match(cookie, /; Path=\/(;|$)/);
  await hasStatus(await visitor.get("/chat"), 200, "signed in");

  // A link works once.
  const late = new Visitor(server.url);
  const dead = await late.get(link);
  await hasStatus(dead, 410, "the link, a second time");

  // Signing out ends the session itself, not only the browser's memory of it.
  const copy = new Visitor(server.url);
  copy.cookies = new Map(visitor.cookies);
  visitor.csrf = await visitor.readCsrf("/settings");
  await hasStatus(await visitor.form("/logout"), 303, "/logout");
  await hasStatus(await copy.get("/chat"), 303, "a copy of the cookie after signing out");
});

the.test("signing in goes on to pages of ours only", async ({ server }) => {
  for (const next of ["//evil.example", "https://evil.example", "/\\evil.example"]) {
    const visitor = new Visitor(server.url);
    await (await visitor.get(`/login?next=${encodeURIComponent(next)}`)).text();
    visitor.csrf = await visitor.readCsrf("/login");
    const sent = await (await visitor.form("/login", { email: "next@example.org" })).text();
    const opened = await visitor.get(/href="([^"]*\/login\/[^"]+)"/.exec(sent)[1]);
    assert.match(opened.headers.get("location"), /^\/(chat|quickstart)$/, next);
  }
});

the.test("a webhook that the provider did not sign grants nothing", async ({ server }) => {
  const ana = await signedIn(server, "hook@example.org");
  const purchase = await startPurchase(server, "hook@example.org");
  const session = purchase.checkout_url.split("/").at(-1);
  const stranger = new Visitor(server.url);
  const event = JSON.stringify({ id: "evt_sandbox_forged", kind: "checkout.completed", session });
  const now = Math.floor(Date.now() / 1000);
  const sign = (secret, body, at = now) => `t=${at},v1=${createHmac("sha256", secret).update(`${at}.${body}`).digest("hex")}`;
  const forgeries = {
    "no signature": undefined,
    "an empty one": "",
    "no hash": `t=${now}`,
    "another secret's": sign("whsec_guess", event),
    "an empty secret's": sign("", event),
    "another body's": sign("whsec_guess", `${event} `),
    "nonsense": "t=now,v1=00",
  };
  for (const [what, signature] of Object.entries(forgeries)) {
    const headers = { "content-type": "application/json", ...(signature !== undefined && { "sandbox-signature": signature }) };
    await hasStatus(await stranger.request("POST", "/webhooks/sandbox", { headers, body: event }), 400, what);
  }
  // Coming back without having paid grants nothing either.
  const page = await hasStatus(await ana.get(`/credits/return?purchase=${purchase.id}`), 200, "the return page");
  assert.match(page, /You left before paying/);
  assert.equal((await server.user("hook@example.org")).credits, 0);
});

the.test("prices and credits come from the server, whatever the form says", async ({ server }) => {
  const ana = await signedIn(server, "price@example.org");
  const fields = { package: "starter", attempt: "a", price: "0.01", amount: "1", credits: "1000000" };
  const bought = await ana.form("/credits/buy", fields);
  await hasStatus(bought, 303, "/credits/buy");
  const checkout = new URL(bought.headers.get("location"), server.url).pathname;
  assert.match(await (await ana.get(checkout)).text(), /\$4\.99/);
  const again = await ana.form("/credits/buy", fields);
  assert.equal(again.headers.get("location"), bought.headers.get("location"), "the same click buys once");
  await hasStatus(await ana.form("/credits/buy", { package: "none", attempt: "b" }), 422, "an unknown package");
  const csrf = await ana.readCsrf(checkout);
  // Pressed many times at once, and come back from many times: paid and granted once.
  const eightTimes = (action) => Promise.all(Array.from({ length: 8 }, action));
  const pressed = await eightTimes(() => ana.form(checkout, { action: "pay" }, csrf));
  const places = new Set(pressed.map((response) => response.headers.get("location")));
  assert.equal(places.size, 2, `one press pays, the others are told so: ${[...places]}`);
  const back = [...places].find((place) => /\/credits\/return\?purchase=pur_/.test(place));
  const returned = await eightTimes(() => ana.get(back));
  assert.deepEqual(new Set(returned.map((response) => response.headers.get("location"))), new Set(["/credits?done=bought"]));
  assert.equal((await server.user("price@example.org")).credits, 500);
});

the.test("what belongs to another is not there", async ({ server }) => {
  const ana = await signedIn(server, "mine@example.org", 100);
  const eve = await signedIn(server, "eve@example.org", 100);
  const asked = await (await ana.json("/app/chat", { workload: "llm-chat", message: "A secret" })).json();
  const made = await (await ana.json("/app/image", { prompt: "A secret", width: 64, height: 64, steps: 1 })).json();
  await finished(ana, asked.job_id);
  await finished(ana, made.job_id);
  const { id: purchase } = await startPurchase(server, "mine@example.org");
  await hasStatus(await ana.form("/settings/keys", { name: "mine", scope_read: "read", scope_write: "write" }), 200, "a new key");
  const key = /\/settings\/keys\/([^/"]+)\/revoke/.exec(await (await ana.get("/settings")).text())[1];
  const { id: island, token } = await server.admin("island-token", "create", "--email", "mine@example.org", "--name", "Palma");
  assert.ok(token);

  const looks = [
    `/chat/${asked.conversation_id}`, `/app/jobs/${asked.job_id}/stream`, `/app/jobs/${made.job_id}/stream`,
    `/app/jobs/${made.job_id}/image`, `/credits/return?purchase=${purchase}`,
  ];
  for (const path of looks) {
    await hasStatus(await ana.get(path), 200, `hers: ${path}`);
    await hasStatus(await eve.get(path), 404, `another's: ${path}`);
  }
  await hasStatus(await eve.json(`/app/jobs/${asked.job_id}/cancel`), 404, "cancel");
  await hasStatus(await eve.json(`/app/chat/answers/${asked.answer_id}/again`), 404, "again");
  const into = { workload: "llm-chat", message: "Hello", conversation_id: asked.conversation_id };
  await hasStatus(await eve.json("/app/chat", into), 404, "a message into another's conversation");
  await hasStatus(await eve.form(`/chat/${asked.conversation_id}/delete`), 404, "delete");
  await hasStatus(await ana.get(`/settings/keys/${key}`), 200, "her key");
  await hasStatus(await eve.get(`/settings/keys/${key}`), 404, "look at a key");
  await hasStatus(await eve.form(`/settings/keys/${key}`, { name: "taken" }), 404, "change a key");
  await hasStatus(await eve.form(`/settings/keys/${key}/revoke`), 404, "revoke a key");
  const hers = await hasStatus(await ana.get("/credits/export?format=json"), 200, "her statement");
  const eves = await hasStatus(await eve.get("/credits/export?format=json"), 200, "another's statement");
  assert.deepEqual([JSON.parse(hers).length, JSON.parse(eves).length], [3, 1]);
  await hasStatus(await eve.form(`/islands/tokens/${island}/revoke`), 404, "revoke a token");
  for (const path of ["/chat", "/credits", "/settings", "/islands", "/image"]) {
    const page = await (await eve.get(path)).text();
    for (const secret of ["A secret", purchase, key, island]) assert.ok(!page.includes(secret), `${secret} on ${path}`);
  }
  const evesKey = await server.apiKey("eve@example.org");
  const api = await eve.get(`/api/v1/jobs/${asked.job_id}`, { authorization: `Bearer ${evesKey}` });
  await hasStatus(api, 404, "by API");
  await hasStatus(await ana.get("/api/v1/jobs"), 401, "a session's cookie opens no API");
  // All is still there, and only hers was charged.
  await hasStatus(await ana.get(`/chat/${asked.conversation_id}`), 200, "her conversation");
  assert.equal((await server.user("eve@example.org")).credits, 100);
  assert.equal((await server.user("mine@example.org")).credits, 84);
});
