"""What the description allows, tried at random: the server keeps to its own word."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from endoscope.server.app import App
from endoscope.server.auth import Keys
from endoscope.server.served import Limits
from tests.server.serving import fake_served

KEY = "key-" + "k" * 30
BEYOND_SCHEMAS = {"invalid_intervention", "chat_only", "two_variants"}
# Room for whatever the schema allows: how many tokens a text has is not in a schema.
ROOM = Limits(requests=4, waiting=100, prompt_tokens=10**6, tokens=50)
SERVED = fake_served(keys=Keys([KEY]), limits=ROOM, context=None)
schema = schemathesis.openapi.from_asgi("/openapi.json", App(SERVED).edge)


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_the_server_keeps_to_its_description(case: Any) -> None:
    response = case.call(headers={"Authorization": f"Bearer {KEY}"})
    # What a schema cannot say: which numbers fit the model, and which names go together.
    code = response.json()["error"]["code"] if response.status_code == 400 else None
    unsaid = [positive_data_acceptance] if code in BEYOND_SCHEMAS else []
    case.validate_response(response, excluded_checks=unsaid)


def test_the_description_says_what_there_is() -> None:
    described = App(SERVED).fastapi.openapi()
    assert described["components"]["securitySchemes"] == {
        "HTTPBearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "Needed where the server has keys.",
        }
    }
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert operation["description"], path
            assert operation["tags"], path
            statuses = set(operation["responses"])
            if path.startswith("/v1"):
                assert {"401", "503"} <= statuses
                assert operation["security"] == [{"HTTPBearer": []}]
            if method == "post":
                assert {"400", "404", "413", "415", "429", "500"} <= statuses
                assert operation["requestBody"]["content"]["application/json"]["examples"]
                assert "422" not in statuses
    chat = described["components"]["schemas"]["ChatSent"]["properties"]
    assert chat["model"]["enum"] == ["fake", "loud", "polite"]
    assert chat["tools"]["description"].startswith("Not supported")
