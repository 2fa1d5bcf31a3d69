// A visitor without a browser: requests, cookies, forms.

import assert from "node:assert/strict";

export class Visitor {
  cookies = new Map();
  /** What forms and scripts of the signed-in pages carry. */
  csrf = "";

  constructor(url) {
    this.url = url;
  }

  /** One request. Redirects are not followed; cookies are kept. */
  async request(method, path, { headers = {}, body } = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(new URL(path, this.url), {
      method,
      redirect: "manual",
      headers: { ...(cookie && { cookie }), ...headers },
      body,
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(";").map((part) => part.trim());
      const [name, value] = pair.split("=");
      if (attributes.includes("Max-Age=0")) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return response;
  }

  get(path, headers) {
    return this.request("GET", path, { headers });
  }

  /** Sends a form, with the token unless another one (or `null`: none) is given. */
  form(path, fields = {}, csrf = this.csrf) {
    const body = new URLSearchParams({ ...(csrf !== null && { csrf }), ...fields });
    return this.request("POST", path, { body });
  }

  /** Sends JSON as the scripts of the pages do. */
  json(path, data = {}, csrf = this.csrf) {
    const headers = { "content-type": "application/json", accept: "application/json" };
    if (csrf !== null) headers["x-csrf-token"] = csrf;
    return this.request("POST", path, { headers, body: JSON.stringify(data) });
  }

  /** The token in the forms of a page. */
  async readCsrf(path) {
    const response = await this.get(path);
    assert.equal(response.status, 200, `GET ${path}`);
    const found = /<meta name="csrf" content="([^"]+)">/.exec(await response.text());
    assert.ok(found, `${path} has a token`);
    return found[1];
  }

  /** Signs in by the link that the demo shows, or by the one that `link` finds. */
  async signIn(email, link) {
    this.csrf = await this.readCsrf("/login");
    const sent = await this.form("/login", { email });
    assert.equal(sent.status, 200, "POST /login");
    const page = await sent.text();
    const href = link ? await link() : /href="([^"]*\/login\/[^"]+)"/.exec(page)?.[1];
    assert.ok(href, "the page shows a link");
    const opened = await this.get(href);
    assert.equal(opened.status, 303, "the link signs in");
    this.csrf = await this.readCsrf("/settings");
  }

  cookiesForBrowser() {
    return [...this.cookies].map(([name, value]) => ({ name, value, url: this.url, httpOnly: true, sameSite: "Lax" }));
  }
}
