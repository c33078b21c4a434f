"""Measuring speed: tiny runs of every part, what is counted against what is executed, and what the page says."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import city_rows, make_config
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from eval import plots
from eval.speed import __main__ as speed
from eval.speed import breakdown, choosing, cold, floor, memory, page, peers, start, subject, turns
from eval.speed.clock import percentile, repeated, spread
from eval.speed.material import Material, passages
from eval.speed.names import BM25, CROSS, LARGE, NAMES, REET, SMALL
from eval.speed.sections import turn_near
from eval.speed.stages import STAGES, watched
from eval.speed.targets import TARGETS, outcomes
from eval.speed.workers import Worker, peak_megabytes
from reet_hf import ReetForCompression, Session
from reet_hf.encoders.packed import PackedEncoder
from reet_hf.errors import ReetError

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
RATES = {"matrix": {name: {"layer": 100.0} for name in floor.DTYPES}, "read": {"best": 10.0}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number, count in enumerate((3, 5)):
        pq.write_table(pa.Table.from_pylist(city_rows(count)), folder / f"{number}.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    """A saved tiny model with an extraction head."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("reet")
    config = make_config(len(tokenizer), extraction=True, extraction_dim=16, span_dim=8, history_turns=0)
    ReetForCompression(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def compressor(model):
    return subject.load(model).compressor


@pytest.fixture
def material(data, tokenizer):
    return Material(passages(data), tokenizer)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    below = [value for value in values if value < found]
    assert not below or len(below) < share * len(values)


def test_values_are_told_with_their_number():
    assert spread([3.0, 1.0, 2.0]) == {"repetitions": 3, "p50": 2.0, "p95": 3.0, "mean": 2.0}
    assert spread([]) == {"repetitions": 0}
    assert len(repeated(lambda: None, 4)) == 4


def test_text_is_taken_by_tokens_in_order_and_none_twice(data, tokenizer):
    made = Material(passages(data), tokenizer)
    whole = "\n".join(passage.text for passage in islice(passages(data), 40))
    place = 0
    for size in (1, 7, 40, 3, 120):
        taken = made.take(size)
        assert len(tokenizer(taken.text, add_special_tokens=False).input_ids) == size
        for part in taken.text.split("\n"):
            place = whole.index(part, place) + len(part)
        assert taken.question.startswith("where is the order")


def test_exchanges_have_the_tokens_that_were_asked_for(material, compressor):
    session = Session(compressor)
    for size in (20, 90, 300):
        before = session.cached_tokens
        exchange = material.exchange(size)
        session.append(exchange.messages)
        assert [message["role"] for message in exchange.messages] == ["user", "assistant"]
        assert session.cached_tokens - before == size
    assert Session(compressor).cached_tokens == 0
    whole = Session(compressor)
    whole.append(material.conversation(1000).messages)
    assert whole.cached_tokens == 1000


def test_a_folder_without_text_is_refused(tmp_path, tokenizer):
    with pytest.raises(ReetError, match="folder of parquet files"):
        next(passages(tmp_path))


def test_flops_of_the_encoder_are_those_that_it_executes(compressor):
    config, windows = compressor.scorer.config, [[5] * size for size in (7, 20, 32)]
    encoder = PackedEncoder(compressor.scorer.model.reet, "float32")
    encoder.read([[1, 2]])  # looks at first whether it can pack
    with FlopCounterMode(display=False) as counter:
        encoder.read(windows)
    need = floor.encoder_need(config, [[7, 20, 32]], 4)
    assert counter.get_total_flops() == need.flops
    assert need.bytes > 4 * sum(p.numel() for p in compressor.scorer.model.reet.encoder.encoder.parameters()) * 0.9


def test_what_heads_need_grows_with_what_they_read(compressor):
    config = compressor.scorer.config
    small, large = (floor.scoring_need(config, history, history // 20, 8192, 12, 40) for history in (8192, 100_000))
    assert small.flops < large.flops < 4 * small.flops  # of twelve times as many tokens: sentences, and the best tokens
    assert large.bytes > 100_000
    one, two = (floor.extraction_need(config, [20] * count, 3 * count, 9, 1000 * count) for count in (1, 2))
    assert two.flops == 2 * one.flops and one.bytes < two.bytes < 2 * one.bytes
    assert floor.Need(2e9, 1e9).milliseconds(1, 1) == 2000 == floor.Need(1e9, 2e9).milliseconds(1, 1)


def test_the_machine_is_measured(compressor):
    found = floor.rates(compressor.scorer.config, 0.001)
    assert set(found) == {"float32", "bfloat16"}
    for own in found.values():
        assert own["layer"] > 0 and len(own["shapes"]) == 3
        assert all(cell["best"] >= cell["p50"] > 0 and cell["repetitions"] >= 5 for cell in own["shapes"].values())
    assert floor.bandwidth(0.001, 1)["best"] > 0


def test_stages_are_watched_without_a_trace(compressor, material):
    before = PackedEncoder.read
    session = Session(compressor)
    with pytest.raises(ZeroDivisionError), watched() as watch:
        spent = turns.one_turn(session, material.exchange(100), 40)
        assert PackedEncoder.read is not before
        raise ZeroDivisionError
    assert PackedEncoder.read is before
    assert 0 < 1000 * sum(watch.seconds.values()) <= spent
    assert set(watch.seconds) == set(STAGES)
    *text, query = watch.passes
    assert sum(map(sum, text)) >= 100 and len(query) == 1
    assert 0 < sum(watch.words) <= 100


def test_time_is_counted_once():
    with watched() as watch:
        inner = watch.timed("inner", lambda: sum(range(200_000)))
        outer = watch.timed("outer", inner)
        outer()
    assert watch.seconds["outer"] < 0.1 * watch.seconds["inner"]


def test_stages_stand_beside_their_floors(compressor, material):
    found = breakdown.measure(compressor, material, RATES, (600,), 3)["histories"]["600"]
    assert set(found["stages"]) == {*STAGES, breakdown.OTHER}
    assert 600 <= found["history_tokens"] <= 1600 + breakdown.NEW
    floors = {name: cell["floor"] for name, cell in found["stages"].items() if "floor" in cell}
    assert set(floors) == {"encoder", "extraction head", "scoring head"}
    assert all(least["mflops"] > 0 and least["gap"] > 0 for least in floors.values())
    assert all(cell["repetitions"] == 3 for cell in found["stages"].values())


def test_a_session_grows_and_its_turns_are_compared(compressor, material, monkeypatch):
    monkeypatch.setattr(turns, "EVEN", (60,))
    monkeypatch.setattr(turns, "MIXED", (10, 60))
    found = turns.measure(compressor, material, 8, 200, range(2, 4), range(6, 8))
    for name, size in (("even", 60), ("mixed", 35)):
        own = found[name]
        assert own["turns"] == 8 and own["tokens"] == 8 * size
        assert own["milliseconds"]["repetitions"] == 8 == len(own["each"]["milliseconds"])
        assert own["ratios"]["late_to_early"]["repetitions"] == [2, 2]
        assert all(cell["ratio"] > 0 for cell in own["ratios"].values())


def test_ratios_are_of_means_and_bins_of_history():
    made = [turns.Turn(1000 * n, 1000, 10.0 * n, 1.0) for n in range(1, 9)]
    found = turns.summary(made, made[:1], range(2, 4), range(6, 8))
    assert found["ratios"]["late_to_early"]["ratio"] == 65 / 25
    assert found["ratios"]["late_to_alternating_early"] == {"ratio": 6.5, "repetitions": [2, 1]}
    assert {low: cell["repetitions"] for low, cell in found["by_history"].items()} == {"0": 3, "4000": 5}
    assert turns.ratio([1.0], []) == {"ratio": None, "repetitions": [1, 0]}


def test_selection_is_measured():
    found = choosing.measure((50, 500), 2)["budgets"]
    assert set(found) == {"2000", "33%"}
    assert all(own["units"]["500"]["p50"] > 0 and own["growth"] > 0 for own in found.values())
    made = choosing.candidates(50)
    assert choosing.tokens([unit.span for unit in made.units]) == made.costs.sum() + 5 * choosing.LABEL


def test_the_start_of_a_process_is_measured(model):
    found = start.measure(model, 1, 1)["seconds"]
    parts = [found[name]["p50"] for name in ("import", "load", "first")]
    assert all(part > 0 for part in parts) and found["sum"]["p50"] == pytest.approx(sum(parts), abs=0.01)
    assert found["process"]["p50"] > found["sum"]["p50"]


def test_memory_is_measured_in_a_process_of_its_own(data, model, compressor, material):
    found = memory.apart(memory.session, data, model, 1, 1500)
    kinds = found["state_bytes_per_token"]
    assert found["tokens"] >= 1500
    assert kinds["sum"] == pytest.approx(kinds["states"] + kinds["units"] + kinds["table"], abs=0.02)
    assert 32 < kinds["states"] <= 48  # a byte a number, scales, the prior
    many = memory.million(compressor, material, 1200, 2)
    assert many["tokens"] >= 1200 and many["question_milliseconds"]["repetitions"] == 2
    assert many["rss_mb"] > 0


@pytest.mark.parametrize("name", [LARGE, SMALL, CROSS, BM25])
def test_peers_are_made_and_read_as_many_tokens_as_we_do(name, model, bundled, tokenizer, material, tmp_path):
    text = "Ann Lee lives in Oslo. Her visa (number 4417) expires on 3 June, unbelievably."
    if name in peers.SHAPES:
        shape = {**TINY, "vocab_size": 31_000, "max_position_embeddings": 514}
        peers.save_random(name, tmp_path, str(bundled), shape)
        own, theirs = (peers.AutoTokenizer.from_pretrained(folder) for folder in (bundled, tmp_path))
        pieces = theirs.tokenize(text)
        assert len(pieces) == pytest.approx(len(own.tokenize(text)), abs=1)
        assert theirs.unk_token not in pieces and len(theirs) == 31_000
    assert peers.build(name, str(bundled), tmp_path)(material.exchange(700).messages, "where?") > 0


def test_systems_take_turns_and_what_is_too_slow_is_not_run(model, material):
    shapes = {LARGE: {**TINY, "vocab_size": 200, "max_position_embeddings": 514}}
    conversations = {length: material.conversation(length) for length in (100, 300)}
    found = cold.measure([REET, LARGE], conversations, model, 1, 2, 30.0, shapes)
    assert set(found["loaded_mb"]) == {REET, LARGE}
    for cells in found["lengths"].values():
        assert all(cell["seconds"]["repetitions"] == 2 and cell["peak_mb"] > 50 for cell in cells.values())
        seconds = {name: cell["seconds"]["p50"] for name, cell in cells.items()}
        assert cells[LARGE]["times_reet"] == pytest.approx(seconds[LARGE] / seconds[REET], rel=0.2)


class Asked:
    """A worker that takes as many seconds as it is told, or never answers."""

    def __init__(self, seconds: dict[int, float | None]) -> None:
        self.seconds, self.asked = seconds, []

    def ask(self, exchange, patience):
        self.asked.append(exchange)
        found = self.seconds[exchange]
        return None if found is None else (found, 100.0)


def test_nothing_is_told_of_what_was_not_run():
    slow, quick, stuck = Asked({10: 4.0}), Asked({10: 1.0, 100: 1.0}), Asked({10: None})
    workers = {REET: quick, LARGE: slow, SMALL: stuck}
    found = cold._by_length(workers, {10: 10, 100: 100}, 3, 10.0, lambda text: None)
    assert slow.asked == [10, 10] and stuck.asked == [10] and quick.asked == [10] * 3 + [100] * 3
    assert found["10"][LARGE]["times_reet"] == 4.0
    assert found["100"][LARGE] == {"repetitions": 0, "not_run": "one pass was expected to take more than 10 seconds"}
    assert "ended after 40 seconds" in found["10"][SMALL]["not_run"] == found["100"][SMALL]["not_run"]


def test_memory_at_its_peak_is_of_this_process():
    assert 50 < peak_megabytes() < 100_000
    assert callable(Worker)


def test_parts_are_merged_into_a_file(data, model, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "QUICK", speed.Sizes(units=(20, 200), rate_seconds=0.001))
    file = tmp_path / "speed" / "speed.json"
    common = ["--data", data, "--model", model, "--threads", str(torch.get_num_threads()), "--output", str(file)]
    speed.main([*common, "--quick", "--parts", "selection"])
    first = json.loads(file.read_text())
    assert set(first) == {"schema_version", "parts", "hardware", "packages"}
    speed.main([*common, "--quick", "--parts", "floor"])
    both = json.loads(file.read_text())
    assert set(both["parts"]) == {"selection", "floor"}
    assert both["parts"]["selection"] == first["parts"]["selection"]
    assert {"revision", "quick", "threads", "model", "seconds"} == set(both["parts"]["floor"]["run"])
    assert "torch" in both["packages"] and both["hardware"]["threads"] == torch.get_num_threads()
    with pytest.raises(SystemExit):
        speed.main([*common, "--parts", "flour"])
    file.write_text('{"schema_version": 0}')
    with pytest.raises(ReetError, match="schema_version"):
        speed.main([*common, "--parts", "floor"])


def test_lists_of_numbers_take_a_line():
    assert speed.as_text({"a": [1, 2.5], "b": ["x"]}) == '{\n "a": [ 1, 2.5 ],\n "b": [\n  "x"\n ]\n}\n'


def made(p50: float = 40.0, late: float = 1.1, large: float = 30.0) -> dict:
    """A record by hand."""
    run = {"revision": "abc", "quick": False, "threads": 2, "model": "m", "seconds": 1.0}
    cell = {"repetitions": 21, "p50": p50, "p95": 2 * p50, "mean": p50}
    ratios = {kind: {"ratio": late, "repetitions": [20, 10]} for kind in ("late_to_early", "late_to_alternating_early")}
    ratios["reference_late_to_early"] = {"ratio": None, "repetitions": [20, 0]}
    history = [512 * number for number in range(220)]
    grown = {
        "sizes": [512],
        "turns": 220,
        "tokens": 112_640,
        "milliseconds": cell,
        "by_history": {"0": cell, "100000": {**cell, "p50": 900.0, "p95": 950.0}},
        "early_turns": [2, 11],
        "late_turns": [190, 209],
        "ratios": ratios,
        "each": {"history": history, "milliseconds": [p50] * 220, "reference": [9.0] * 220},
    }
    least = {"mflops": 12_000.0, "megabytes": 43.0, "milliseconds": 10.0, "gap": 4.0}
    stages = {"encoder": {**cell, "floor": least}, "ledger": cell}
    spent = {"repetitions": 5, "p50": 0.5, "p95": 0.6, "mean": 0.5}
    cold_cell = {"seconds": spent, "peak_mb": 800}
    lengths = {
        "3000": {REET: cold_cell, LARGE: {**cold_cell, "times_reet": large}, SMALL: {**cold_cell, "times_reet": 5.0}},
        "32000": {REET: cold_cell, LARGE: {"repetitions": 0, "not_run": "it is slow"}},
    }
    rate = {"shapes": {"512x384x384": {"p50": 90.0, "best": 99.0, "repetitions": 7}}, "layer": 99.0}
    parts = {
        "turns": {"budget": 2000, "even": grown, "mixed": {**grown, "sizes": [20, 512]}},
        "stages": {"new_tokens": 500, "histories": {"2000": {"history_tokens": 2100, "turn": cell, "stages": stages}}},
        "floor": {"matrix": {"float32": rate}, "read": {"p50": 30.0, "best": 34.0, "repetitions": 9}},
        "cold": {"limit_seconds": 75.0, "lengths": {"32000": {REET: cold_cell}}},
        "peers": {"limit_seconds": 75.0, "lengths": lengths},
        "start": {"seconds": {name: spent for name in ("import", "load", "first", "sum", "process")}},
        "selection": {"budgets": {"33%": {"units": {"10000": cell, "100000": cell}, "growth": 1.1}}},
        "memory": {
            "tokens": 100_352,
            "state_bytes_per_token": {"states": 390.0, "sum": 431.25},
            "rss_bytes_per_token": 5000,
            "rss_bytes_per_token_second_half": 4000,
            "repetitions": 1,
        },
        "million": {
            "tokens": 1_000_000,
            "append_seconds": 200.0,
            "first_question_milliseconds": 9000.0,
            "question_milliseconds": cell,
            "turn_milliseconds": cell,
            "budget": 2000,
            "rss_mb": 9000,
        },
    }
    own = {"cores": 2, "threads": 2, "processor": "a processor", "native_bfloat16": True, "python": "3.11"}
    named = {name: {"run": run, **part} for name, part in parts.items()}
    return {"schema_version": 1, "parts": named, "hardware": own, "packages": {"torch": "2.0"}}


def test_targets_are_met_or_missed():
    words = {each.target.name: each.word for each in outcomes(made()["parts"])}
    assert [name for name, word in words.items() if word != "met"] == ["cached state of a token"]
    missed = [each.target.name for each in outcomes(made(51.0, 1.4, 19.9)["parts"]) if each.word == "missed"]
    assert len(missed) == 6  # both percentiles, both ratios, the large peer, the state
    assert {each.word for each in outcomes({})} == {"not measured"} and len(outcomes({})) == len(TARGETS)


def test_the_page_says_what_the_record_says():
    text = page.page(made())
    assert "| cached state of a token | ≤ 400 bytes | 431.2 bytes | 1 | **missed** |" in text
    assert "| cold, 3,000 tokens, faster than LLMLingua-2 large | ≥ 20 times | 30 times | 5 | met |" in text
    assert f"| 32,000 | {NAMES[LARGE]} | 0 | not run: it is slow |" in text
    assert "| encoder | 40.0 | 80.0 | 21 | 12,000 | 43 | 10 | 4 |" in text
    assert "a processor, which multiplies bfloat16 natively" in text and "revision abc" in text
    assert page.QUICK not in text
    quick = made()
    quick["parts"]["start"]["run"]["quick"] = True
    assert page.QUICK in page.page(quick)
    partial = {**made(), "parts": {"start": made()["parts"]["start"]}}
    assert "not measured" in page.page(partial) and "A session that grows" not in page.page(partial)
    assert page.page({}) == page.section({}) == page.line({}) == ""
    assert page.section(made()).count("\n") > len(TARGETS)


def test_the_sentence_of_the_readme_has_the_main_figures():
    said = page.line(made())
    assert "takes 40 ms (p50) and 80 ms (p95) while a session grows to 112,640 tokens" in said
    assert "1.10 times as long" in said and "32,000 tokens from nothing take 0.5 s" in said
    assert f"30 times as long in {NAMES[LARGE]} and 5 times as long in {NAMES[SMALL]}" in said
    assert page.line({**made(), "parts": {}}) == ""


def test_a_turn_at_a_history_is_of_the_nearest_turns():
    each = {"history": [0, 10, 20, 30, 40], "milliseconds": [1.0, 2.0, 3.0, 4.0, 5.0]}
    assert turn_near(each, 31, 3) == (4.0, 30)


@pytest.mark.parametrize("draw", [plots.speed_turns, plots.speed_stages, plots.speed_cold])
def test_plots_are_the_same_bytes_of_the_same_record(draw, tmp_path):
    for name in ("one.svg", "two.svg"):
        draw(made()["parts"], tmp_path / name)
    content = (tmp_path / "one.svg").read_bytes()
    assert content == (tmp_path / "two.svg").read_bytes()
    assert b"prefers-color-scheme: dark" in content
    ElementTree.fromstring(content)
