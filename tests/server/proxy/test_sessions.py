"""Whose map is whose, what is the same value, and when it is forgotten."""

import pytest

from endoscope.errors import InputError
from endoscope.server.errors import ApiError
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.sessions import HEADER, Sessions
from endoscope.server.proxy.vault import Vault
from tests.server.proxy.provider import Pair, chat

FORM = Form({"NAME", "SECRET", "ID", "DATE_OF_BIRTH"})


def sent(pair: Pair, text: str, session: str | None = None, key: str = "sk-1") -> str:
    """What reaches the provider of a text."""
    headers = {"authorization": f"Bearer {key}"} | ({HEADER: session} if session else {})
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    assert pair.post("/v1/chat/completions", body, headers=headers).status_code == 200
    return str(pair.provider.bodies[-1]["messages"][0]["content"])


def test_a_session_keeps_its_numbers_and_a_request_does_not(pair: Pair) -> None:
    assert sent(pair, "Mary Jones", "s1") == "[NAME_1]"
    assert sent(pair, "John Smith, Mary Jones", "s1") == "[NAME_2], [NAME_1]"
    assert sent(pair, "John Smith, Mary Jones") == "[NAME_1], [NAME_2]"


def test_a_value_of_an_earlier_request_is_known(pair: Pair) -> None:
    """In this case the pattern finds it only the first time."""
    assert sent(pair, "Mary Ann Jones", "s2") == "[NAME_1]"
    assert sent(pair, "MARY ANN JONES", "s2") == "[NAME_1]"
    assert sent(pair, "MARY ANN JONES") == "MARY ANN JONES"


def test_nobody_reads_the_map_of_another(pair: Pair) -> None:
    assert sent(pair, "Mary Jones", "s3", "sk-1") == "[NAME_1]"
    pair.provider.answer = lambda body: chat("[NAME_1]")
    body = {"model": "m", "messages": [{"role": "user", "content": "Who is [NAME_1]?"}]}
    for key, said in (("sk-2", "[NAME_1]"), ("sk-1", "Mary Jones")):
        headers = {"authorization": f"Bearer {key}", HEADER: "s3"}
        answer = pair.post("/v1/chat/completions", body, headers=headers)
        assert answer.json()["choices"][0]["message"]["content"] == said


@pytest.mark.parametrize(
    "headers", [{HEADER: "s"}, {HEADER: "Mary Jones", "authorization": "x"}, {HEADER: ""}]
)
def test_a_session_needs_an_id_and_credentials(pair: Pair, headers: dict[str, str]) -> None:
    body = {"model": "m", "messages": []}
    answer = pair.post("/v1/chat/completions", body, headers=headers)
    assert answer.status_code == 400
    assert "Mary" not in answer.text
    assert pair.provider.bodies == []


def test_sessions_are_forgotten_when_idle_and_are_not_too_many() -> None:
    now = [0.0]
    sessions = Sessions(FORM, ttl=10, most=2, clock=lambda: now[0])

    def vault(name: str) -> Vault:
        return sessions.vault({"authorization": "x", HEADER: name})

    first = vault("a")
    now[0] = 6
    vault("b")
    assert vault("a") is first
    with pytest.raises(ApiError) as raised:
        vault("c")
    assert raised.value.status == 429
    now[0] = 16
    assert vault("c") is not first  # b is gone, used last at 6; a was used then as well
    assert len(sessions) == 1
    now[0] = 30
    sessions.expire()
    assert len(sessions) == 0
    assert vault("a") is not first


def test_the_same_value_has_the_same_placeholder() -> None:
    vault = Vault(FORM)
    assert vault.placeholder("Mary Jones", "NAME") == "[NAME_1]"
    assert vault.placeholder("ＭＡＲＹ　jones", "NAME") == "[NAME_1]"
    assert vault.placeholder("Mary", "NAME") == "[NAME_2]"
    assert vault.placeholder("1980", "DATE_OF_BIRTH") == "[DATE_OF_BIRTH_1]"
    assert vault.value("[NAME_1]") == "Mary Jones"
    assert vault.value("[NAME_3]") is None


def test_what_machines_compare_is_the_same_only_if_nothing_differs() -> None:
    vault = Vault(FORM)
    words = ["hunter2", "Hunter2", "hunter2"]
    assert [vault.placeholder(word, "SECRET") for word in words] == [
        "[SECRET_1]",
        "[SECRET_2]",
        "[SECRET_1]",
    ]
    assert vault.value("[SECRET_2]") == "Hunter2"
    # What was a name in one place and an ID in another is one value, if it is the same text.
    assert vault.placeholder("hunter2", "NAME") == "[SECRET_1]"
    assert vault.placeholder("HUNTER2", "NAME") == "[NAME_1]"


@pytest.mark.parametrize("labels", [set(), {"name"}, {"A B"}, {"NAME", "名前"}, {"A" * 41}])
def test_labels_that_make_no_placeholders(labels: set[str]) -> None:
    with pytest.raises(InputError):
        Form(labels)


def test_a_map_has_an_end() -> None:
    vault = Vault(FORM, most=2)
    vault.placeholder("a", "NAME")
    vault.placeholder("b", "NAME")
    vault.placeholder("A", "NAME")
    with pytest.raises(ApiError) as raised:
        vault.placeholder("c", "NAME")
    assert raised.value.status == 413


def test_nothing_shows_what_it_holds() -> None:
    vault = Vault(FORM)
    vault.placeholder("Mary Jones", "NAME")
    assert "Mary" not in f"{vault!r} {list(vault)!r}"
