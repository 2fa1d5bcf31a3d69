// Every call of the existing JavaScript SDK, by its stand-in, against a running coordinator with a real Island.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Archipelag, AuthenticationError, InsufficientCreditsError, NotFoundError, ValidationError } from "./existing.mjs";

const { ARCHIPELAGO_URL: url, ARCHIPELAGO_KEY: apiKey, ARCHIPELAGO_POOR_KEY: poorKey } = process.env;
const sdk = new Archipelag({ baseUrl: `${url}/`, apiKey });

test("account, Cargos, jobs", async () => {
  const account = await sdk.getAccount();
  assert.deepEqual([typeof account.id, account.email, typeof account.credits], ["string", "ana@example.org", "number"]);
  assert.ok((await sdk.listWorkloads()).some((workload) => workload.slug === "llm-chat"));
  assert.equal((await sdk.getWorkload("sdxl")).slug, "sdxl");
  const job = await sdk.submitJob("llm-chat", { prompt: "Hi" });
  const ended = await sdk.waitForJob(job.id);
  assert.deepEqual([ended.status, ended.output, ended.usage.credits_used], ["completed", "Hello from upstream.", 1.5]);
  // Its types have the other spelling, and it maps nothing.
  assert.equal(ended.workloadSlug, "llm-chat");
  assert.equal(ended.usage.totalTokens, 5);
  assert.ok(ended.createdAt && ended.completedAt && Number.isInteger(ended.durationMs));
  assert.ok((await sdk.listJobs()).some(({ id }) => id === job.id));
  const slow = await sdk.submitJob("llm-chat", { prompt: "slow" });
  assert.equal((await sdk.cancelJob(slow.id)).status, "cancelled");
});

test("chat and image", async () => {
  const answer = await sdk.chat("Hi");
  assert.deepEqual([answer.content, answer.finishReason], ["Hello from upstream.", "stop"]);
  const image = await sdk.generateImage("a lighthouse", { width: 64, height: 64, steps: 2 });
  assert.deepEqual([image.format, image.width, image.height], ["png", 64, 64]);
});

test("streams", async () => {
  let [text, usage, pictures, steps] = ["", undefined, [], 0];
  await sdk.chatStream("Hi", { token: (piece) => { text += piece; }, done: (told) => { usage = told; } });
  assert.deepEqual([text, usage.total_tokens, usage.credits_used], ["Hello from upstream.", 5, 1.5]);
  const job = await sdk.submitJob("sdxl", { prompt: "a lighthouse", width: 64, height: 64, steps: 2, guidance_scale: 7.5 });
  await sdk.streamJob(job.id, { image: (data, format) => pictures.push(format), progress: () => { steps += 1; } });
  assert.deepEqual(pictures, ["png"]);
  await assert.rejects(sdk.streamJob("nope", {}), NotFoundError);
});

test("keys", async () => {
  const { apiKey: made, key } = await sdk.createApiKey("from JavaScript");
  assert.ok(made.id && made.prefix && key.startsWith("ak_"));
  assert.ok((await sdk.listApiKeys()).some(({ id }) => id === made.id));
  await sdk.deleteApiKey(made.id);
});

test("batches", async () => {
  const batch = await sdk.submitBatch("llm-chat", [{ prompt: "one" }, { prompt: "two" }], { bid_price: "2.5" });
  assert.equal(batch.children.length, 2);
  let status;
  for (let look = 0; look < 600 && !["succeeded", "failed", "cancelled"].includes(status?.parent_state); look += 1) {
    status = await sdk.getBatchStatus(batch.id);
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.deepEqual([status.parent_state, status.child_states.succeeded], ["succeeded", 2]);
});

test("errors", async () => {
  const wrong = new Archipelag({ baseUrl: url, apiKey: "ak_wrong" });
  await assert.rejects(wrong.getAccount(), (error) => error instanceof AuthenticationError && /not valid/.test(error.message));
  await assert.rejects(sdk.getJob("nope"), NotFoundError);
  await assert.rejects(sdk.submitJob("llm-chat", {}), (error) => error instanceof ValidationError && Boolean(error.errors["input.prompt"]));
  const poor = new Archipelag({ baseUrl: url, apiKey: poorKey });
  await assert.rejects(poor.submitJob("llm-chat", { prompt: "Hi" }), InsufficientCreditsError);
});
