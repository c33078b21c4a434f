"""Ray Data with actors that compress, on a Ray of this machine."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reet_hf import ReetError
from reet_hf.integrations.ray import RayCompressor

ray = pytest.importorskip("ray", reason='needs pip install "ray[data]"')

MESSAGES = [
    {"role": "user", "content": "It rained again. The flight to Oslo leaves on 12 June, booking KX-4471."},
    {"role": "assistant", "content": "Noted. Something quiet would be nice, if there is anything left."},
]
QUERY = "When does the flight to Oslo leave?"


@pytest.fixture(scope="module")
def compressor():
    return RayCompressor("messages", "query", budget=0.5)


def test_rows_come_back_in_the_form_in_which_they_came(compressor):
    calls = np.array([{**message, "name": None} for message in MESSAGES], dtype=object)  # as Ray hands them over
    column = np.empty(4, dtype=object)
    column[:] = [calls, MESSAGES[0]["content"], json.dumps(MESSAGES), []]
    out = compressor({"messages": column, "query": np.array([QUERY, QUERY, None, ""], dtype=object)})
    kept = compressor.compressor.compress({"messages": MESSAGES, "query": QUERY}, budget=0.5)
    assert out["compressed"][0] == [dict(message) for message in kept.messages]
    assert out["compressed_tokens"][0] == kept.tokens.compressed and out["compressed_original"][0] > 20
    assert "12 June" in out["compressed"][1] and isinstance(out["compressed"][2], list) and out["compressed"][3] == []
    assert out["messages"] is column


def test_keys_and_errors(compressor):
    told = RayCompressor("text", keys=["text", "tokens"], on_error="record", budget=20, protect=["12 June"])
    out = told({"text": ["The flight leaves on 12 June.", "12 June " * 40, None]})
    assert list(json.loads(out["compressed"][0])) == ["text", "tokens"]
    assert out["compressed"][1:] == [None, None] and out["compressed_error"][0] is None
    assert "`budget`" in out["compressed_error"][1] and "'text'" in out["compressed_error"][2]
    with pytest.raises(ReetError, match="`messages"):
        compressor({"messages": [[{"role": "king"}]], "query": [QUERY]})
    with pytest.raises(ReetError, match="'query' is none of messages"):
        compressor({"messages": [MESSAGES]})
    for options in ({"on_error": "skip"}, {"keys": ["texts"]}, {"budget": 0}):
        with pytest.raises(ReetError):
            RayCompressor(**options)


def test_a_data_set_is_compressed_by_actors(compressor):
    rows = [{"id": number, "messages": MESSAGES[: number % 2 + 1], "query": QUERY} for number in range(6)]
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        options = {"column": "messages", "query": "query", "budget": 0.5}
        actors = ray.data.ActorPoolStrategy(size=1)
        found = ray.data.from_items(rows).map_batches(
            RayCompressor, fn_constructor_kwargs=options, batch_size=4, compute=actors
        )
        made = sorted(found.take_all(), key=lambda row: row["id"])
    finally:
        ray.shutdown()
    for row, out in zip(rows, made, strict=True):
        kept = compressor.compressor.compress({"messages": row["messages"], "query": QUERY}, budget=0.5)
        assert out["compressed"] == [dict(message) for message in kept.messages]
        assert out["compressed_tokens"] == kept.tokens.compressed
