"""The official OpenAI library for Python, as it comes: only the address and the key are ours."""

import base64
import json
import struct
import threading

import openai
import pytest
import requests
from conftest import eventually
from openai import AsyncOpenAI, OpenAI

HI = [{"role": "user", "content": "Hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather somewhere",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def say(text):
    return [{"role": "user", "content": text}]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def client(world, key):
    with OpenAI(base_url=f"{world.url}/v1", api_key=key) as client:
        yield client


def job(world, key, id):
    id = id.removeprefix("chatcmpl-")
    answer = requests.get(f"{world.url}/api/v1/jobs/{id}", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def newest_job(world, key):
    answer = requests.get(f"{world.url}/api/v1/jobs?limit=1", headers={"authorization": f"Bearer {key}"})
    return answer.json()["data"][0]


def test_models(client):
    ids = [model.id for model in client.models.list()]
    assert {"llm-chat", "llm-chat/tiny", "sdxl", "text-embedding"} <= set(ids)
    model = client.models.retrieve("llm-chat")
    assert (model.id, model.object, type(model.created)) == ("llm-chat", "model", int)
    assert client.models.retrieve("llm-chat/tiny").id == "llm-chat/tiny"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-none")
    assert caught.value.code == "model_not_found"


def test_chat(client, world, key):
    answer = client.chat.completions.create(
        model="llm-chat", messages=HI, temperature=0.2, top_p=0.9, seed=7, stop=["x"], max_completion_tokens=50, user="somebody",
        presence_penalty=0.1,
    )
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hello from upstream.", "stop")
    assert (answer.object, answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == ("chat.completion", 2, 3, 5)
    assert answer.usage.credits_used == 1.5
    asked = world.upstream.asked()
    assert (asked["temperature"], asked["seed"], asked["stop"], asked["presence_penalty"]) == (0.2, 7, ["x"], 0.1)
    assert asked["max_completion_tokens"] == 50 and "user" not in asked and asked["model"] == "tiny"
    assert job(world, key, answer.id)["cost"] == 1.5


def test_cost_and_job_stand_in_the_head(client, world, key):
    raw = client.chat.completions.with_raw_response.create(model="llm-chat/tiny", messages=HI)
    assert raw.headers["x-credits-used"] == "1.5" and raw.headers["x-request-id"]
    assert raw.headers["x-job-id"] == raw.parse().id.removeprefix("chatcmpl-")
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    with client.chat.completions.with_streaming_response.create(model="llm-chat", messages=HI, stream=True) as raw:
        assert job(world, key, raw.headers["x-job-id"])["status"] in ("running", "completed")
        raw.read()


def test_stream_with_usage_and_cost_in_the_last_chunk(client):
    chunks = list(client.chat.completions.create(model="llm-metered", messages=HI, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello from upstream."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    last = chunks[-1]
    # 1 token of 2 bytes in, at a quarter; 3 of the answer, at 2 credits a thousand.
    assert (last.choices, last.usage.total_tokens, last.usage.credits_used) == ([], 4, 0.0065)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_programs_that_name_a_model_of_openai(client):
    """The operator gave Cargos further names."""
    assert client.chat.completions.create(model="gpt-4o-mini", messages=HI).choices[0].message.content == "Hello from upstream."
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    assert len(client.embeddings.create(model="text-embedding-3-small", input="Hi").data) == 1


def test_stream_helper(client):
    with client.chat.completions.stream(model="llm-chat", messages=HI) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        assert text == stream.get_final_completion().choices[0].message.content == "Hello from upstream."


def test_tools_there_and_back(client, world, key):
    answer = client.chat.completions.create(
        model="llm-chat", messages=say("tool please"), tools=TOOLS, tool_choice="auto", parallel_tool_calls=False
    )
    choice = answer.choices[0]
    call = choice.message.tool_calls[0]
    assert (choice.finish_reason, choice.message.content, call.id, call.type) == ("tool_calls", None, "call_1", "function")
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Hvar"})
    asked = world.upstream.asked()
    assert (asked["tools"], asked["tool_choice"], asked["parallel_tool_calls"]) == (TOOLS, "auto", False)
    # The tool's answer, with the assistant's message as the library gave it.
    messages = [*say("tool please"), choice.message, {"role": "tool", "tool_call_id": call.id, "content": "Sun"}]
    assert client.chat.completions.create(model="llm-chat", messages=messages, tools=TOOLS).choices[0].finish_reason == "stop"
    told = world.upstream.asked()["messages"]
    assert told[1]["tool_calls"][0]["id"] == "call_1" and told[2] == {"role": "tool", "tool_call_id": "call_1", "content": "Sun"}
    stored = job(world, key, answer.id)
    assert stored["output"] is None and stored["message"]["tool_calls"][0]["function"]["name"] == "weather"


def test_tools_in_a_stream(client):
    with client.chat.completions.stream(model="llm-chat", messages=say("tool please"), tools=TOOLS) as stream:
        arguments = "".join(event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta")
        final = stream.get_final_completion().choices[0]
    assert json.loads(arguments) == {"city": "Hvar"}
    assert (final.finish_reason, final.message.tool_calls[0].function.name) == ("tool_calls", "weather")


def test_json_mode(client, world):
    answer = client.chat.completions.create(model="llm-chat", messages=HI, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {"city": "Hvar", "sunny": True}
    assert world.upstream.asked()["response_format"] == {"type": "json_object"}
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    client.chat.completions.create(model="llm-chat", messages=HI, response_format=form)
    assert world.upstream.asked()["response_format"] == form


def test_parse_into_a_model(client):
    pydantic = pytest.importorskip("pydantic")

    class Place(pydantic.BaseModel):
        city: str
        sunny: bool

    answer = client.chat.completions.parse(model="llm-chat", messages=HI, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Hvar", sunny=True)


def test_content_in_parts(client, world):
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    client.chat.completions.create(model="llm-chat", messages=[{"role": "developer", "content": "Be brief"}, {"role": "user", "content": parts}])
    assert world.upstream.asked()["messages"][1]["content"] == parts


def test_embeddings(client, world):
    # The library asks for base64 and unpacks it.
    answer = client.embeddings.create(model="text-embedding", input=["tides", "a lighthouse"])
    assert [vector.index for vector in answer.data] == [0, 1]
    assert answer.data[0].embedding == [0.5, 0.25, 0.25, 0.25]
    assert answer.data[1].embedding[0] == pytest.approx(1.2)
    # The Island counted 3 words; at 1 credit a thousand.
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.usage.credits_used) == (3, 3, 0.003)
    assert "encoding_format" not in world.upstream.asked() or world.upstream.asked()["encoding_format"] == "float"


def test_embeddings_as_numbers_and_packed(client):
    plain = client.embeddings.create(model="text-embedding", input="tides", encoding_format="float", dimensions=8)
    assert len(plain.data[0].embedding) == 8 and plain.data[0].embedding[0] == 0.5
    raw = client.embeddings.with_raw_response.create(model="text-embedding", input="tides", encoding_format="base64")
    packed = json.loads(raw.text)["data"][0]["embedding"]
    assert struct.unpack("<4f", base64.b64decode(packed)) == (0.5, 0.25, 0.25, 0.25)
    assert raw.headers["x-job-id"] and raw.headers["x-credits-used"] == "0.001"


def test_many_texts(client):
    answer = client.embeddings.create(model="text-embedding", input=[f"text {number}" for number in range(1000)], dimensions=256)
    assert len(answer.data) == 1000 and answer.data[999].index == 999


def test_embeddings_as_a_job(world, key):
    body = {"workload": "text-embedding", "input": {"input": ["tides"]}}
    made = requests.post(f"{world.url}/api/v1/jobs", json=body, headers={"authorization": f"Bearer {key}"}).json()["data"]
    ended = eventually(lambda: (found := job(world, key, made["id"]))["status"] == "completed" and found)
    assert json.loads(ended["output"])["data"][0]["embedding"] == [0.5, 0.25, 0.25, 0.25]


def test_image(client):
    answer = client.images.generate(model="sdxl", prompt="a lighthouse", size="128x64", response_format="b64_json")
    png = base64.b64decode(answer.data[0].b64_json)
    assert png.startswith(b"\x89PNG") and struct.unpack(">II", png[16:24]) == (128, 64)
    raw = client.images.with_raw_response.generate(model="sdxl", prompt="a lighthouse", size="64x64")
    assert raw.headers["x-credits-used"] == "10" and raw.headers["x-job-id"]


@pytest.mark.parametrize("how", ["header", "alias", "body", "max_price"])
def test_bids(client, world, key, how):
    more = {
        "header": {"extra_headers": {"X-Bid-Price": "2.5"}},
        "alias": {"extra_headers": {"X-Max-Price": "2.5"}},
        "body": {"extra_body": {"bid_price": 2.5}},
        "max_price": {"extra_body": {"max_price": "2.5"}},
    }[how]
    answer = client.chat.completions.create(model="llm-chat", messages=HI, **more)
    assert job(world, key, answer.id)["bid_price"] == 2.5


def refused(expected, status, code, call):
    with pytest.raises(expected) as caught:
        call()
    error = caught.value
    assert (error.status_code, error.code) == (status, code), error
    assert error.message and error.type and error.request_id
    return error


def test_errors(client, world, key):
    def chat(client=client, **more):
        return lambda: client.chat.completions.create(**{"model": "llm-chat", "messages": HI, **more})

    refused(openai.AuthenticationError, 401, "unauthenticated", chat(client.with_options(api_key="ak_wrong")))
    reader = world.key("reader@example.org", scopes="read")
    refused(openai.PermissionDeniedError, 403, "missing_scope", chat(client.with_options(api_key=reader)))
    stranger = world.key("stranger@example.org", verified=False)
    refused(openai.PermissionDeniedError, 403, "verification_required", chat(client.with_options(api_key=stranger)))
    poor = world.key("poor@example.org", credits="1")
    broke = refused(openai.APIStatusError, 402, "insufficient_credits", chat(client.with_options(api_key=poor)))
    assert (broke.body["required"], broke.body["available"], broke.type) == (1.5, 1, "insufficient_quota")
    refused(openai.NotFoundError, 404, "model_not_found", chat(model="gpt-none"))
    wrong = refused(openai.UnprocessableEntityError, 422, "invalid_field", chat(n=2))
    assert wrong.param == "n" and wrong.type == "invalid_request_error"
    assert refused(openai.UnprocessableEntityError, 422, "invalid_field", chat(logprobs=True)).param == "logprobs"
    assert refused(openai.UnprocessableEntityError, 422, "invalid_field", chat(messages=[])).param == "messages"
    backend = refused(openai.UnprocessableEntityError, 422, "input_refused", chat(messages=say("refuse this")))
    assert "this is not for me" in backend.message
    tokens = lambda: client.embeddings.create(model="text-embedding", input=[1, 2, 3])
    assert refused(openai.UnprocessableEntityError, 422, "invalid_field", tokens).param == "input[0]"
    responses = lambda: client.responses.create(model="llm-chat", input="Hi")
    assert "/v1/chat/completions" in refused(openai.NotFoundError, 404, "not_found", responses).message


def test_a_key_that_has_reached_its_limit(client, world):
    world.admin("user", "create", "--email", "capped@example.org", "--verified")
    world.admin("grant", "--email", "capped@example.org", "--credits", "10", "--note", "test")
    capped = world.admin("api-key", "create", "--email", "capped@example.org", "--name", "capped", "--limit", "2")["key"]
    capped = client.with_options(api_key=capped)
    capped.chat.completions.create(model="llm-chat", messages=HI)
    error = refused(openai.APIStatusError, 402, "insufficient_credits", lambda: capped.chat.completions.create(model="llm-chat", messages=HI))
    assert error.body["reason"] == "key_limit"


def test_where_the_only_island_fails_nothing_is_charged(client, world, key):
    before = len(world.upstream.requests)
    # No other Island comes before the deadline, which there is no use in waiting for again.
    refused(openai.InternalServerError, 503, "no_island", lambda: client.chat.completions.create(model="llm-chat", messages=say("down")))
    assert len(world.upstream.requests) == before + 1
    assert newest_job(world, key)["cost"] == 0


def test_what_nobody_serves_is_not_asked_for_again(client, world, key):
    refused(openai.InternalServerError, 503, "no_island", lambda: client.chat.completions.create(model="unserved", messages=HI))
    jobs = requests.get(f"{world.url}/api/v1/jobs?limit=2", headers={"authorization": f"Bearer {key}"}).json()["data"]
    assert [job["workload_slug"] for job in jobs].count("unserved") == 1


def test_closing_a_stream_cancels_the_job(client, world, key):
    stream = client.chat.completions.create(model="llm-metered", messages=say("slow one"), stream=True)
    first = next(iter(stream))
    assert first.choices[0].delta.content == "One "
    stream.close()
    assert world.upstream.gone.wait(30)
    ended = eventually(lambda: (found := job(world, key, first.id))["status"] == "cancelled" and found)
    # What had been delivered: 2 tokens of 8 bytes in, at a quarter, and one of the answer.
    assert ended["cost"] == 0.003 and ended["output"] == "One "


def test_a_timeout_cancels_the_job(client, world, key):
    impatient = client.with_options(timeout=1.0, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(model="llm-chat", messages=say("silent one"))
    ended = eventually(lambda: (found := newest_job(world, key))["status"] == "cancelled" and found)
    assert ended["cost"] == 0
    assert world.upstream.gone.wait(30)


@pytest.mark.anyio
async def test_async(world, key):
    async with AsyncOpenAI(base_url=f"{world.url}/v1", api_key=key) as client:
        assert "llm-chat" in [model.id async for model in client.models.list()]
        answer = await client.chat.completions.create(model="llm-chat", messages=HI)
        assert answer.choices[0].message.content == "Hello from upstream."
        stream = await client.chat.completions.create(model="llm-chat", messages=say("tool"), tools=TOOLS, stream=True)
        chunks = [chunk async for chunk in stream]
        calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
        assert "".join(call.function.arguments for call in calls) == '{"city":"Hvar"}'
        assert (await client.embeddings.create(model="text-embedding", input="tides")).data[0].embedding[0] == 0.5
        image = await client.images.generate(model="sdxl", prompt="a lighthouse", size="64x64")
        assert base64.b64decode(image.data[0].b64_json).startswith(b"\x89PNG")
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="gpt-none", messages=HI)
        stream = await client.chat.completions.create(model="llm-chat", messages=say("slow"), stream=True)
        first = await anext(aiter(stream))
        await stream.close()
        eventually(lambda: job(world, key, first.id)["status"] == "cancelled")


def test_many_at_once(client):
    answers = []

    def ask():
        answers.append(client.chat.completions.create(model="llm-chat", messages=HI).choices[0].message.content)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["Hello from upstream."] * 20
