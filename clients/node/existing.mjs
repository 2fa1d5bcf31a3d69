// What the existing JavaScript SDK (0.1.0) does on the wire: a strict stand-in, written after what is known of it, because it is not
// published where a test could install it. Where the SDK would throw, so does this.

export class ArchipelagError extends Error {
  constructor(message, status, body) {
    super(message);
    Object.assign(this, { status, responseBody: body });
  }
}
export class AuthenticationError extends ArchipelagError {}
export class InsufficientCreditsError extends ArchipelagError {}
export class NotFoundError extends ArchipelagError {}
export class ValidationError extends ArchipelagError {}
export class RateLimitError extends ArchipelagError {}

const KINDS = { 401: AuthenticationError, 402: InsufficientCreditsError, 404: NotFoundError, 422: ValidationError, 429: RateLimitError };
const ENDED = ["completed", "failed", "cancelled", "timeout"];

export class Archipelag {
  constructor({ baseUrl, apiKey }) {
    // One slash only.
    this.base = baseUrl.replace(/\/$/, "");
    this.key = apiKey;
  }

  async call(method, path, body, { userAgent = true } = {}) {
    const headers = { Authorization: `Bearer ${this.key}`, "Content-Type": "application/json" };
    if (userAgent) headers["User-Agent"] = "@archipelag/sdk/0.1.0";
    const response = await fetch(`${this.base}/api/v1${path}`, {
      method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(60_000),
    });
    if (!response.ok) await this.fail(response);
    // Every success is read as JSON.
    return response.json();
  }

  async fail(response) {
    const body = await response.json().catch(() => undefined);
    const message = body?.error?.message ?? response.statusText;
    const error = new (KINDS[response.status] ?? ArchipelagError)(message, response.status, body);
    if (response.status === 422) error.errors = body?.errors;
    if (response.status === 429) error.retryAfter = Number.parseInt(response.headers.get("retry-after"), 10);
    throw error;
  }

  async data(method, path, body) {
    return (await this.call(method, path, body)).data;
  }

  getAccount() { return this.data("GET", "/account"); }
  submitJob(workload, input) { return this.data("POST", "/jobs", { workload, input }); }
  listJobs(limit = 20, offset = 0) { return this.data("GET", `/jobs?limit=${limit}&offset=${offset}`); }
  getJob(id) { return this.data("GET", `/jobs/${id}`); }
  cancelJob(id) { return this.data("DELETE", `/jobs/${id}`); }
  listWorkloads() { return this.data("GET", "/workloads"); }
  getWorkload(slug) { return this.data("GET", `/workloads/${slug}`); }
  listApiKeys() { return this.data("GET", "/api-keys"); }

  async createApiKey(name) {
    // It takes `data` off once, and then looks for `data` and `key` inside.
    const inside = await this.data("POST", "/api-keys", { name });
    return { apiKey: inside.data, key: inside.key };
  }

  deleteApiKey(id) { return this.call("DELETE", `/api-keys/${id}`); }

  async waitForJob(id) {
    for (let look = 0; look < 600; look += 1) {
      const job = await this.getJob(id);
      if (ENDED.includes(job.status)) return job;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`job ${id} did not end`);
  }

  /** Parses each chunk of the network by itself: a frame that is split, or has another line before its data, is lost. */
  async streamJob(id, on) {
    const response = await fetch(`${this.base}/api/v1/jobs/${id}/stream`, {
      headers: { Authorization: `Bearer ${this.key}`, Accept: "text/event-stream" },
    });
    if (!response.ok) await this.fail(response);
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      for (const frame of decoder.decode(chunk, { stream: true }).split("\n\n")) {
        if (!frame.startsWith("data: ")) continue;
        const event = JSON.parse(frame.slice("data: ".length));
        if (event.type === "token") on.token?.(event.content ?? event.chunk);
        if (event.type === "progress") on.progress?.(event.step, event.total);
        if (event.type === "image") on.image?.(event.image_data, event.format);
        if (event.type === "error") on.error?.(event.error);
        if (event.type === "done") on.done?.(event.usage);
      }
    }
  }

  async chat(prompt) {
    const job = await this.waitForJob((await this.submitJob("llm-chat", { prompt })).id);
    return { content: job.output ?? "", finishReason: job.status === "completed" ? "stop" : job.status, usage: job.usage };
  }

  async chatStream(prompt, on) {
    return this.streamJob((await this.submitJob("llm-chat", { prompt })).id, on);
  }

  async generateImage(prompt, { width = 1024, height = 1024, steps = 30 } = {}) {
    const input = { prompt, width, height, steps, guidance_scale: 7.5 };
    return JSON.parse((await this.waitForJob((await this.submitJob("sdxl", input)).id)).output);
  }

  submitBatch(workload, inputs, more = {}) {
    const body = { workload, inputs, merge_strategy: "concat", fail_mode: "best_effort", ...more };
    return this.call("POST", "/jobs/batch", body, { userAgent: false });
  }

  getBatchStatus(id) { return this.call("GET", `/jobs/${id}/batch-status`, undefined, { userAgent: false }); }
}
