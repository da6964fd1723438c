"""The scrubbing proxy: personal data stays here, placeholders go to the provider.

A request's texts are scanned, values become placeholders (`[NAME_1]`), and in the answer the
placeholders become values again, streamed or not. What cannot be scanned is refused.
"""

from endoscope.server.proxy.app import Proxy, Settings

__all__ = ["Proxy", "Settings"]
