// The official OpenAI library for Node, as it comes: only the address and the key are ours. `clients/python/test_node.py` starts what
// it talks to, and tells where that is.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const { ARCHIPELAGO_URL: url, ARCHIPELAGO_KEY: apiKey, ARCHIPELAGO_POOR_KEY: poorKey } = process.env;
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
const hi = [{ role: "user", content: "Hi" }];
const say = (content) => [{ role: "user", content }];
const tools = [
  { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } },
];

async function job(id) {
  const response = await fetch(`${url}/api/v1/jobs/${id.replace("chatcmpl-", "")}`, { headers: { authorization: `Bearer ${apiKey}` } });
  return (await response.json()).data;
}

async function becomes(id, status) {
  for (let look = 0; look < 600; look += 1) {
    const found = await job(id);
    if (found.status === status) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`job ${id} did not become ${status}`);
}

test("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(["llm-chat", "llm-chat/tiny", "text-embedding"].every((id) => ids.includes(id)), ids.join());
  assert.equal((await client.models.retrieve("sdxl")).id, "sdxl");
  await assert.rejects(client.models.retrieve("gpt-none"), (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
});

test("a chat, with its cost and its job in the head", async () => {
  const { data, response } = await client.chat.completions
    .create({ model: "llm-chat", messages: hi, temperature: 0.5, max_tokens: 20 })
    .withResponse();
  assert.equal(data.choices[0].message.content, "Hello from upstream.");
  assert.equal(data.usage.credits_used, 1.5);
  assert.equal(response.headers.get("x-credits-used"), "1.5");
  assert.equal(`chatcmpl-${response.headers.get("x-job-id")}`, data.id);
  assert.ok(data._request_id);
});

test("a stream, with usage and cost in its last chunk", async () => {
  const chunks = [];
  const stream = await client.chat.completions.create({
    model: "llm-metered", messages: hi, stream: true, stream_options: { include_usage: true },
  });
  for await (const chunk of stream) chunks.push(chunk);
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), "Hello from upstream.");
  const last = chunks.at(-1);
  assert.deepEqual([last.choices.length, last.usage.total_tokens, last.usage.credits_used], [0, 4, 0.0065]);
});

test("tools", async () => {
  const answer = await client.chat.completions.create({ model: "llm-chat", messages: say("tool"), tools });
  const [{ message, finish_reason }] = answer.choices;
  assert.equal(finish_reason, "tool_calls");
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Hvar" });
  const messages = [...say("tool"), message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "Sun" }];
  assert.equal((await client.chat.completions.create({ model: "llm-chat", messages, tools })).choices[0].finish_reason, "stop");
  const stream = client.chat.completions.stream({ model: "llm-chat", messages: say("tool"), tools });
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.tool_calls[0].function.arguments, '{"city":"Hvar"}');
});

test("a runner of tools calls them and goes on", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    model: "llm-chat",
    messages: say("tool"),
    tools: [{
      type: "function",
      function: { ...tools[0].function, parse: JSON.parse, function: ({ city }) => { asked.push(city); return "Sun"; } },
    }],
  });
  assert.equal(await runner.finalContent(), "Hello from upstream.");
  assert.deepEqual(asked, ["Hvar"]);
});

test("JSON", async () => {
  const answer = await client.chat.completions.create({ model: "llm-chat", messages: hi, response_format: { type: "json_object" } });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), { city: "Hvar", sunny: true });
});

test("vectors", async () => {
  const answer = await client.embeddings.create({ model: "text-embedding", input: ["tides", "lighthouse"] });
  assert.deepEqual([...answer.data[0].embedding], [0.5, 0.25, 0.25, 0.25]);
  assert.equal(answer.data[1].index, 1);
  assert.equal(answer.usage.credits_used, 0.002);
  const plain = await client.embeddings.create({ model: "text-embedding", input: "tides", encoding_format: "float", dimensions: 3 });
  assert.deepEqual(plain.data[0].embedding, [0.5, 0.25, 0.25]);
});

test("an image", async () => {
  const answer = await client.images.generate({ model: "sdxl", prompt: "a lighthouse", size: "64x64" });
  assert.equal(Buffer.from(answer.data[0].b64_json, "base64").subarray(1, 4).toString(), "PNG");
});

test("errors", async () => {
  const chat = (more, by = client) => by.chat.completions.create({ model: "llm-chat", messages: hi, ...more });
  const cases = [
    [() => chat({}, new OpenAI({ baseURL: `${url}/v1`, apiKey: "ak_wrong" })), OpenAI.AuthenticationError, 401, "unauthenticated"],
    [() => chat({}, new OpenAI({ baseURL: `${url}/v1`, apiKey: poorKey })), OpenAI.APIError, 402, "insufficient_credits"],
    [() => chat({ model: "gpt-none" }), OpenAI.NotFoundError, 404, "model_not_found"],
    [() => chat({ n: 2 }), OpenAI.UnprocessableEntityError, 422, "invalid_field"],
    [() => client.embeddings.create({ model: "text-embedding", input: [1, 2] }), OpenAI.UnprocessableEntityError, 422, "invalid_field"],
    [() => client.responses.create({ model: "llm-chat", input: "Hi" }), OpenAI.NotFoundError, 404, "not_found"],
  ];
  for (const [call, kind, status, code] of cases) {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.deepEqual([error.status, error.code], [status, code]);
      assert.ok(error.message && error.type && error.requestID);
      return true;
    });
  }
});

test("leaving a stream cancels the job", async () => {
  const stream = await client.chat.completions.create({ model: "llm-metered", messages: say("slow one"), stream: true });
  let id;
  for await (const chunk of stream) {
    id = chunk.id;
    break;
  }
  const ended = await becomes(id, "cancelled");
  assert.equal(ended.cost, 0.003);
});

test("giving up on an answer cancels the job", async () => {
  const impatient = new OpenAI({ baseURL: `${url}/v1`, apiKey, timeout: 1000, maxRetries: 0 });
  await assert.rejects(impatient.chat.completions.create({ model: "llm-chat", messages: say("silent") }), OpenAI.APIConnectionTimeoutError);
  const controller = new AbortController();
  const asked = client.chat.completions.create({ model: "llm-chat", messages: say("silent") }, { signal: controller.signal });
  setTimeout(() => controller.abort(), 500);
  await assert.rejects(asked, OpenAI.APIUserAbortError);
  const list = async () => (await (await fetch(`${url}/api/v1/jobs?limit=2`, { headers: { authorization: `Bearer ${apiKey}` } })).json()).data;
  for (const { id } of await list()) assert.equal((await becomes(id, "cancelled")).cost, 0);
});
