"""Every call of the existing public clients, by their stand-ins, against a running coordinator with a real Island."""

import base64

import existing
import pytest
import requests
from conftest import eventually
from existing import CommandLine, PythonSdk


@pytest.fixture
def sdk(world, key):
    # The SDK takes all slashes from the end of its address.
    return PythonSdk(f"{world.url}//", key)


@pytest.fixture
def command(world, key):
    return CommandLine(f"{world.url}/", key)


def test_the_python_sdk_account_and_workloads(sdk):
    assert sdk.get_account().email == "ana@example.org"
    slugs = [workload.slug for workload in sdk.list_workloads()]
    assert {"llm-chat", "sdxl", "text-embedding"} <= set(slugs)
    assert sdk.get_workload("llm-chat").price_per_job > 0


def test_the_python_sdk_jobs(sdk):
    job = sdk.submit_job("llm-chat", {"prompt": "Hi"})
    ended = sdk.wait_for_job(job.id)
    assert (ended.status, ended.output, ended.usage.credits_used, ended.workload_slug) == ("completed", "Hello from upstream.", 1.5, "llm-chat")
    assert job.id in [row.id for row in sdk.list_jobs(limit=5)]
    # A stream of what has ended shows all of it again.
    kinds = [kind for kind, *_ in sdk.stream_job(job.id)]
    assert kinds == ["token", "done"]
    slow = sdk.submit_job("llm-chat", {"prompt": "slow"})
    assert sdk.cancel_job(slow.id).status == "cancelled"


def test_the_python_sdk_helpers(sdk):
    text, reason, usage = sdk.chat("Hi", system_prompt="Be brief", max_tokens=50, temperature=0.5)
    assert (text, reason, usage.total_tokens) == ("Hello from upstream.", "stop", 5)
    events = list(sdk.chat_stream("Hi"))
    assert "".join(content or "" for kind, content, *_ in events if kind == "token") == "Hello from upstream."
    assert events[-1][0] == "done" and events[-1][2].credits_used == 1.5
    data, format, width, height, _ = sdk.generate_image("a lighthouse", 64, 128, 4)
    assert base64.b64decode(data).startswith(b"\x89PNG") and (format, width, height) == ("png", 64, 128)


def test_the_python_sdk_is_not_confused_by_what_is_newer(sdk):
    """Calls of tools come in events it knows, and vectors as text."""
    tool = {"type": "function", "function": {"name": "weather"}}
    job = sdk.submit_job("llm-chat", {"messages": [{"role": "user", "content": "tool"}], "tools": [tool]})
    kinds = [kind for kind, *_ in sdk.stream_job(job.id)]
    assert kinds[-1] == "done" and "token" in kinds
    assert sdk.get_job(job.id).output is None
    assert "embedding" in sdk.wait_for_job(sdk.submit_job("text-embedding", {"input": "tides"}).id).output


def test_the_python_sdk_keys(sdk, world):
    made, secret = sdk.create_api_key("from the SDK")
    assert secret.startswith("ak_") and secret.startswith(made.prefix)
    assert made.id in [key.id for key in sdk.list_api_keys()]
    assert PythonSdk(world.url, secret).get_account().email == "ana@example.org"
    sdk.delete_api_key(made.id)
    with pytest.raises(existing.AuthenticationError):
        PythonSdk(world.url, secret).get_account()


def test_the_python_sdk_batches(sdk):
    batch = sdk.submit_batch("llm-chat", [{"prompt": "one"}, {"prompt": "two"}], bid_price="2.5", max_parallelism=2)
    assert (batch.workload, batch.batch.chunk_count, [child.batch_index for child in batch.children]) == ("llm-chat", 2, [0, 1])
    parent = sdk.wait_for_batch(batch.id)
    assert parent.status == "completed" and parent.output
    status = sdk.get_batch_status(batch.id)
    assert status.parent_state == "succeeded" and status.child_states.get("succeeded") == 2


