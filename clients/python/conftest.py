"""A coordinator, an Island and a model server for the tests of clients: the real programs, on the engine that
ARCHIPELAGO_TEST_DATABASE names (sqlite or postgres). The programs are in ARCHIPELAGO_BIN_DIR or target/debug.
"""

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from upstream import Upstream

BIN = Path(os.environ.get("ARCHIPELAGO_BIN_DIR") or Path(__file__).parents[2] / "target" / "debug")
PATIENCE = 60
CONFIG = """
[limits]
requests_per_minute = 100000
[jobs]
wait_secs = 5
[[workloads]]
slug = "llm-chat"
aliases = ["gpt-4o-mini"]
name = "Chat"
description = "By the request."
kind = "chat"
ceiling = "5"
[[workloads]]
slug = "llm-metered"
name = "Chat by tokens"
description = "By tokens."
kind = "chat"
unit = "1k_tokens"
ceiling = "5"
[[workloads]]
slug = "sdxl"
name = "Images"
description = "Pictures."
kind = "image"
ceiling = "50"
[[workloads]]
slug = "text-embedding"
aliases = ["text-embedding-3-small"]
name = "Vectors"
description = "Texts as vectors."
kind = "embedding"
unit = "1k_tokens"
ceiling = "5"
[[workloads]]
slug = "unserved"
name = "Nobody serves this"
description = "Waits."
kind = "chat"
ceiling = "5"
"""
OFFERS = [("llm-chat", "1.5", "chat"), ("llm-metered", "2", "chat"), ("sdxl", "10", "images"), ("text-embedding", "1", "embeddings")]


class Program:
    """A program that runs until it is stopped; keeps what it says."""

    def __init__(self, name, *args, env=None, stdin=None):
        self.lines, self.news = [], threading.Condition()
        clean = {key: value for key, value in os.environ.items() if not re.match("ARCHIPELAGO_|ISLAND_|RUST_LOG", key)}
        self.process = subprocess.Popen(
            [BIN / name, *map(str, args)], env={**clean, **(env or {})}, stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, bufsize=1,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(re.sub("\x1b\\[[0-9;]*m", "", line.rstrip("\n")))
                self.news.notify_all()

    def says(self, pattern):
        def found():
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self.news:
            assert self.news.wait_for(found, PATIENCE), f"{pattern!r} was not said:\n" + "\n".join(self.lines)
            return found()

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def postgres():
    """Asks for an empty database; nothing where the tests run on SQLite."""
    if os.environ.get("ARCHIPELAGO_TEST_DATABASE", "sqlite") != "postgres":
        yield None
        return
    server = Program("pg_temp", stdin=subprocess.PIPE)
    yield server.says("^postgres.*").group()
    server.process.stdin.close()
    server.process.wait(PATIENCE)


class World:
    def __init__(self, folder, database, upstream):
        self.upstream, self.folder = upstream, folder
        self.config = folder / "config.toml"
        self.config.write_text(CONFIG)
        self.env = {"ARCHIPELAGO__DATABASE__URL": database} if database else {}
        self.server = Program("archipelago", "serve", "--listen", "127.0.0.1:0", "--data", folder, "--config", self.config, env=self.env)
        self.url = self.server.says(r"ready: (http:\S+)").group(1)
        self.admin("user", "create", "--email", "owner@example.org", "--verified")
        token = self.admin("island-token", "create", "--email", "owner@example.org", "--name", "Hvar")["token"]
        lines = [f'coordinator = "{self.url}"', f'token = "{token}"', "[[backend]]", 'kind = "openai"', f'base_url = "{upstream.url}"']
        for workload, ask, endpoint in OFFERS:
            lines += ["[[backend.offer]]", f'workload = "{workload}"', f'ask = "{ask}"', "slots = 8", 'models = ["tiny"]', f'endpoint = "{endpoint}"']
        (folder / "island.toml").write_text("\n".join(lines) + "\n")
        self.island = Program("island", "--config", folder / "island.toml")
        self.island.says("Connected as ")

    def run(self, *args):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ARCHIPELAGO_")}
        command = [BIN / "archipelago", *args, "--data", self.folder, "--config", self.config]
        return subprocess.run(command, env={**clean, **self.env}, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def admin(self, *args):
        return json.loads(self.run("admin", "--json", *args))

    def key(self, email="ana@example.org", credits="1000", verified=True, scopes="read,write"):
        """A key of a user, who is made first."""
        self.admin("user", "create", "--email", email, *(["--verified"] if verified else []))
        if credits:
            self.admin("grant", "--email", email, "--credits", credits, "--note", "test")
        return self.admin("api-key", "create", "--email", email, "--name", "test", "--scopes", scopes)["key"]


@pytest.fixture(scope="session")
def world(postgres):
    with tempfile.TemporaryDirectory(prefix="archipelago-clients-") as folder:
        upstream = Upstream()
        world = World(Path(folder), postgres, upstream)
        yield world
        upstream.go_on.set()
        world.island.stop()
        world.server.stop()
        upstream.stop()
        # The books balance, and nothing went wrong on our side that nobody noticed.
        world.run("audit")
        panics = [line for line in world.server.lines if "panicked" in line or "without writing that down" in line]
        assert panics == []


@pytest.fixture(scope="session")
def key(world):
    return world.key()


@pytest.fixture(autouse=True)
def quiet(world):
    """What a test let go on is held back again for the next."""
    world.upstream.go_on.clear()
    world.upstream.gone.clear()


def eventually(look, what="it"):
    """Asks until it is so."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about")
