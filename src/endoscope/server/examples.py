"""Examples of requests, as the description shows them."""

from typing import Any

CHATS: dict[str, Any] = {
    "plain": {
        "summary": "As any client of OpenAI's API sends it",
        "value": {
            "model": "smollm2-135m-instruct",
            "messages": [{"role": "user", "content": "Name a colour."}],
            "max_completion_tokens": 16,
        },
    },
    "steered": {
        "summary": "Steered along a loaded direction, read by a loaded probe",
        "value": {
            "model": "smollm2-135m-instruct",
            "messages": [{"role": "user", "content": "Tell me about your day."}],
            "stream": True,
            "endoscope": {
                "interventions": [{"kind": "add", "direction": "sea", "strength": 4}],
                "probes": ["harmful"],
            },
        },
    },
}
COMPLETIONS: dict[str, Any] = {
    "text": {
        "summary": "From a text",
        "value": {"model": "smollm2-135m-instruct", "prompt": "The sea is", "max_tokens": 16},
    },
    "guarded": {
        "summary": "Through a guard",
        "value": {
            "model": "smollm2-135m-instruct",
            "prompt": "Write to",
            "endoscope": {"guards": ["pii"]},
        },
    },
}
GUARD: dict[str, Any] = {
    "one": {"summary": "One text", "value": {"text": "Call Mary Jones on 020 7946 0958."}},
    "several": {"summary": "Several", "value": {"texts": ["Mary Jones", "Nobody"]}},
}
