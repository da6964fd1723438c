"""What is parsed is kept, up to a size."""

import pytest

from endoscope.engine.vllm import kept as module
from endoscope.engine.vllm.kept import kept


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Room for two texts of 1,000 characters."""
    monkeypatch.setattr(module, "MOST", 2 * (1000 + module._EACH))
    return []


def test_those_that_were_used_last_are_kept(made: list[str]) -> None:
    @kept
    def twice(text: str) -> str:
        made.append(text[0])
        return text + text

    a, b, c = ("a" * 1000, "b" * 1000, "c" * 1000)
    for text in (a, b, a, c, a, b):
        assert twice(text) is twice(text)
        assert twice(text) == text + text
    assert made == ["a", "b", "c", "b"]


def test_one_that_is_too_long_is_made_and_not_kept(made: list[str]) -> None:
    @kept
    def length(text: str) -> int:
        made.append(text[0])
        return len(text)

    assert [length("l" * 100_000), length("l" * 100_000)] == [100_000] * 2
    assert [length("s"), length("s")] == [1, 1]
    assert made == ["l", "l", "s"]


def test_what_fails_is_not_kept(made: list[str]) -> None:
    @kept
    def number(text: str) -> int:
        made.append(text)
        return int(text)

    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            number("x")
    assert made == ["x", "x"]
