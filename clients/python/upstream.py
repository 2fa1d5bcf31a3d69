"""A small model server that speaks the OpenAI API: what stands behind the Islands of these tests.

What a question begins with decides what happens: "tool" calls the first tool it was given, "slow" says a word and waits until the
test lets it go on, "refuse" is refused as a wrong input, "silent" answers nothing for ever, "down" fails. Anything else is answered.
"""

import base64
import json
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream:
    def __init__(self):
        self.requests = []
        self.go_on = threading.Event()
        self.gone = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.send(self, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append((self.path, body))
                try:
                    {"/v1/chat/completions": outer.chat, "/v1/embeddings": outer.embed, "/v1/images/generations": outer.image}[
                        self.path
                    ](self, body)
                except (BrokenPipeError, ConnectionResetError):
                    outer.gone.set()
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def stop(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()

    def asked(self):
        """The newest request's body."""
        return self.requests[-1][1]

    @staticmethod
    def send(handler, body, status=200):
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def chat(self, handler, body):
        content = body["messages"][-1]["content"]
        question = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
        kind = question.split(" ")[0]
        if kind == "refuse":
            return self.send(handler, {"error": {"message": "this is not for me"}}, 400)
        if kind == "down":
            return self.send(handler, {"error": {"message": "out of memory"}}, 500)
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()

        def say(delta, reason=None, **more):
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": body["model"], **more}
            chunk.setdefault("choices", [{"index": 0, "delta": delta, "finish_reason": reason}])
            handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            handler.wfile.flush()

        if kind == "silent":
            while not self.go_on.wait(0.05):
                handler.wfile.write(b": nothing yet\n\n")
                handler.wfile.flush()
            return
        reason, tokens = "stop", 3
        if kind == "tool":
            name = body["tools"][0]["function"]["name"]
            begin = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
            say({"role": "assistant", "content": None, "tool_calls": [begin]})
            for piece in ['{"city":', '"Hvar"}']:
                say({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            reason = "tool_calls"
        elif body.get("response_format", {}).get("type") in ("json_object", "json_schema"):
            say({"role": "assistant", "content": '{"city":'})
            say({"content": '"Hvar","sunny":true}'})
        elif kind == "slow":
            say({"role": "assistant", "content": "One "})
            while not self.go_on.wait(0.05):
                handler.wfile.write(b": still here\n\n")
                handler.wfile.flush()
            say({"content": "two"})
        else:
            for word in ["Hello ", "from ", "upstream."]:
                say({"content": word})
        if body.get("max_tokens") == 1 or body.get("max_completion_tokens") == 1:
            reason = "length"
        say({}, reason)
        say({}, choices=[], usage={"prompt_tokens": 2, "completion_tokens": tokens, "total_tokens": 2 + tokens})
        handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True

    def embed(self, handler, body):
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        size = body.get("dimensions", 4)
        # Last to first: the index is what counts.
        data = [
            {"object": "embedding", "index": index, "embedding": [len(text) / 10] + [0.25] * (size - 1)}
            for index, text in reversed(list(enumerate(texts)))
        ]
        count = sum(len(text.split()) for text in texts)
        self.send(handler, {"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": count, "total_tokens": count}})

    def image(self, handler, body):
        width, height = (int(side) for side in body["size"].split("x"))
        rows = b"".join(b"\0" + b"\x20\x60\xa0" * width for _ in range(height))

        def part(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        png = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
        self.send(handler, {"created": 1, "data": [{"b64_json": base64.b64encode(png).decode()}]})
