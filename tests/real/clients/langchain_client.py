#!/usr/bin/env python3
"""LangChain's client of OpenAI's API.

    langchain_client.py URL
"""

import sys

from facts import note_all
from langchain_openai import ChatOpenAI

URL = sys.argv[1]
MODEL = ChatOpenAI(
    base_url=f"{URL}/v1", api_key="none", model="tiny", temperature=0, max_tokens=24, max_retries=0,
    stream_usage=True,
)
QUESTION = "what is a prefill?"


def facts(message):
    metadata = message.response_metadata
    return {
        "text": message.content,
        "finish": metadata.get("finish_reason"),
        "usage": dict(message.usage_metadata or {}),
    }


def stream():
    whole = None
    for chunk in MODEL.stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    return facts(whole)


note_all(
    {
        "invoke": lambda: facts(MODEL.invoke(QUESTION)),
        "stream": stream,
        "batch": lambda: [facts(it) for it in MODEL.batch([QUESTION, "hello world", "0 1 2 3"])],
    }
)
