"""What all tests share."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("endoscope", deadline=None)
settings.load_profile("endoscope")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For many small tensors: there, more threads only get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
