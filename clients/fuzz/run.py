#!/usr/bin/env python3
"""Fuzzes the API from its own OpenAPI document.

Starts a coordinator with demo Islands on a fresh database, makes a user with credits and a key, lets Schemathesis send what the
document allows and what it does not, and fails on any answer that the document does not know, any error that the server logs,
and any finding of the audit.

    clients/fuzz/run.py [SECONDS]

ARCHIPELAGO_BIN_DIR says where the program is (target/debug). Needs what is in clients/requirements.txt.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SEED = "20260131"
# What would end the run: the key it uses, and streams that only end when the client goes.
LEFT_OUT = ["revokeApiKey", "rotateApiKey", "connectIsland"]
# Jobs that find no Island within their bid end soon, so that no request waits for long.
CONFIG = """
[limits]
requests_per_minute = 1000000
[jobs]
wait_secs = 2
run_secs = 20
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_ready(url, server):
    for _ in range(300):
        if server.poll() is not None:
            sys.exit("the server ended before it was ready")
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=1) as answer:
                if json.load(answer)["islands"] >= 3:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("the server did not become ready")


def main():
    seconds = sys.argv[1] if len(sys.argv) > 1 else "90"
    program = pathlib.Path(os.environ.get("ARCHIPELAGO_BIN_DIR", ROOT / "target/debug")) / "archipelago"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="archipelago-fuzz-"))
    (folder / "config.toml").write_text(CONFIG)
    common = ["--data", str(folder), "--config", str(folder / "config.toml")]
    url = f"http://127.0.0.1:{free_port()}"
    log = open(folder / "log.txt", "w+")
    server = subprocess.Popen(
        [program, "serve", "--demo", "--listen", url.removeprefix("http://"), *common], stdout=log, stderr=log
    )

    def admin(*args):
        done = subprocess.run([program, "admin", "--json", *args, *common], check=True, capture_output=True)
        return json.loads(done.stdout)

    try:
        wait_until_ready(url, server)
        email = "fuzz@example.org"
        admin("user", "create", "--email", email, "--verified")
        admin("grant", "--email", email, "--credits", "1000000", "--note", "fuzzing")
        key = admin("api-key", "create", "--email", email, "--name", "fuzz")["key"]
        left_out = [part for name in LEFT_OUT for part in ("--exclude-operation-id", name)]
        fuzzer = pathlib.Path(sys.executable).parent / "schemathesis"
        found = subprocess.run(
            [
                fuzzer, "--config-file", HERE / "schemathesis.toml", "run", f"{url}/api/v1/openapi.json",
                "--header", f"Authorization: Bearer {key}", "--seed", SEED, "--max-time", seconds,
                "--request-timeout", "30", "--max-examples", os.environ.get("FUZZ_EXAMPLES", "25"),
                "--generation-database", "none", "--continue-on-failure", "--warnings", "off", "--no-color",
                "--suppress-health-check", "all", *left_out,
            ],
            cwd=folder,
        ).returncode  # fmt: skip
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/api/v1/account", headers={"Authorization": f"Bearer {key}"})
        ) as answer:
            assert answer.status == 200, "the key of the run is gone"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    log.seek(0)
    errors = [line for line in log if " ERROR " in line or "panicked" in line]
    audit = subprocess.run([program, "audit", *common]).returncode
    if errors:
        print("The server logged errors:", *errors[:20], sep="\n")
    if found or errors or audit:
        sys.exit(f"The fuzzer found something; the server's log is {folder / 'log.txt'}.")
    print("The fuzzer found nothing.")


if __name__ == "__main__":
    main()
