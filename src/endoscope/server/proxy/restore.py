"""Values back in place of placeholders, in a whole text or as it streams."""

import json

from endoscope.server.proxy.vault import Vault


def restore(text: str, vault: Vault, *, inside_json: bool = False) -> str:
    """Put values back.

    Args:
        text: with placeholders. Those that the vault does not know stay.
        vault: what they stand for.
        inside_json: the text is JSON, and placeholders stand in its strings.
    """

    def value(placeholder: str) -> str | None:
        found = vault.value(placeholder)
        if found is None or not inside_json:
            return found
        return json.dumps(found, ensure_ascii=False)[1:-1]

    return vault.form.replace(text, value)


class Restorer:
    """Puts values back into a text that comes in pieces.

    What may be the beginning of a placeholder is held back, and nothing else: however a text is
    cut, the pieces that come out make the text that `restore` makes of the whole.

    Args:
        vault: what placeholders stand for.
        inside_json: as for `restore`.
    """

    def __init__(self, vault: Vault, *, inside_json: bool = False) -> None:
        self._vault = vault
        self._inside_json = inside_json
        self._held = ""

    def push(self, text: str) -> str:
        """Take more of the text; return what is certain of it."""
        text = self._held + text
        end = self._vault.form.open_end(text)
        self._held = text[end:]
        return restore(text[:end], self._vault, inside_json=self._inside_json)

    def finish(self) -> str:
        """Return what was held back: the text has ended, so it is no placeholder."""
        held, self._held = self._held, ""
        return held

    def __repr__(self) -> str:
        return f"Restorer({len(self._held)} characters held)"
