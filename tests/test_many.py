"""Files of many records: what is read and written, and that no kill, error or other option spoils an output."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import time
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reet_hf import ReetError
from reet_hf.cli import main
from reet_hf.many import lines, parts
from reet_hf.many.handling import Handling
from reet_hf.many.run import compress_file
from reet_hf.many.source import read_lines
from reet_hf.many.together import passes
from reet_hf.many.unfinished import Unfinished
from reet_hf.options import Options
from reet_hf.records import Compressed, TokenCounts

CITIES = ("Oslo", "Lisbon", "Quito", "Hanoi", "Dakar", "Perth", "Turin", "Lima")
TALK = (
    "It rained again for most of the afternoon.",
    "Something quiet would be nice, if there is anything left.",
    "My sister stayed at one with a garden last year.",
)


def make_record(number: int) -> dict:
    city = CITIES[number % len(CITIES)]
    said = f"The flight to {city} leaves on {number % 28 + 1} June, booking KX-{4000 + number}."
    contents = [" ".join([*TALK[: number % 3 + 1], said]), *TALK[: number % 4]]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
    return {"id": f"r{number}", "city": city, "messages": messages, "query": f"When does the flight to {city} leave?"}


def write_records(path: Path, records: list) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class Stub:
    """A compressor that keeps everything, and refuses texts with `refuse` in them, or fails on `fail`."""

    scorer = None
    revision = "stub"

    def __init__(self, pause: float = 0.0) -> None:
        self.pause, self.encoded = pause, 0

    def options(self, **options) -> Options:
        return Options(**options)

    def encode(self, conversation):
        self.encoded += 1
        time.sleep(self.pause)
        return conversation

    def select(self, state, query, history, options) -> Compressed:
        text = "\n".join(message.text for message in state.messages)
        if "refuse" in text:
            raise ReetError("`budget` must be larger.")
        if "fail" in text:
            raise IndexError("list index out of range")
        return Compressed(text, (), (), TokenCounts(len(text), len(text), len(text)))


@pytest.fixture(scope="module")
def pipe(bundled):
    from transformers import pipeline

    return pipeline("reet-compression", model=str(bundled))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_RECORDS", 3)


@pytest.fixture
def source(tmp_path):
    return write_records(tmp_path / "in.jsonl", [make_record(number) for number in range(8)])


@pytest.fixture
def expected(source, tmp_path, small_parts):
    """What an uninterrupted run writes."""
    compress_file(source, tmp_path / "expected.jsonl", Stub())
    return (tmp_path / "expected.jsonl").read_bytes()


def left(output: Path) -> list[str]:
    """Names of what is beside an output."""
    return sorted(path.name for path in output.parent.glob(f"{output.name}?*"))


# what comes out


def test_records_read_together_are_those_read_alone(pipe, tmp_path):
    records = [make_record(number) for number in range(40)]
    source = write_records(tmp_path / "in.jsonl", records)
    counts = compress_file(source, tmp_path / "together.jsonl", pipe, budget=0.4)
    compress_file(source, tmp_path / "alone.jsonl", pipe, budget=0.4, batch=False)
    together, alone = read(tmp_path / "together.jsonl"), read(tmp_path / "alone.jsonl")
    for record, line in zip(records, alone, strict=True):
        own = pipe({"messages": record["messages"], "query": record["query"]}, budget=0.4)
        named = {"id": record["id"], "city": record["city"], "query": record["query"]}
        assert line == json.loads(json.dumps({**named, "result": own}))  # bit for bit
    for one, other in zip(together, alone, strict=True):
        chances = [[piece.pop("importance") for piece in line["result"]["pieces"]] for line in (one, other)]
        assert np.allclose(*chances, atol=1e-4) and one == other
    assert (counts.records, counts.failed) == (40, 0)
    assert counts.compressed == sum(line["result"]["tokens"]["compressed"] for line in together)


def test_every_window_is_read_once_and_in_few_passes(pipe, tmp_path):
    scorer = pipe.compressor.scorer
    seen, before = [], scorer.reader

    def counted(rows):
        seen.append([tuple(row) for row in rows])
        return before(rows)

    records = [make_record(number) for number in range(32)]
    scorer.reader = counted
    try:
        compress_file(write_records(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl", pipe)
        assert scorer.reader is counted
    finally:
        scorer.reader = before
    read_rows = [row for rows in seen for row in rows]
    assert len(read_rows) == len(set(read_rows)) == 32 and len(seen) < 8


def test_passes_hold_windows_of_like_length():
    rows = [[0] * length for length in (9, 2, 30, 3, 8, 2)]
    assert [[len(row) for row in group] for group in passes(rows, 18)] == [[2, 2, 3], [8, 9], [30]]
    assert passes([], 18) == []


def test_any_input_of_the_pipeline_is_a_record(tmp_path):
    source = tmp_path / "in.jsonl"
    messages = [{"role": "user", "content": "hello"}]
    rows = ["a text", messages, messages[0], {"context": ["one", "two"], "history": [], "n": 1}]
    rows.extend([{"messages": messages, "query": None, "id": 7}, {"context": "three", "id": None}])
    text = "\r\n \r\n".join(json.dumps(row) for row in rows)  # blank lines between, no line break at the end
    source.write_bytes(b"\xef\xbb\xbf" + text.encode())
    compress_file(source, tmp_path / "out.jsonl", Stub(), keys=["text"], query="Who?")
    found = read(tmp_path / "out.jsonl")
    texts = ["a text", "hello", "hello", "one\ntwo", "hello", "three"]
    assert [line["result"] for line in found] == [{"text": text} for text in texts]
    assert [line.get("line") for line in found] == [1, 3, 5, 7, None, 11]
    assert found[3]["n"] == 1 and found[4]["id"] == 7 and "history" not in found[3]


def test_packed_files_are_read_and_written(source, tmp_path, expected):
    packed = tmp_path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    compress_file(packed, tmp_path / "out.jsonl.gz", Stub())
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == expected
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ReetError, match="--input must be a readable file"):
        compress_file(packed, tmp_path / "other.jsonl", Stub())


@pytest.mark.parametrize("content", [b"", b"\n \r\n\n"])
def test_a_file_without_records_gives_one(content, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(content)
    (tmp_path / "out.jsonl").write_bytes(b"old\n")
    for _ in range(2):
        assert compress_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", Stub(), overwrite=True).records == 0
        assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert left(tmp_path / "out.jsonl") == ["out.jsonl.manifest.json"]


def test_tables_are_read_by_rows(tmp_path):
    messages = json.dumps(make_record(3)["messages"])
    (tmp_path / "a.csv").write_text(f'id,chat,n\n1,"{messages.replace(chr(34), chr(34) * 2)}",5\n2,"plain, text",\n')
    (tmp_path / "b.tsv").write_text("context\tquery\none\tWho?\ntwo\t\n")
    rows = [{"id": 1, "messages": make_record(1)["messages"], "x": 1.5}, {"id": 2, "messages": [], "x": float("nan")}]
    rows[0]["messages"][0]["name"] = "Ann"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    for name, column in (("a.csv", "chat"), ("b.tsv", None), ("c.parquet", None)):
        compress_file(tmp_path / name, tmp_path / f"{name}.jsonl", Stub(), column=column, keys=["text"])
    first, second = read(tmp_path / "a.csv.jsonl")
    assert first["n"] == "5" and "KX-4003" in first["result"]["text"] and "chat" not in first
    assert second == {"id": "2", "result": {"text": "plain, text"}}
    assert [line["row"] for line in read(tmp_path / "b.tsv.jsonl")] == [1, 2]
    assert [line.get("x") for line in read(tmp_path / "c.parquet.jsonl")] == [1.5, None]


def test_tables_that_are_none_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(ReetError, match="--input"):
        compress_file(tmp_path / "a.parquet", tmp_path / "out.jsonl", Stub())
    (tmp_path / "a.csv").write_bytes(b"context\none,two\n\xff\nthree\n")
    compress_file(tmp_path / "a.csv", tmp_path / "out.jsonl", Stub(), on_error="record", keys=["text"])
    wide, strange, good = read(tmp_path / "out.jsonl")
    assert "1 fields more" in wide["error"] and "Unicode" in strange["error"] and good["result"] == {"text": "three"}


def test_memory_does_not_grow_with_the_file(tmp_path):
    source = tmp_path / "in.jsonl"
    with source.open("w") as file:
        for number in range(20_000):
            file.write(json.dumps({"context": TALK[number % 3] * 20, "id": number}) + "\n")
    tracemalloc.start()
    assert parts.survey(source, query=None, column=None, check=False).records == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < source.stat().st_size / 8


# records that cannot be compressed

BAD = [
    (b'{"messages": [', "must be JSON"),
    (b'{"context": "\xff"}', "must be UTF-8"),
    (b'{"context": "x", "score": NaN}', "NaN"),
    (b"[" * 100_000, "JSON"),
    (b'{"context": "x", "note": "\\ud800"}', "Unicode"),
    (b'{"context": "\\ud800"}', "Unicode"),
    (b'{"text": "x"}', "--column"),
    (b"17", "must be"),
    (b'{"context": "x", "result": 1}', "rename"),
    (b'{"context": "x", "messages": []}', "exactly one"),
    (b'{"messages": "no list"}', "`messages`"),
    (b'{"messages": [{"role": "king", "content": ""}]}', "`messages[0]['role']`"),
    (b'{"context": "' + b"x" * 2000 + b'"}', "2,015 bytes"),
    (b'{"context": "refuse"}', "`budget`"),
    (b'{"context": "fail"}', "IndexError"),
]


def test_bad_records_are_told_in_their_place_or_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lines, "MOST_BYTES", 1000)
    source = tmp_path / "in.jsonl"
    rows = [row if len(row) < 10_000 else row[:900] for row, _ in BAD]
    source.write_bytes(b"\n".join(part for row in rows for part in (b'"good"', row)))
    counts = compress_file(source, tmp_path / "out.jsonl", Stub(), on_error="record", keys=["text"])
    found = read(tmp_path / "out.jsonl")
    assert (counts.records, counts.failed) == (2 * len(BAD), len(BAD))
    assert [line["line"] for line in found] == list(range(1, 2 * len(BAD) + 1))
    for good, bad, (_, words) in zip(found[::2], found[1::2], BAD, strict=True):
        assert good["result"] == {"text": "good"}
        assert words in bad["error"]
    compress_file(source, tmp_path / "skipped.jsonl", Stub(), on_error="skip", keys=["text"])
    assert read(tmp_path / "skipped.jsonl") == found[::2]
    assert "line 30 of in.jsonl is left out" in caplog.text.lower()


def test_a_record_that_cannot_be_read_ends_a_run_before_it_begins(source, tmp_path):
    with source.open("ab") as file:
        file.write(b'{"text": "x"}\n{')
    stub = Stub()
    with pytest.raises(ReetError, match="(?s)Line 9 of in.jsonl: .*--column.*1 more.*--on-error skip"):
        compress_file(source, tmp_path / "out.jsonl", stub)
    assert stub.encoded == 0 and not left(tmp_path / "out.jsonl") and not (tmp_path / "out.jsonl").exists()


def test_a_run_that_a_record_ended_goes_on_without_it(tmp_path, small_parts):
    records = [make_record(number) for number in range(6)] + [{"id": "bad", "context": "refuse"}, make_record(7)]
    source, output = write_records(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl"
    for _ in range(2):
        with pytest.raises(ReetError, match="Line 7 of in.jsonl: `budget` must be larger"):
            compress_file(source, output, Stub())
    stub = Stub()
    counts = compress_file(source, output, stub, on_error="record")
    assert stub.encoded == 2 and counts.failures == (7,)
    assert [line["id"] for line in read(output)] == ["r0", "r1", "r2", "r3", "r4", "r5", "bad", "r7"]
    assert read(output)[6] == {"id": "bad", "error": "`budget` must be larger."}
    with pytest.raises(ReetError, match="--on-error was"):
        compress_file(source, output, Stub(), on_error="skip")


def test_a_fault_of_the_package_is_shown_where_it_ends_a_run(tmp_path):
    with pytest.raises(IndexError):
        compress_file(write_records(tmp_path / "in.jsonl", ["fail"]), tmp_path / "out.jsonl", Stub())


# kills, full disks, damage, several processes


def forked(work) -> int:
    """The number of a child that does `work`."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def killed_at(point: int, after: bool, work) -> bool:
    """Whether a child that does `work` came to this file operation, before or after which it is killed."""

    def child() -> None:
        count = 0
        for name in ("fsync", "replace", "unlink", "truncate", "write", "rmdir"):
            true = getattr(os, name)

            def counted(*arguments, _true=true, **options):
                nonlocal count
                count += 1
                if count == point and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                found = _true(*arguments, **options)
                if count == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                return found

            setattr(os, name, counted)
        work()

    return os.WIFSIGNALED(os.waitpid(forked(child), 0)[1])


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_file_operation_loses_and_doubles_nothing(source, tmp_path, expected, after):
    point = 0
    while True:
        point += 1
        output = tmp_path / f"{point}" / "out.jsonl"
        killed = killed_at(point, after, lambda output=output: compress_file(source, output, Stub()))
        assert not output.exists() or output.read_bytes() == expected
        stub = Stub()
        compress_file(source, output, stub)
        assert output.read_bytes() == expected and left(output) == ["out.jsonl.manifest.json"]
        if not killed:
            break
        assert stub.encoded <= 8
    assert point > 25 and stub.encoded == 0


