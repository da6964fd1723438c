"""With the guard that the command loads: English and Japanese."""

import json

import pytest

from endoscope.guard import Guard
from tests.server.proxy.provider import chat, served

pytestmark = pytest.mark.embedded

TEXT = (
    "Dear Margaret Holloway, please call Tobias Brandt on +44 20 7946 0958.\n"
    "昨日、大阪支店の西村健太さんが田中様に電話しました。"
)
PLANTED = ("Margaret", "Holloway", "Tobias", "Brandt", "7946", "西村", "健太", "田中")


def test_english_and_japanese_in_texts_and_in_tool_results() -> None:
    with served(Guard.load("pii")) as pair:
        pair.provider.answer = lambda body: chat(body["messages"][0]["content"])
        customer = {"name": "西村健太", "phone": 442079460958, "note": "Ask Tobias Brandt."}
        call = {"name": "find", "arguments": json.dumps({"customer": "Margaret Holloway"})}
        messages = [
            {"role": "user", "content": TEXT},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": "1", "content": json.dumps(customer)},
        ]
        answer = pair.client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
        left = pair.provider.everything()
        sent = pair.provider.bodies[0]["messages"]
    assert not [value for value in PLANTED if value in left]
    assert answer.choices[0].message.content == TEXT
    for kept in ("Dear [NAME_", "please call [NAME_", "大阪支店の[NAME_", "様に電話しました。"):
        assert kept in sent[0]["content"]
    arguments = json.loads(sent[1]["tool_calls"][0]["function"]["arguments"])
    assert arguments["customer"] in sent[0]["content"]
    result = json.loads(sent[2]["content"])
    assert result["name"] in sent[0]["content"]
    assert result["phone"].startswith("[PHONE_")
    assert result["note"].startswith("Ask [NAME_")
