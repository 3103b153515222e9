"""What a client's program notes of each thing that it does: something that two ways can be held against."""

import json
import sys
import traceback


def note_all(items):
    """Does each thing, and prints what came of it, by its name."""
    noted = {}
    for name, item in items.items():
        try:
            noted[name] = item()
        except Exception as error:
            noted[name] = {"raised": type(error).__name__, "words": str(error)[:300]}
            traceback.print_exc(file=sys.stderr)
    json.dump(noted, sys.stdout, sort_keys=True)


def stream_facts(events):
    """What a stream holds, however its text was cut into events: two of a live engine never are alike."""
    texts, finishes, kinds, usage, choices = {}, {}, [], None, set()
    for event in events:
        event = event.model_dump()
        kind = sorted(name for name, value in event.items() if value not in (None, [], {}))
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            index = choice["index"]
            choices.add(index)
            delta = choice.get("delta") or {}
            text = choice["text"] if "text" in choice else delta.get("content") or ""
            kind += sorted(name for name, value in delta.items() if value)
            texts[index] = texts.get(index, "") + text
            finishes[index] = choice["finish_reason"] or finishes.get(index)
        if kind not in kinds:
            kinds.append(kind)
    return {
        "text": {str(index): text for index, text in texts.items()},
        "finish": {str(index): reason for index, reason in finishes.items()},
        "kinds": sorted(kinds),
        "usage": usage,
    }


def answer_facts(answer):
    """What an answer holds, without what names the moment."""
    answer = answer.model_dump()
    for passing in ("id", "created", "created_at", "request_id"):
        answer.pop(passing, None)
    return answer