def test_a_killed_run_is_taken_up_where_it_was(source, tmp_path, expected):
    output = tmp_path / "out.jsonl"
    child = forked(lambda: compress_file(source, output, Stub(pause=0.05)))
    while not (tmp_path / "out.jsonl.unfinished" / "output.json").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    stub = Stub()
    compress_file(source, output, stub)
    assert output.read_bytes() == expected and 2 <= stub.encoded <= 5


def test_several_processes_share_the_work_of_one_that_is_killed(tmp_path, small_parts):
    source = write_records(tmp_path / "in.jsonl", [make_record(number) for number in range(100)])
    compress_file(source, tmp_path / "expected.jsonl", Stub())
    output = tmp_path / "out.jsonl"
    children = [forked(lambda: compress_file(source, output, Stub(pause=0.02))) for _ in range(3)]
    time.sleep(0.3)
    os.kill(children[0], signal.SIGKILL)
    assert [os.waitpid(child, 0)[1] for child in children] == [signal.SIGKILL, 0, 0]
    assert output.read_bytes() == (tmp_path / "expected.jsonl").read_bytes()
    assert left(output) == ["out.jsonl.manifest.json"]


def test_a_full_disk_is_told_and_the_run_goes_on_later(source, tmp_path, expected, monkeypatch):
    for point in range(1, 12):
        output, count = tmp_path / f"{point}" / "out.jsonl", 0

        def full(file, data, start, point=point):
            nonlocal count
            count += 1
            file.seek(start)
            file.write(data[: len(data) // 2] if count == point else data)
            if count == point:
                raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            for module in ("reet_hf.journal", "reet_hf.many.unfinished"):
                patch.setattr(f"{module}.write_all", full)
            with pytest.raises(ReetError, match="cannot be written: .*No space left"):
                compress_file(source, output, Stub())
        assert not output.exists()
        compress_file(source, output, Stub())
        assert output.read_bytes() == expected


def stopped(source, output, monkeypatch, after: int) -> Path:
    """The folder of a run that was interrupted when it had compressed `after` records."""
    stub = Stub()

    def interrupted(state, *arguments):
        if stub.encoded > after:
            raise KeyboardInterrupt
        return Stub.select(stub, state, *arguments)

    monkeypatch.setattr(stub, "select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compress_file(source, output, stub)
    return output.with_name(f"{output.name}.unfinished")


def test_what_is_behind_the_last_part_is_cut_off_and_damaged_parts_are_done_again(
    source, tmp_path, expected, monkeypatch
):
    output = tmp_path / "out.jsonl"
    folder = stopped(source, output, monkeypatch, after=4)
    with (folder / "output").open("ab") as file:
        file.write(b'{"id":"r3","resu')
    for number, damage in enumerate((b'{"counts": {', b"", b"null\nx", b'{"bytes": 1, "crc": 5}\nx'), start=1):
        (folder / f"{number:08d}.part").write_bytes(damage)
    compress_file(source, output, Stub())
    assert output.read_bytes() == expected


def test_a_part_that_does_not_match_its_checksum_is_done_again(source, tmp_path, expected, monkeypatch):
    output = tmp_path / "out.jsonl"
    monkeypatch.setattr(Unfinished, "merge", lambda self, plan: self.written(plan))
    folder = stopped(source, output, monkeypatch, after=7)
    monkeypatch.undo()
    monkeypatch.setattr(parts, "PART_RECORDS", 3)
    part = folder / "00000001.part"
    part.write_bytes(part.read_bytes().replace(b"KX-4004", b"KX-9999"))
    stub = Stub()
    compress_file(source, output, stub)
    assert output.read_bytes() == expected and stub.encoded == 5


def test_an_output_that_has_lost_bytes_is_refused(source, tmp_path, expected, monkeypatch):
    output = tmp_path / "out.jsonl"
    folder = stopped(source, output, monkeypatch, after=4)
    os.truncate(folder / "output", 10)
    with pytest.raises(ReetError, match="lost bytes.*--overwrite"):
        compress_file(source, output, Stub())
    compress_file(source, output, Stub(), overwrite=True)
    assert output.read_bytes() == expected


def test_an_input_that_shrinks_meanwhile_is_refused(source, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr("reet_hf.many.run.read_lines", lambda path: islice(read_lines(path), 4))
    with pytest.raises(ReetError, match="was changed while it was read"):
        compress_file(source, tmp_path / "out.jsonl", Stub())


# other options, other inputs, other files


def test_a_finished_output_is_left_alone(source, tmp_path, expected):
    output, stub = tmp_path / "out.jsonl", Stub()
    first = compress_file(source, output, stub)
    before = output.stat()
    assert compress_file(source, output, stub) == first
    assert stub.encoded == 8 and output.stat().st_mtime_ns == before.st_mtime_ns
    assert left(output) == ["out.jsonl.manifest.json"]
    output.unlink()
    compress_file(source, output, stub)
    assert stub.encoded == 16 and output.read_bytes() == expected
    output.write_bytes(b"edited")
    with pytest.raises(ReetError, match="was changed since it was written.*--overwrite"):
        compress_file(source, output, stub)
    assert output.read_bytes() == b"edited" and left(output) == ["out.jsonl.manifest.json"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 1}, "--budget was 1.0, is 1"),
        ({"budget": 1.0, "protect": ["system"]}, "--protect"),
        ({"budget": 1.0, "query": "Who?"}, "--query was null"),
        ({"budget": 1.0, "keys": ["text"]}, "--keys"),
        ({"budget": 1.0, "batch": False}, "--batch"),
        ({"budget": 1.0, "tools": [{"type": "function", "function": {"name": "f"}}]}, "--tools"),
    ],
)
def test_going_on_with_other_options_is_refused(source, tmp_path, expected, monkeypatch, options, words):
    output = tmp_path / "out.jsonl"
    stopped(source, output, monkeypatch, after=4)
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    manifest["options"]["budget"] = 1.0
    (tmp_path / "out.jsonl.manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ReetError, match=f"begun otherwise: .*{words}.*--overwrite"):
        compress_file(source, output, Stub(), **options)
    compress_file(source, output, Stub(), budget=1.0)
    assert output.read_bytes() == expected


def test_going_on_with_another_input_or_model_is_refused(source, tmp_path, expected, monkeypatch):
    output = tmp_path / "out.jsonl"
    stopped(source, output, monkeypatch, after=4)
    other = Stub()
    other.revision = "other"
    with pytest.raises(ReetError, match="the model was"):
        compress_file(source, output, other)
    write_records(source, [make_record(number) for number in range(1, 9)])
    with pytest.raises(ReetError, match="the input was 8 records, is 8 others"):
        compress_file(source, output, Stub())
    (tmp_path / "out.jsonl.manifest.json").write_text("{}")
    with pytest.raises(ReetError, match="manifest.*cannot be read"):
        compress_file(source, output, Stub())


def test_a_file_of_somebody_else_is_not_replaced_unless_told(source, tmp_path, expected):
    output = tmp_path / "out.jsonl"
    output.write_text("mine")
    with pytest.raises(ReetError, match="--output must be a new file"):
        compress_file(source, output, Stub())
    assert output.read_text() == "mine" and not left(output)
    compress_file(source, output, Stub(), overwrite=True)
    assert output.read_bytes() == expected
    for wrong in (tmp_path, source, source / "out.jsonl"):
        with pytest.raises(ReetError, match="--output|`folder`"):
            compress_file(source, wrong, Stub())


def test_what_others_work_on_is_not_overwritten(source, tmp_path, monkeypatch, small_parts):
    output = tmp_path / "out.jsonl"
    stopped(source, output, monkeypatch, after=4)
    other = Unfinished(output)
    other.join()
    with pytest.raises(ReetError, match="end them first"):
        compress_file(source, output, Stub(), overwrite=True)
    other.leave()
    assert compress_file(source, output, Stub(), overwrite=True).records == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [({"on_error": "ask"}, "`on_error`"), ({"keys": ["texts"]}, "'texts'"), ({"keys": "text"}, "list")],
)
def test_how_records_are_handled_is_checked(options, words):
    with pytest.raises(ReetError, match=words):
        Handling(**options)


# the command line


def test_the_command_compresses_a_file(tmp_path, bundled, capsys):
    source = write_records(tmp_path / "in.jsonl", [make_record(number) for number in range(3)])
    output = tmp_path / "new" / "out.jsonl"
    asked = ["compress", "--input", str(source), "--output", str(output), "--model", str(bundled)]
    assert main([*asked, "--budget", "24", "--protect", r"KX-\d+", "--keys", "text,tokens"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and "3 records" in told.err
    for number, line in enumerate(read(output)):
        assert list(line["result"]) == ["text", "tokens"] and f"KX-{4000 + number}" in line["result"]["text"]
        assert line["result"]["tokens"]["compressed"] <= 24
    assert main([*asked, "--budget", "30", "--format", "messages"]) == 2
    assert "begun otherwise" in capsys.readouterr().err
    assert main([*asked, "--budget", "30", "--format", "messages", "--overwrite"]) == 0
    assert [list(line["result"]) for line in read(output)] == [["messages"]] * 3
    assert main([*asked, "--budget", "6", "--keep-recent", "1", "--on-error", "skip", "--overwrite"]) == 0
    assert "3 are left out: line 1, 2, 3" in capsys.readouterr().err and output.read_bytes() == b""
    assert main([*asked, "--budget", "0"]) == 2
    assert "`budget`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "compress needs FILE"),
        (["chat.json", "--output", "x.jsonl"], "--output"),
        (["chat.json", "--input", "y.jsonl", "--output", "x.jsonl"], "--input"),
        (["--output", "x.jsonl"], "--output"),
        (["chat.json", "--on-error", "skip"], "--on-error"),
        (["--input", "x.jsonl"], "--output"),
        (["--input", "-", "--output", "x.jsonl"], "compress -"),
        (["--input", "missing.jsonl", "--output", "x.jsonl"], "missing.jsonl"),
        (["--input", "missing.jsonl", "--output", "x.jsonl", "--keys", "text", "--format", "text"], "--keys"),
    ],
)
def test_half_a_command_is_refused(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compress", *argv]) == 2
    told = capsys.readouterr()
    assert told.out == "" and words in told.err and not list(tmp_path.iterdir())


def test_records_have_the_numbers_of_their_lines(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b'\n"a"\r\n\n"b"')
    assert [(line.number, line.data) for line in read_lines(tmp_path / "in.jsonl")] == [(2, b'"a"'), (4, b'"b"')]
