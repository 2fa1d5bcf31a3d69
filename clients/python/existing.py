"""What the existing public clients do on the wire, so that they need not be changed: a strict stand-in for each of the three.

They are not published where a test could install them, so these are written after what is known of them: which headers they send,
which answers they take, what they raise. Where a client would raise, so does its stand-in. The one in JavaScript is in
`clients/node/existing.mjs`.
"""

import json
from datetime import datetime
from typing import Any, Literal, Optional

import requests
from pydantic import BaseModel

STATUS = Literal["pending", "queued", "running", "completed", "failed", "cancelled", "timeout"]


class Usage(BaseModel):
    prompt_tokens: Optional[int] = None
    completion_tokens: Optional[int] = None
    total_tokens: Optional[int] = None
    credits_used: float = 0.0


class Job(BaseModel):
    id: str
    workload_id: int
    workload_slug: Optional[str] = None
    status: STATUS
    input: dict[str, Any]
    output: Optional[str] = None
    error: Optional[str] = None
    created_at: datetime
    started_at: Optional[datetime] = None
    completed_at: Optional[datetime] = None
    duration_ms: Optional[int] = None
    usage: Optional[Usage] = None


class Workload(BaseModel):
    id: int
    name: str
    slug: str
    description: Optional[str] = None
    runtime_type: Literal["container", "wasm"]
    required_vram_mb: Optional[int] = None
    required_ram_mb: Optional[int] = None
    price_per_job: float
    is_enabled: bool = True


class Account(BaseModel):
    id: str
    email: str
    credits: float
    created_at: datetime


class ApiKey(BaseModel):
    id: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: Optional[datetime] = None
    expires_at: Optional[datetime] = None


class BatchChild(BaseModel):
    id: str
    batch_index: int
    state: str
    error: Optional[str] = None
    host_id: Optional[str] = None


class BatchInfo(BaseModel):
    chunk_count: int
    merge_strategy: str
    fail_mode: str
    completed: int
    failed: int


class Batch(BaseModel):
    id: str
    state: str
    workload: str
    batch: BatchInfo
    children: list[BatchChild]
    created_at: datetime


class BatchStatus(BaseModel):
    parent_id: str
    parent_state: str
    chunk_count: int
    merge_strategy: str
    fail_mode: str
    child_states: dict[str, int]
    children: list[BatchChild]


class ArchipelagError(Exception):
    def __init__(self, message, status=None, **more):
        super().__init__(message)
        self.message, self.status, self.more = message, status, more


class AuthenticationError(ArchipelagError):
    pass


class InsufficientCreditsError(ArchipelagError):
    pass


class NotFoundError(ArchipelagError):
    pass


class ValidationError(ArchipelagError):
    pass


class RateLimitError(ArchipelagError):
    pass


class SSEError(Exception):
    pass


KINDS = {401: AuthenticationError, 402: InsufficientCreditsError, 404: NotFoundError, 422: ValidationError, 429: RateLimitError}
EVENTS = {"token", "status", "progress", "image", "error", "done"}
ENDED = {"completed", "failed", "cancelled", "timeout"}


