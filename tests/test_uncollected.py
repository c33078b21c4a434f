"""Where Python does not look for garbage, and that it does again."""

from __future__ import annotations

import gc

import pytest

from reet_hf.uncollected import uncollected


def test_collections_are_on_again_whatever_happened():
    assert gc.isenabled()
    with uncollected(), uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(MemoryError), uncollected():
        raise MemoryError
    assert gc.isenabled()


def test_who_turned_collections_off_keeps_them_off():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
