"""A full disk is known by whoever says so."""

from pathlib import Path

import numpy as np
import pytest

from endoscope.disk import says_full

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_known() -> None:
    with FULL.open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="requested and") as of_numpy:
            np.zeros(1000).tofile(file)
        with pytest.raises(OSError, match="No space") as of_the_system:
            file.write(b"x")
    assert says_full(of_numpy.value)
    assert says_full(of_the_system.value)


def test_other_errors_are_others() -> None:
    assert not says_full(OSError("1000 requested and nothing else"))
    assert not says_full(FileNotFoundError(2, "No such file"))
