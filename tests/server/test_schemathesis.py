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
    max_examples=30,
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
