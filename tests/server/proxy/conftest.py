"""One proxy before one provider for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.server.proxy.provider import Pair, guard, served


@pytest.fixture(scope="module")
def _pair() -> Iterator[Pair]:
    with served(guard()) as pair:
        yield pair


@pytest.fixture
def pair(_pair: Pair) -> Pair:
    """The proxy and the provider, which has forgotten everything."""
    _pair.provider.reset()
    return _pair
