// A small server that speaks the OpenAI API, written without a look at the Island that uses it.

import { once } from "node:events";
import { createServer } from "node:http";

import { png } from "./png.mjs";

export class Upstream {
  /** What was asked, newest last: `{path, body}`. */
  requests = [];
  #gates = new Map();

  static async start() {
    const upstream = new Upstream();
    upstream.server = createServer((request, response) => {
      upstream.#answer(request, response).catch((error) => response.destroy(error));
    });
    upstream.server.listen(0, "127.0.0.1");
    await once(upstream.server, "listening");
    upstream.url = `http://127.0.0.1:${upstream.server.address().port}/v1`;
    return upstream;
  }

  async stop() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }

  /** Questions with this word stop half-way until the function that this gives is called. */
  holdBack(word) {
    let open;
    const gate = new Promise((resolve) => { open = resolve; });
    this.#gates.set(word, gate);
    return open;
  }

  async #answer(request, response) {
    let text = "";
    for await (const part of request) text += part;
    const route = `${request.method} ${request.url}`;
    if (route === "GET /v1/models") return json(response, { object: "list", data: [{ id: "tiny", object: "model" }] });
    const body = JSON.parse(text);
    this.requests.push({ path: request.url, body });
    if (route === "POST /v1/chat/completions") return this.#chat(response, body);
    if (route === "POST /v1/images/generations") return image(response, body);
    response.writeHead(404).end();
  }

  async #chat(response, body) {
    const { role, content: question } = body.messages.at(-1);
    const call = role === "user" && body.tools?.[0]?.function;
    const words = call ? [] : said(role, question, body.response_format).split(/(?<= )/);
    const about = { id: "chatcmpl-1", created: 1, model: body.model };
    const usage = { prompt_tokens: 5, completion_tokens: words.length, total_tokens: 5 + words.length };
    const calls = call && [{
      id: "call_1", type: "function", function: { name: call.name, arguments: JSON.stringify({ place: question.match(/\w+(?=\?)/)[0] }) },
    }];
    const reason = call ? "tool_calls" : "stop";
    if (!body.stream) {
      const message = { role: "assistant", content: words.join(""), ...(call && { tool_calls: calls }) };
      return json(response, { ...about, object: "chat.completion", choices: [{ index: 0, message, finish_reason: reason }], usage });
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (delta, finish_reason = null) => {
      const piece = { ...about, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] };
      response.write(`data: ${JSON.stringify(piece)}\n\n`);
    };
    send({ role: "assistant", content: "" });
    const gate = [...this.#gates].find(([word]) => question.includes(word))?.[1];
    for (const [index, word] of words.entries()) {
      if (index === 3) await gate;
      send({ content: word });
    }
    if (call) send({ tool_calls: calls.map((one, index) => ({ index, ...one })) });
    send({}, reason);
    if (body.stream_options?.include_usage) {
      response.write(`data: ${JSON.stringify({ ...about, object: "chat.completion.chunk", choices: [], usage })}\n\n`);
    }
    response.end("data: [DONE]\n\n");
  }
}

/** What it answers in words. */
function said(role, question, format) {
  if (role === "tool") return `The tool says ${question}.`;
  if (format?.type === "json_object") return '{"islands": ["Menorca", "Hvar", "Skye"]}';
  return `You asked: ${question} — and this is the upstream’s answer.`;
}

function json(response, value) {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function image(response, { size = "64x64" }) {
  const [width, height] = size.split("x").map(Number);
  json(response, { created: 1, data: [{ b64_json: png(width, height).toString("base64") }] });
}
