"""Answers with values put back: whole, or as they stream."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from endoscope.server.proxy.restore import Restorer, restore
from endoscope.server.proxy.sse import Event, Parser, event
from endoscope.server.proxy.vault import Vault

Place = tuple[str | int, ...]
"""Where a text stands in a choice. A number is the `index` of an item, or its position."""

# Log-probabilities are of the tokens that the model wrote, and the pieces of a placeholder in
# them cannot be put back one by one.
_LEFT = frozenset({"logprobs"})
_INSIDE_JSON = frozenset({"arguments"})
# What a chunk of ours does not repeat of the one before it.
_ONCE = frozenset({"choices", "usage", "endoscope", "obfuscation"})


class Answers:
    """Puts the values of one request back into its answer.

    Args:
        vault: what placeholders stand for.
        json_content: the answer was asked for as JSON, so values must be escaped in it.
    """

    def __init__(self, vault: Vault, *, json_content: bool = False) -> None:
        self.vault = vault
        self._json_fields = _INSIDE_JSON | ({"content"} if json_content else set())

    def whole(self, body: bytes) -> bytes:
        """Return the body of an answer or of an error with values put back in all of its texts."""
        text = body.decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return restore(text, self.vault).encode("utf-8", "replace")
        return json.dumps(self.tree(found)).encode()

    def tree(self, value: Any, name: str = "") -> Any:
        """Return JSON with values put back in all of its texts, keys included."""
        if isinstance(value, str):
            return restore(value, self.vault, inside_json=self.inside_json(name))
        if isinstance(value, list):
            return [self.tree(inner, name) for inner in value]
        if isinstance(value, dict):
            return {
                restore(key, self.vault): inner if key in _LEFT else self.tree(inner, key)
                for key, inner in value.items()
            }
        return value

    def inside_json(self, name: str) -> bool:
        """Whether a field holds JSON as text."""
        return name in self._json_fields

    def __repr__(self) -> str:
        return f"Answers({self.vault!r})"


class Stream:
    """Puts values back into the chunks of a streamed answer.

    Each text of each choice (its content, the arguments of each tool call …) comes in pieces of
    its own, so each has a restorer of its own. What they hold back goes out before the choice is
    said to have finished, or when the answer ends.

    Args:
        answers: puts values back.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._restorers: dict[int, dict[Place, Restorer]] = {}
        self._chunk: dict[str, Any] = {}
        self._parser = Parser()

    async def events(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the events of an answer, values put back.

        If the source fails, what was held back goes out before the error is raised.
        """
        try:
            async for piece in source:
                for found in self._parser.push(piece):
                    yield self._event(found)
        except Exception:
            if rest := self.rest():
                yield rest
            raise
        for found in self._parser.finish():
            yield self._event(found)
        if rest := self.rest():
            yield rest

    def rest(self) -> bytes:
        """Return the events of what is held back: nothing more comes."""
        held = [(index, *text) for index in list(self._restorers) for text in self._finish(index)]
        return b"".join(event(json.dumps(self._extra(*text))) for text in held)

    def _event(self, found: Event) -> bytes:
        if found.data is None:
            return found.write(None)
        if found.data.strip() == "[DONE]":
            return self.rest() + found.write(None)
        try:
            chunk = json.loads(found.data)
        except (ValueError, RecursionError):
            return found.write(restore(found.data, self._answers.vault))
        if not _has_choices(chunk):
            failed = isinstance(chunk, dict) and chunk.get("error") is not None
            told = found.write(json.dumps(self._answers.tree(chunk)))
            return self.rest() + told if failed else told
        self._chunk = chunk
        before = b""
        choices = []
        for choice in chunk["choices"]:
            index = _number(choice, 0)
            ends = choice.get("finish_reason") is not None
            choices.append(self._walk(choice, index, (), ends))
            if ends:
                extra = (self._extra(index, *text) for text in self._finish(index))
                before += b"".join(event(json.dumps(one)) for one in extra)
        return before + found.write(json.dumps(chunk | {"choices": choices}))

    def _walk(self, value: Any, index: int, place: Place, ends: bool) -> Any:
        """Put values back in a part of a choice; `ends`: it is the last part of it."""
        if isinstance(value, str):
            return self._text(value, index, place, ends)
        if isinstance(value, list):
            return [
                self._walk(inner, index, (*place, _number(inner, position)), ends)
                for position, inner in enumerate(value)
            ]
        if isinstance(value, dict):
            return {
                key: inner
                if key in _LEFT or (key == "finish_reason" and not place)
                else self._walk(inner, index, (*place, key), ends)
                for key, inner in value.items()
            }
        return value

    def _text(self, text: str, index: int, place: Place, ends: bool) -> str:
        restorers = self._restorers.setdefault(index, {})
        if place not in restorers:
            inside_json = self._answers.inside_json(str(place[-1]) if place else "")
            restorers[place] = Restorer(self._answers.vault, inside_json=inside_json)
        found = restorers[place].push(text)
        return found + restorers[place].finish() if ends else found

    def _finish(self, index: int) -> Iterator[tuple[Place, str]]:
        """What is held of a choice, and where it belongs."""
        for place, restorer in self._restorers.pop(index, {}).items():
            if held := restorer.finish():
                yield place, held

    def _extra(self, index: int, place: Place, text: str) -> dict[str, Any]:
        """A chunk like the last one, with one more piece of text."""
        choice: Any = text
        for name in reversed(place):
            if isinstance(name, str):
                choice = {name: choice}
            else:
                choice = [{"index": name, **choice} if isinstance(choice, dict) else choice]
        envelope = {key: value for key, value in self._chunk.items() if key not in _ONCE}
        return envelope | {"choices": [{"index": index, **choice, "finish_reason": None}]}

    def __repr__(self) -> str:
        return f"Stream({len(self._restorers)} choices)"


def _has_choices(chunk: Any) -> bool:
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


def _number(item: Any, position: int) -> int:
    """What tells an item of a list from the others, in this chunk and in the next."""
    found = item.get("index") if isinstance(item, dict) else None
    return found if isinstance(found, int) else position