def test_the_python_sdk_errors(sdk, world):
    with pytest.raises(existing.AuthenticationError) as caught:
        PythonSdk(world.url, "ak_wrong").get_account()
    assert "not valid" in caught.value.message
    with pytest.raises(existing.NotFoundError):
        sdk.get_job("nope")
    with pytest.raises(existing.NotFoundError):
        sdk.get_workload("nope")
    with pytest.raises(existing.ValidationError) as caught:
        sdk.submit_job("llm-chat", {})
    assert caught.value.more["errors"]["input.prompt"]
    poor = PythonSdk(world.url, world.key("poor-sdk@example.org", credits="1"))
    with pytest.raises(existing.InsufficientCreditsError) as caught:
        poor.submit_job("llm-chat", {"prompt": "Hi"})
    assert "credits" in caught.value.message
    reader = PythonSdk(world.url, world.key("reader-sdk@example.org", scopes="read"))
    with pytest.raises(existing.ArchipelagError) as caught:
        reader.submit_job("llm-chat", {"prompt": "Hi"})
    assert caught.value.status == 403
    # It does not look at the status of a stream.
    with pytest.raises(existing.SSEError):
        list(sdk.stream_job("nope"))


def test_the_command_line(command):
    _, email, credits = command.account()
    assert email == "ana@example.org" and credits > 0
    job = command.submit("llm-chat", {"prompt": "Hi"})
    assert command.stream(job["id"]) == "Hello from upstream."
    assert command.show(job["id"])["output"] == "Hello from upstream."
    assert job["id"] in [row["id"] for row in command.jobs()]
    slow = command.submit("llm-chat", {"prompt": "slow"})
    command.cancel(slow["id"])
    assert command.show(slow["id"])["status"] == "cancelled"
    assert command.workloads() and command.show_workload("sdxl")["slug"] == "sdxl"


def test_the_command_line_chats_with_the_model_called_default(command):
    assert command.chat("Hi", stream=False) == ("Hello from upstream.", 5)
    assert command.chat("Hi", stream=True) == ("Hello from upstream.", 5)


def test_the_command_line_keys_hosts_and_market(command):
    id, secret = command.create_key("from the command line")
    assert secret.startswith("ak_") and id in [found for found, _ in command.keys()]
    command.delete_key(id)
    assert id not in [found for found, _ in command.keys()]
    hosts = command.hosts()
    assert hosts[0]["name"] == "Hvar" and command.show_host(hosts[0]["id"])["status"] == "online"
    assert "llm-chat" in [row["workload_slug"] for row in command.rates("rates")]
    assert command.rates("rates/llm-chat")[0]["workload_slug"] == "llm-chat"
    command.rates("history/llm-chat")


def test_the_command_line_errors(world, command):
    def said(call):
        with pytest.raises(existing.CommandError) as caught:
            call()
        return str(caught.value)

    assert said(CommandLine(world.url, "ak_wrong").account).startswith("Authentication failed: This API key")
    assert said(lambda: command.show("nope")) == "Not found: There is no such job."
    assert said(lambda: command.submit("llm-chat", 7)).startswith("Validation error: input must be")
    poor = CommandLine(world.url, world.key("poor-cli@example.org", credits="1"))
    assert said(lambda: poor.submit("llm-chat", {"prompt": "Hi"})).startswith("Insufficient credits: Not enough")
    reader = CommandLine(world.url, world.key("reader-cli@example.org", scopes="read"))
    assert "scope" in said(lambda: reader.submit("llm-chat", {"prompt": "Hi"}))


def test_what_the_sites_and_the_documentation_ask(world, key):
    stats = requests.get(f"{world.url}/api/v1/network/stats", headers={"origin": "https://example.org"})
    assert stats.status_code == 200 and stats.headers["access-control-allow-origin"] == "*"
    body = stats.json()
    assert body["online_islands"] == 1 and type(body["jobs_completed"]) is int and "regions" in body
    health = requests.get(f"{world.url}/health").json()
    assert health["status"] == "ok" and health["version"]
    headers = {"authorization": f"Bearer {key}"}
    made = requests.post(f"{world.url}/api/v1/jobs", json={"workload": "llm-chat", "input": {"prompt": "Hi"}}, headers=headers).json()["data"]
    job = f"{world.url}/api/v1/jobs/{made['id']}"
    eventually(lambda: requests.get(job, headers=headers).json()["data"]["status"] == "completed")
    output = requests.get(f"{job}/output", headers=headers)
    assert output.status_code == 200 and output.json()["data"]["output"] == "Hello from upstream."


def test_a_browser_asks_first(world):
    """The JavaScript SDK in a page of another site."""
    headers = {"origin": "https://example.org", "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    answer = requests.options(f"{world.url}/api/v1/jobs", headers=headers)
    assert answer.ok and answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].replace(" ", "").split(","))
