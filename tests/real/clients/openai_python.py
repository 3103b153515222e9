#!/usr/bin/env python3
"""OpenAI's Python SDK, both of its clients.

    openai_python.py URL SERVER

URL is what is asked, SERVER the server behind it, whose load tells when a request is over.
"""

import asyncio
import re
import sys
import time
import urllib.request

import openai
from facts import answer_facts, note_all, stream_facts

URL, SERVER = sys.argv[1:]
MODEL = "tiny"
MESSAGES = [{"role": "user", "content": "what is a prefill and what is a decode?"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": {
                "type": "object",
                "properties": {"where": {"enum": ["here", "there"]}},
                "required": ["where"],
                "additionalProperties": False,
            },
        },
    }
]
# The only thing that a client is shown: whoever tries again hides what happened.
CLIENT = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=120)
FIXED = {"model": MODEL, "temperature": 0, "max_tokens": 24}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def chat(**more):
    return answer_facts(CLIENT.chat.completions.create(messages=MESSAGES, **{**FIXED, **more}))


def completion(**more):
    return answer_facts(CLIENT.completions.create(**{**FIXED, "prompt": "hello world", **more}))


def chat_stream(**more):
    return stream_facts(CLIENT.chat.completions.create(messages=MESSAGES, **{**FIXED, **USAGE, **more}))


def completion_stream(**more):
    return stream_facts(CLIENT.completions.create(**{**FIXED, **USAGE, "prompt": "hello world", **more}))


def several_answers():
    """Sampled ones, so that two are allowed: their texts differ from time to time."""
    answer = CLIENT.chat.completions.create(
        messages=MESSAGES, **{**FIXED, "temperature": 0.8, "n": 2, "extra_body": {"ignore_eos": True}}
    )
    choices = [(choice.index, choice.finish_reason, choice.message.role) for choice in answer.choices]
    return {"choices": choices, "usage": answer.usage.model_dump()}


def several_streams():
    facts = stream_facts(
        CLIENT.chat.completions.create(
            messages=MESSAGES, **{**FIXED, **USAGE, "temperature": 0.8, "n": 2, "extra_body": {"ignore_eos": True}}
        )
    )
    facts["text"] = sorted(facts["text"])
    return facts


def logprobs():
    """Their words, not their digits: who else is in the batch decides the last of those."""
    answer = CLIENT.chat.completions.create(messages=MESSAGES, logprobs=True, top_logprobs=2, **FIXED)
    content = answer.choices[0].logprobs.content
    return [(token.token, token.bytes, len(token.top_logprobs), token.logprob < 0) for token in content]


def echo():
    answer = CLIENT.completions.create(**{**FIXED, "prompt": "hello world", "echo": True, "logprobs": 1})
    choice = answer.choices[0]
    return {"text": choice.text, "tokens": choice.logprobs.tokens, "offsets": choice.logprobs.text_offset}


NAMED = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}}


def tool_named():
    """A call, without its identity."""
    answer = CLIENT.chat.completions.create(messages=MESSAGES, **{**FIXED, **NAMED})
    choice = answer.choices[0]
    calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]
    return {"calls": calls, "finish": choice.finish_reason, "usage": answer.usage.model_dump()}


def tool_stream():
    events = list(CLIENT.chat.completions.create(messages=MESSAGES, **{**FIXED, **NAMED, **USAGE}))
    deltas = [choice.delta for event in events for choice in event.choices]
    calls = [call.function for delta in deltas for call in delta.tool_calls or []]
    arguments = "".join(call.arguments or "" for call in calls)
    return {"names": {call.name for call in calls if call.name} == {"weather"}, "arguments": arguments,
            "usage": events[-1].usage.model_dump()}


def models():
    return [(model.id, model.owned_by, model.root == model.id) for model in CLIENT.models.list()]


def raw():
    answer = CLIENT.chat.completions.with_raw_response.create(messages=MESSAGES, **FIXED)
    return {"status": answer.status_code, "type": answer.headers["content-type"], "retries": answer.retries_taken}


def lines():
    """A stream as it is on the wire."""
    with CLIENT.chat.completions.with_streaming_response.create(messages=MESSAGES, **{**FIXED, **USAGE}) as answer:
        seen = [line for line in answer.iter_lines() if line]
    return {"type": answer.headers["content-type"], "begins": {line[:7] for line in seen} == {"data: {", "data: ["},
            "last": seen[-1]}


def refused(ask):
    """How the SDK tells of an error, without the places that a server names."""

    def item():
        try:
            ask()
        except openai.APIStatusError as error:
            body = error.body if isinstance(error.body, dict) else {"body": error.body}
            message = re.sub(r"File .*", "", str(body.get("message")))[:120]
            return {"raised": type(error).__name__, "status": error.status_code, "type": body.get("type"),
                    "code": body.get("code"), "message": message}
        except ValueError as error:
            # What came was no error by its status, and no answer by what it holds.
            return {"raised": type(error).__name__, "message": str(error)}
        return "it was answered"

    return item