class PythonSdk:
    """The Python SDK 0.1.0. Its asynchronous half sends and takes the same."""

    USER_AGENT = "archipelag-python/0.1.0"

    def __init__(self, base_url, key):
        self.base = base_url.rstrip("/")
        self.session = requests.Session()
        self.session.headers.update(
            {
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "User-Agent": self.USER_AGENT,
                "Accept": "*/*",
                "Accept-Encoding": "gzip, deflate",
            }
        )

    def call(self, method, path, body=None, params=None):
        data = None if body is None else json.dumps(body)
        answer = self.session.request(method, f"{self.base}/api/v1{path}", data=data, params=params, timeout=60)
        if answer.status_code in (200, 201):
            return answer.json()
        raise self.error(answer)

    @staticmethod
    def error(answer):
        try:
            message = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.text
        kind = KINDS.get(answer.status_code, ArchipelagError)
        more = {}
        if kind is ValidationError:
            more["errors"] = answer.json().get("errors")
        if kind is RateLimitError and "retry-after" in answer.headers:
            more["retry_after"] = int(answer.headers["retry-after"])
        return kind(message, answer.status_code, **more)

    def get_account(self):
        return Account(**self.call("GET", "/account")["data"])

    def submit_job(self, workload, input):
        return Job(**self.call("POST", "/jobs", {"workload": workload, "input": input})["data"])

    def list_jobs(self, limit=20, offset=0):
        return [Job(**row) for row in self.call("GET", "/jobs", params={"limit": limit, "offset": offset})["data"]]

    def get_job(self, id):
        return Job(**self.call("GET", f"/jobs/{id}")["data"])

    def cancel_job(self, id):
        return Job(**self.call("DELETE", f"/jobs/{id}")["data"])

    def wait_for_job(self, id):
        for _ in range(600):
            job = self.get_job(id)
            if job.status in ENDED:
                return job
            # The SDK pauses for a second; the tests are in more of a hurry.
            __import__("time").sleep(0.05)
        raise TimeoutError(id)

    def stream_job(self, id):
        """The events of a job: as httpx-sse reads them, then as the SDK does."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        with self.session.get(f"{self.base}/api/v1/jobs/{id}/stream", headers=headers, stream=True, timeout=60) as answer:
            if answer.headers.get("content-type", "").partition(";")[0] != "text/event-stream":
                raise SSEError(answer.headers.get("content-type"))
            data, last_id = [], ""
            for line in answer.iter_lines(decode_unicode=True):
                if line == "":
                    if data or last_id:
                        yield self.event("\n".join(data))
                    data = []
                elif line.startswith("data:"):
                    data.append(line[5:].removeprefix(" "))
                elif line.startswith("id:"):
                    last_id = line[3:]

    @staticmethod
    def event(text):
        event = json.loads(text)
        kind = event.get("type", "token")
        if kind not in EVENTS:
            raise ValueError(f"{kind!r} is not a valid type of event")
        if kind == "error":
            assert isinstance(event["error"], str), event
        usage = Usage(**event["usage"]) if "usage" in event else None
        return kind, event.get("content", event.get("chunk")), usage, event

    def chat(self, prompt, system_prompt=None, max_tokens=None, temperature=None):
        input = {"prompt": prompt}
        for name, value in (("system_prompt", system_prompt), ("max_tokens", max_tokens)):
            if value:
                input[name] = value
        if temperature is not None:
            input["temperature"] = temperature
        job = self.wait_for_job(self.submit_job("llm-chat", input).id)
        return job.output or "", "stop" if job.status == "completed" else job.status, job.usage

    def chat_stream(self, prompt):
        yield from self.stream_job(self.submit_job("llm-chat", {"prompt": prompt}).id)

    def generate_image(self, prompt, width=1024, height=1024, steps=30):
        input = {"prompt": prompt, "width": width, "height": height, "steps": steps, "guidance_scale": 7.5}
        job = self.wait_for_job(self.submit_job("sdxl", input).id)
        image = json.loads(job.output)
        return image["image_data"], image["format"], image["width"], image["height"], image.get("seed")

    def list_workloads(self):
        return [Workload(**row) for row in self.call("GET", "/workloads")["data"]]

    def get_workload(self, slug):
        return Workload(**self.call("GET", f"/workloads/{slug}")["data"])

    def list_api_keys(self):
        return [ApiKey(**row) for row in self.call("GET", "/api-keys")["data"]]

    def create_api_key(self, name):
        body = self.call("POST", "/api-keys", {"name": name})
        return ApiKey(**body["data"]), body["key"]

    def delete_api_key(self, id):
        self.call("DELETE", f"/api-keys/{id}")

    def submit_batch(self, workload, inputs, merge_strategy="concat", fail_mode="best_effort", **more):
        body = {"workload": workload, "inputs": inputs, "merge_strategy": merge_strategy, "fail_mode": fail_mode, **more}
        return Batch(**self.call("POST", "/jobs/batch", body))

    def get_batch_status(self, id):
        return BatchStatus(**self.call("GET", f"/jobs/{id}/batch-status"))

    def wait_for_batch(self, id):
        for _ in range(600):
            if self.get_batch_status(id).parent_state in ("succeeded", "failed", "cancelled"):
                return self.get_job(id)
            __import__("time").sleep(0.05)
        raise TimeoutError(id)


class CommandError(Exception):
    """What the command line says on stderr before it ends with 1."""


def integer(value):
    assert type(value) is int, f"invalid type: {value!r}, expected an integer"
    return value


def string(value):
    assert type(value) is str, f"invalid type: {value!r}, expected a string"
    return value


def number(value):
    assert type(value) in (int, float), f"invalid type: {value!r}, expected a number"
    return value


class CommandLine:
    """The command line 0.2.0, which reads answers into types that are checked."""

    USER_AGENT = "archipelagio-cli/0.2.0"
    WORDS = {401: "Authentication failed: {}", 402: "Insufficient credits: {}", 404: "Not found: {}", 422: "Validation error: {}", 429: "Rate limited: {}"}

    def __init__(self, base_url, key):
        self.base = base_url.rstrip("/")
        self.session = requests.Session()
        # No Accept-Encoding at all.
        self.session.headers.clear()
        self.session.headers.update(
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "User-Agent": self.USER_AGENT, "Accept": "*/*"}
        )

    def call(self, method, path, body=None, params=None, stream=False):
        data = None if body is None else json.dumps(body)
        answer = self.session.request(method, f"{self.base}/api/v1{path}", data=data, params=params, stream=stream)
        if answer.ok:
            return answer
        try:
            parsed = answer.json()
            found = [parsed.get(name) for name in ("error", "message") if isinstance(parsed.get(name), str)]
            message = found[0] if found and not isinstance(parsed.get("error"), dict) else answer.text
        except ValueError:
            message = answer.text
        words = self.WORDS.get(answer.status_code, "Access denied: {}" if answer.status_code == 403 else f"API error ({answer.status_code}): {{}}")
        raise CommandError(words.format(message))

    def data(self, method, path, **more):
        return self.call(method, path, **more).json()["data"]

    @staticmethod
    def job(row):
        string(row["id"])
        if row.get("workload_id") is not None:
            integer(row["workload_id"])
        string(row["status"])
        for name in ("output", "error"):
            assert row.get(name) is None or type(row[name]) is str, row[name]
        if row.get("duration_ms") is not None:
            assert integer(row["duration_ms"]) >= 0
        return row

    def account(self):
        row = self.data("GET", "/account")
        return integer(row["id"]), string(row["email"]), number(row["credits"])

    def submit(self, workload, input):
        return self.job(self.data("POST", "/jobs", body={"workload": workload, "input": input}))

    def jobs(self, limit=20, offset=0):
        return [self.job(row) for row in self.data("GET", "/jobs", params={"limit": limit, "offset": offset})]

    def show(self, id):
        return self.job(self.data("GET", f"/jobs/{id}"))

    def cancel(self, id):
        self.call("DELETE", f"/jobs/{id}")

    def stream(self, id):
        """What is printed of a job's stream: the content of every event, and errors."""
        printed = []
        for data in self.frames(self.call("GET", f"/jobs/{id}/stream", stream=True)):
            event = json.loads(data)
            if event.get("content"):
                printed.append(string(event["content"]))
            if event.get("error") is not None:
                printed.append(f"Error: {string(event['error'])}")
        return "".join(printed)

    @staticmethod
    def frames(answer):
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("data:") and (data := line[5:].strip()) and data != "[DONE]":
                yield data

    def workloads(self):
        rows = self.data("GET", "/workloads")
        for row in rows:
            self.workload(row)
        return rows

    @staticmethod
    def workload(row):
        integer(row["id"]), string(row["name"]), string(row["slug"]), number(row["price_per_job"])
        # Cut by bytes for the table.
        assert row["name"].isascii() or len(row["name"].encode()) <= 28
        return row

    def show_workload(self, slug):
        return self.workload(self.data("GET", f"/workloads/{slug}"))

    def keys(self):
        return [(string(row["id"]), string(row["name"])) for row in self.data("GET", "/api-keys")]

    def create_key(self, name):
        data = self.data("POST", "/api-keys", body={"name": name})
        return string(data["api_key"]["id"]), string(data["key"])

    def delete_key(self, id):
        self.call("DELETE", f"/api-keys/{id}")

    @staticmethod
    def host(row):
        string(row["id"])
        for name in ("name", "status", "region", "last_heartbeat_at"):
            assert row.get(name) is None or type(row[name]) is str, (name, row[name])
        assert row.get("karma_score") is None or number(row["karma_score"]) >= 0
        return row

    def hosts(self):
        return [self.host(row) for row in self.data("GET", "/hosts")]

    def show_host(self, id):
        return self.host(self.data("GET", f"/hosts/{id}"))

    def rates(self, path):
        rows = self.data("GET", f"/market/{path}")
        assert type(rows) is list
        for row in rows:
            string(row["workload_slug"])
            for name in ("avg_price", "min_price", "max_price"):
                assert row.get(name) is None or number(row[name]) >= 0
            assert row.get("num_hosts") is None or integer(row["num_hosts"]) >= 0
        return rows

    def chat(self, text, stream):
        body = {"model": "default", "messages": [{"role": "user", "content": text}], "stream": stream}
        answer = self.call("POST", "/chat/completions", body=body, stream=stream)
        if not stream:
            whole = answer.json()
            return string(whole["choices"][0]["message"]["content"]), integer(whole["usage"]["total_tokens"])
        words, tokens = [], None
        for data in self.frames(answer):
            chunk = json.loads(data)
            # A frame without choices ends it.
            assert type(chunk.get("choices")) is list, f"Stream error: Failed to parse chunk {data}"
            words += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
            tokens = (chunk.get("usage") or {}).get("total_tokens", tokens)
        return "".join(words), tokens
