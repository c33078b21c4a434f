"""The command line: formats, standard input, errors with exit status 2."""

from __future__ import annotations

import io
import json

import pytest

from reet_hf.cli import main
from reet_hf.version import __version__

MESSAGES = [
    {"role": "user", "content": "the order is abc. when does the visa expires?"},
    {"role": "assistant", "content": "the visa expires in june. the order is in june."},
]


@pytest.fixture
def chat(tmp_path):
    file = tmp_path / "chat.json"
    file.write_text(json.dumps({"messages": MESSAGES, "query": "when?"}), encoding="utf-8")
    return str(file)


def run(capsys, *argv):
    status = main(["compress", *argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_json_holds_the_whole_result_within_the_budget(capsys, chat, tiny_folder):
    status, out, err = run(capsys, chat, "--budget", "0.5", "--format", "json", "--model", str(tiny_folder))
    result = json.loads(out)
    assert status == 0 and result["tokens"]["compressed"] <= result["tokens"]["budget"]
    for piece in result["pieces"]:
        assert MESSAGES[piece["message"]]["content"][piece["start"] : piece["end"]] in result["text"]
    assert "tokens" in err


def test_messages_and_text_are_printed_alone(capsys, chat, tiny_folder):
    status, out, _ = run(capsys, chat, "--budget", "1.0", "--format", "messages", "--model", str(tiny_folder))
    assert status == 0 and json.loads(out) == MESSAGES
    status, out, _ = run(capsys, chat, "--budget", "500", "--model", str(tiny_folder))
    assert "the visa expires in june." in out


def test_standard_input_and_protection(capsys, monkeypatch, tiny_folder):
    stream = io.TextIOWrapper(io.BytesIO(b"order abc 12. the visa expires in june. ok."), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stream)
    status, out, _ = run(capsys, "-", "--budget", "12", "--protect", "june", "--model", str(tiny_folder))
    assert status == 0 and "june" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["missing.txt"], "missing.txt"),
        (["CHAT", "--budget", "0"], "`budget`"),
        (["CHAT", "--budget", "nan"], "`budget`"),
        (["CHAT", "--unit", "page"], "`unit`"),
        (["CHAT", "--protect", "7"], "`protect`"),
        (["CHAT", "--tokenizer", "no/such/tokenizer"], "`tokenizer`"),
        (["CHAT", "--keep-recent", "-1"], "`keep_recent`"),
        (["CHAT", "--keep-recent", "2", "--budget", "3"], "`budget`"),
        (["CHAT", "--keep-tags", "page"], "`keep_tags`"),
        (["CHAT", "--tools", "missing.json"], "missing.json"),
    ],
)
def test_bad_input_goes_to_stderr_with_status_2(capsys, chat, tiny_folder, argv, words):
    argv = [chat if word == "CHAT" else word for word in argv]
    status, out, err = run(capsys, *argv, "--model", str(tiny_folder))
    assert status == 2 and out == "" and words in err and "Traceback" not in err


def test_a_file_that_is_not_text_is_refused(capsys, tmp_path):
    file = tmp_path / "image.bin"
    file.write_bytes(b"\xff\xfe\x00\x80")
    status, _, err = run(capsys, str(file))
    assert status == 2 and "UTF-8" in err


def test_a_missing_model_is_refused(capsys, chat):
    status, _, err = run(capsys, chat, "--model", "no/such-model")
    assert status == 2 and "no/such-model" in err


def test_a_model_that_can_be_none_on_the_hub_is_refused_at_once(capsys, chat, monkeypatch):
    monkeypatch.setattr("reet_hf.modeling.checkpoints.adapter_folder", lambda model: pytest.fail("was looked for"))
    status, _, err = run(capsys, chat, "--model", "reet-bse")
    assert status == 2 and "--model must be a folder or a Hub id such as reet/reet-base, got 'reet-bse'" in err


def test_what_must_stay_and_markers_can_be_chosen(capsys, tmp_path, tiny_folder):
    said = ["the visa expires in june. " * 12, "the order is abc. " * 12, "when does <keep>june</keep> expire?"]
    messages = [{"role": "user", "content": text} for text in said]
    file, tools = tmp_path / "chat.json", tmp_path / "tools.json"
    file.write_text(json.dumps(messages), encoding="utf-8")
    tools.write_text(json.dumps([{"type": "function", "function": {"name": "f"}}]), encoding="utf-8")
    asked = [str(file), "--budget", "0.7", "--format", "json", "--model", str(tiny_folder), "--unit", "message"]
    options = ["--keep-recent", "1", "--markers", "--keep-tags", "user", "--no-keep-system", "--tools", str(tools)]
    status, out, err = run(capsys, *asked, *options)
    assert status == 0, err
    result = json.loads(out)
    assert result["messages"][-1] == messages[-1]
    assert result["omitted"]
    plain = json.loads(run(capsys, *asked)[1])
    assert plain["tokens"]["original"] < result["tokens"]["original"]


@pytest.mark.parametrize("argv", [["--help"], ["compress", "--help"]])
def test_help_is_there(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 0 and "budget" in capsys.readouterr().out


def test_a_file_called_json_that_is_none_is_refused(tmp_path, capsys):
    path = tmp_path / "broken.json"
    path.write_text('{"messages": [{"role": "user"')
    assert main(["compress", str(path)]) == 2
    assert "must be JSON where it is called so" in capsys.readouterr().err


def test_a_budget_that_is_none_names_the_rule(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["compress", "notes.txt", "--budget", "lots"])
    assert (
        "must be a keep rate in (0, 1] like 0.3 or a number of tokens like 2000, got 'lots'" in capsys.readouterr().err
    )


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"reet {__version__}\n"