def is_over():
    """Whether the engine has nothing to do any more, soon."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{SERVER}/metrics") as answer:
            text = answer.read().decode()
        running = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} ([0-9.]+)", text, re.M)
        if running and not any(float(it) for it in running):
            return True
        time.sleep(0.1)
    return False


LONG = {"max_tokens": 6000, "extra_body": {"ignore_eos": True}}


def client_timeout():
    raised = None
    try:
        CLIENT.with_options(timeout=0.5).chat.completions.create(messages=MESSAGES, **{**FIXED, **LONG})
    except openai.APIConnectionError as error:
        raised = type(error).__name__
    return {"raised": raised, "over": is_over()}


def early_close():
    stream = CLIENT.chat.completions.create(messages=MESSAGES, **{**FIXED, **LONG, "stream": True})
    seen = [event for event, _ in zip(stream, range(3))]
    stream.close()
    return {"events": len(seen), "over": is_over()}


def at_once():
    """Fifty at once of the other client."""

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
            asked = [
                client.chat.completions.create(messages=MESSAGES, **{**FIXED, "extra_body": {"ignore_eos": True}})
                for _ in range(50)
            ]
            answers = await asyncio.gather(*asked)
        return {"answers": len(answers), "tokens": {answer.usage.completion_tokens for answer in answers} == {24}}

    return asyncio.run(ask())


def async_stream():
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(messages=MESSAGES, **{**FIXED, **USAGE})
            return stream_facts([event async for event in stream])

    return asyncio.run(ask())


def async_cancel():
    """A task that is cancelled in its stream."""

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(messages=MESSAGES, **{**FIXED, **LONG, "stream": True})

            async def read():
                return [event async for event in stream]

            task = asyncio.create_task(read())
            await asyncio.sleep(0.3)
            task.cancel()
            return [type(it).__name__ for it in await asyncio.gather(task, return_exceptions=True)]

    return {"raised": asyncio.run(ask()), "over": is_over()}


def responses():
    answer = CLIENT.responses.create(model=MODEL, input="hello world", temperature=0, max_output_tokens=24)
    return {"text": answer.output_text, "status": answer.status, "usage": answer.usage.model_dump()}


def responses_stream():
    events = list(
        CLIENT.responses.create(model=MODEL, input="hello world", temperature=0, max_output_tokens=24, stream=True)
    )
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    return {"kinds": sorted({event.type for event in events}), "text": text, "last": events[-1].type}


note_all(
    {
        "chat": chat,
        "a long prompt": lambda: completion(prompt="hello world " * 900),
        "chat, streamed": chat_stream,
        "chat, streamed, no usage": lambda: chat_stream(stream_options=None),
        "completion": completion,
        "completion, streamed": completion_stream,
        "completion of two prompts": lambda: completion(prompt=["hello", "world"]),
        "completion of tokens": lambda: completion(prompt=[0, 40, 41, 42]),
        "completion with echo and logprobs": echo,
        "two answers": several_answers,
        "two answers, streamed": several_streams,
        "logprobs": logprobs,
        "stop words": lambda: completion(stop=["e", "o"]),
        "tools, none has to be called": lambda: chat(tools=TOOLS),
        "tools, one is named": tool_named,
        "tools, one is named, streamed": tool_stream,
        "structured answer": lambda: chat(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "is", "schema": {"enum": ["yes", "no"]}, "strict": True},
            }
        ),
        "responses": responses,
        "responses, streamed": responses_stream,
        "models": models,
        "raw answer": raw,
        "lines of a stream": lines,
        "embeddings of a model that has none": refused(lambda: CLIENT.embeddings.create(model=MODEL, input="hello")),
        "a model that is not there": refused(lambda: chat(model="nope")),
        "a model that is not there, streamed": refused(lambda: chat_stream(model="nope")),
        "tokens below nothing": refused(lambda: chat(max_tokens=-1)),
        "a prompt that is too long": refused(lambda: completion(prompt=[5] * 9000)),
        "a wrong type": refused(lambda: chat(temperature="warm")),
        "a field that is missing": refused(lambda: CLIENT.post("/completions", body={}, cast_to=object)),
        "a path that is not there": refused(lambda: CLIENT.post("/nope", body={}, cast_to=object)),
        "a model by its name": refused(lambda: CLIENT.models.retrieve("nope")),
        "client's timeout": client_timeout,
        "early close": early_close,
        "async: streamed": async_stream,
        "async: fifty at once": at_once,
        "async: cancelled": async_cancel,
    }
)
