"""The demo page: what it reads, shows and explains, and the running app as a client of its API sees it."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from html import unescape
from importlib.metadata import version
from types import ModuleType

import pytest
from conftest import ROOT

from reet_hf import ReetError
from reet_hf.conversation import parse_request

SPACE = ROOT / "spaces" / "reet-demo"
MODULES = [path.stem for path in SPACE.glob("*.py")]
MESSAGES = [
    {"role": "user", "content": 'My order is B-77. <script>alert("1")</script> It came\nlate & cost {{ 5 }} or ${5}.'},
    {"role": "assistant", "name": "Ana <b>", "content": "The visa expires in June. The order expires in May."},
    {"role": "user", "content": "When does the visa expire?"},
]
TOOL_USE = [
    {"role": "user", "content": "When does the order expire?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"order": "<7>"}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"expires": "june"}'},
]


@pytest.fixture(scope="module")
def app(tiny_folder) -> ModuleType:
    """The Space's script as a module that loads the tiny model; its siblings are imported as they are in the Space."""
    patch = pytest.MonkeyPatch()
    patch.setenv("REET_MODEL", str(tiny_folder))
    patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    patch.syspath_prepend(str(SPACE))
    for name in MODULES:
        sys.modules.pop(name, None)
    yield importlib.import_module("app")
    for name in MODULES:
        sys.modules.pop(name, None)
    patch.undo()


def part(name: str) -> ModuleType:
    """A module of the Space, which the fixture `app` has made importable."""
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def client(app):
    """A client of the app, which listens on loopback for as long as this module's tests run."""
    from gradio_client import Client

    _, url, _ = app.demo.launch(
        prevent_thread_lock=True,
        server_name="127.0.0.1",
        quiet=True,
        ssr_mode=False,
        **{**app.LOOK, "mcp_server": False},
    )
    yield Client(url, verbose=False)
    app.demo.close(verbose=False)


def displayed(html: str) -> list[str]:
    """The text of each message as the page shows it."""
    return [unescape(re.sub("<[^>]*>", "", said)) for said in re.findall(r'<div class="said">(.*?)</div>', html, re.S)]


def kept(html: str) -> list[list[str]]:
    """The kept pieces of each message as the page shows them."""
    turns = re.findall(r'<div class="said">(.*?)</div>', html, re.S)
    return [[unescape(piece) for piece in re.findall("<mark[^>]*>(.*?)</mark>", said, re.S)] for said in turns]


def texts_of(inputs) -> list[str]:
    return [message.text for message in parse_request(inputs).conversation.messages if message.text]


def replied(inputs, query: str = "", budget: float = 0.5, unit: str = "auto", protect: str = ""):
    """What the page makes of inputs."""
    text = inputs if isinstance(inputs, str) else json.dumps(inputs)
    return part("reply").compress(text, query, budget, unit, protect)


# --- what is read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A visa.\nAn order.", {"context": "A visa.\nAn order."}),
        ("[12:03] Ana: hello", {"context": "[12:03] Ana: hello"}),
        ("{not json", {"context": "{not json"}),
        ("He said\nuser: hi", {"context": "He said\nuser: hi"}),
        (
            "\nUser: Hi.\nStill me.\nassistant:\tHello.\n",
            {"messages": [{"role": "user", "content": "Hi.\nStill me."}, {"role": "assistant", "content": "Hello."}]},
        ),
        (json.dumps(MESSAGES), {"messages": MESSAGES}),
        (json.dumps({"messages": MESSAGES, "query": "a?", "answer": "b"}), {"messages": MESSAGES, "query": "a?"}),
        ('["one", "two"]', {"context": ["one", "two"]}),
        ('{"context": "one"}', {"context": "one"}),
    ],
)
def test_parse_input_detects_the_form(app, text, expected):
    parse_input = part("inputs").parse_input
    assert parse_input(text) == expected
    assert parse_input(text, " \n") == expected
    assert parse_input(text, "Why?") == {**expected, "query": "Why?"}
    parse_request(parse_input(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" \n", "nothing to compress"),
        ('[{"role": "user", "content": "hi"', "line 1 column"),
        ('{"messages": ' + "[" * 200_000, "nested|recursion"),
        (json.dumps([MESSAGES, MESSAGES]), "one conversation at a time"),
        ("x" * 400_001, "400,001"),
    ],
)
def test_parse_input_says_what_is_wrong(app, text, words):
    with pytest.raises(ReetError, match=words):
        part("inputs").parse_input(text)


def pdf_of(text: str) -> bytes:
    """A PDF of one page with one line of text, none if it is empty."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return body + f"xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode()


def word_file(path) -> None:
    """A Word document with a paragraph, a table and a paragraph."""
    from docx import Document

    document = Document()
    document.add_paragraph("The visa expires in June.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "order", "B-77"
    document.add_paragraph("The end.")
    document.save(str(path))


def test_files_are_read(app, tmp_path):
    read_file = part("inputs").read_file
    (tmp_path / "a.txt").write_text("\ufeffThe visa é.", encoding="utf-8")
    assert read_file(tmp_path / "a.txt") == "The visa é."
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, MESSAGES)) + "\n\n", encoding="utf-8")
    assert json.loads(read_file(tmp_path / "a.jsonl")) == MESSAGES
    (tmp_path / "one.jsonl").write_text(json.dumps({"messages": MESSAGES}), encoding="utf-8")
    assert json.loads(read_file(tmp_path / "one.jsonl")) == {"messages": MESSAGES}
    (tmp_path / "a.pdf").write_bytes(pdf_of("The visa expires in June."))
    assert read_file(tmp_path / "a.pdf") == "The visa expires in June."
    word_file(tmp_path / "a.docx")
    assert read_file(tmp_path / "a.docx") == "The visa expires in June.\norder | B-77\nThe end."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.exe", b"MZ", r"reads \.txt, .* got a.exe"),
        ("a.txt", b"\xff\xfe\x00", "text in UTF-8, but byte 0"),
        ("a.md", b" \n", "holds no text"),
        ("a.txt", b"x" * 400_001, "400,001"),
        ("a.json", b"x" * 10_000_001, r"10 MB at most, a.json has 10.0 MB"),
        ("a.jsonl", b'{"role": "user"}\n{oops', "Line 2 of a.jsonl is no JSON"),
        ("a.pdf", b"%PDF-1.4 and nothing", "cannot be read as a PDF"),
        ("a.pdf", pdf_of(""), r"pictures and no text; run text recognition \(OCR\)"),
        ("a.docx", b"no archive", "cannot be read as a Word document"),
    ],
)
def test_files_that_cannot_be_read_say_why(app, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReetError, match=words):
        part("inputs").read_file(tmp_path / name)


def test_a_locked_pdf_says_so(app, tmp_path):
    from pypdf import PdfWriter

    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "a.pdf")
    with pytest.raises(ReetError, match="locked with a password"):
        part("inputs").read_file(tmp_path / "a.pdf")


# --- what is shown


@pytest.mark.parametrize("keep", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("unit", ["word", "sentence", "auto"])
@pytest.mark.parametrize("inputs", [{"messages": MESSAGES}, {"context": ["  <i>\n\n", "", "the visa & order  "]}])
def test_kept_and_dropped_text_give_back_the_original(app, inputs, unit, keep):
    reply = replied(inputs, budget=keep, unit=unit)
    html = part("highlight").highlight(reply)
    assert displayed(html) == texts_of(inputs)
    shown = [piece for own in kept(html) for piece in own]
    assert shown == [reply.texts[s.message][s.start : s.end] for s in reply.kept if s.end > s.start]


def test_everything_is_escaped(app):
    for keep in (0.1, 1.0):
        html = part("highlight").highlight(replied([*MESSAGES, *TOOL_USE], "<img> {x}", budget=keep))
        assert not {"script", "b", "7", "img"} & set(re.findall(r"</?(\w+)", html))
        assert "&lt;script&gt;" in html and "Ana &lt;b&gt;" in html and "&lt;7&gt;" in html
        assert "{" not in html and "$" not in html  # gr.HTML would read them as a template


def test_levels_follow_the_importance_and_one_piece_is_a_stop_of_the_tab_key(app):
    reply = replied("one two six. When does the visa expire? The order. In June the order expires.", budget=0.8)
    pieces = sorted(reply.result["pieces"], key=lambda piece: piece["importance"])
    levels = [part("reasons").Reasons(reply).level(piece) for piece in pieces]
    assert levels == sorted(levels) and levels[-1] == 5 and set(levels) <= {1, 2, 3, 4, 5}
    html = part("highlight").highlight(reply)
    assert html.count('tabindex="0"') == 1


def test_reasons_say_what_the_result_says(app):
    reply = replied(MESSAGES, "When does the visa expire?", budget=0.8, unit="sentence", protect="B-77")
    reasons = part("reasons").Reasons(reply)
    told = {tuple(span): reasons.of_kept(p) for span, p in zip(reply.kept, reply.result["pieces"], strict=True)}
    for piece, lines in zip(reply.result["pieces"], told.values(), strict=True):
        assert part("markup").percent(piece["importance"]) in lines[0]
    visa = next(lines for (message, *_), lines in told.items() if message == 1)
    assert any(line.startswith("Words of the query in its sentence: visa, expires") for line in visa)
    assert visa[-1] == "Message 2 of 3, Ana <b>"
    order = next(lines for (message, start, _), lines in told.items() if message == 0 and not start)
    assert "You asked for it to stay: B-77" in order
    assert any("B-77" in line and "kept nowhere else" in line for line in order if line.startswith("Holds"))
    last = next(lines for (message, *_), lines in told.items() if message == 2)
    assert "The last turn stays where it leaves room" in last


def test_left_out_text_says_how_it_comes_back(app):
    reply = replied(MESSAGES, "When does the visa expire?", budget=0.4, unit="sentence")
    reasons = part("reasons").Reasons(reply)
    ids = {left["id"] for left in reply.result["omitted"]}
    left = reply.result["omitted"][0]["spans"][0]
    lines = reasons.of_dropped(left["message"], left["start"], left["end"])
    assert lines[0].startswith("Left out") and any(name in " ".join(lines) for name in ids)


def test_tool_calls_are_shown_as_kept_or_dropped(app):
    highlight = part("highlight").highlight
    assert re.search(r'<div class="call"><mark class="k3"[^>]*>find\(', highlight(replied(TOOL_USE, budget=1.0)))
    assert '<span class="dropped"' in part("highlight").call_html({"function": {"name": "find"}}, False)


FACTS = {
    "Chunk": [
        {"text": "4 MiB", "message": 0, "start": 0, "end": 5, "current": False},
        {"text": "1 MiB for the <phone>", "message": 1, "start": 0, "end": 5, "current": True},
    ],
    "the phone": [{"text": "sends a chunk", "message": 1, "start": 0, "end": 5, "current": True}],
}


def test_the_ledger_strikes_through_what_was_replaced(app):
    import dataclasses

    reply = replied(["4 MiB it was", "1 MiB it is"], budget=1.0)
    reply = dataclasses.replace(reply, result={**reply.result, "facts": FACTS})
    ledger = part("ledger_view")
    rows = ledger.ledger_table(reply)
    assert "4 MiB</span></s> <em>replaced later</em>" in rows and "&lt;phone&gt;" in rows
    graph = ledger.ledger_graph(reply)
    assert graph.count("<svg") == 2 and graph.count('class="fact replaced"') == 2
    assert "sends a chunk → Chunk" in graph and "http" not in graph
    nothing = dataclasses.replace(reply, result={**reply.result, "facts": {}})
    assert "No facts" in ledger.ledger_table(nothing) and "No facts" in ledger.ledger_graph(nothing)


def test_a_graph_stays_within_its_width(app):
    ledger = part("ledger_view")
    facts = {f"An entity with a long name {n}": [{**FACTS["Chunk"][1], "text": "word " * 60}] * 9 for n in range(30)}
    chosen = ledger.weightiest(facts)
    assert len(chosen) == ledger.MOST_ENTITIES and {len(said) for said in chosen.values()} == {ledger.MOST_FACTS}
    for width, entity in (ledger.WIDE, ledger.NARROW):
        for x, own in re.findall(r'<rect x="(\d+)" y="\d+" width="(\d+)"', ledger.graph(chosen, width, entity)):
            assert int(x) + int(own) <= width


def test_the_receipt_has_a_row_for_each_mention(app):
    reply = replied(MESSAGES, budget=0.5)
    rows = part("receipt_view").receipt_table(reply)
    assert rows.count("<tr>") - 1 == sum(map(len, reply.result["receipt"].values())) > 0


# --- the player, the rivals, the code


def test_the_player_asks_one_session_question_by_question(app, monkeypatch):
    player, appended = part("player"), []
    original = player.Session.append

    def append(session, messages):
        appended.append(len(messages))
        original(session, messages)

    monkeypatch.setattr(player.Session, "append", append)
    known = [
        {"after": 1, "question": "When does the visa expire?", "answer": "in June"},
        {"after": 3, "question": "Which order?", "answer": "B-77"},
    ]
    messages = [*MESSAGES, {"role": "assistant", "content": "In June, as I said. Nobody knows more of the order."}]
    steps = player.play(json.dumps(messages), "ignored", 0.6, "auto", "", known)
    assert appended == [2, 2] and [step.messages for step in steps] == [2, 4]
    assert all(step.sent <= 0.6 * step.original for step in steps)
    texts = [message["content"] for message in messages]
    for step in steps:
        words = " ".join(sent.text for sent in step.parts)
        assert step.found == (step.answer.split()[-1] in words)
        assert all(word in texts[sent.message] for sent in step.parts for word in sent.text.split())
    assert not any(sent.returned for sent in steps[0].parts)
    html = player.question_html(steps, 1) + player.curves_html(steps, 1) + player.sent_html(steps, 1)
    assert "Question 2 of 2" in html and html.count("<svg") == 2 and "survival" in html


def test_the_player_takes_the_turns_of_a_user_where_no_questions_are_known(app):
    player = part("player")
    steps = player.play(json.dumps(MESSAGES), "And the order?", 0.6, "auto", "")
    assert [step.question for step in steps] == ["When does the visa expire?", "And the order?"]
    assert {step.found for step in steps} == {None} and "answers are known" in player.curves_html(steps, 1)
    with pytest.raises(ReetError, match="turns of a user, or a query"):
        player.play("Just one text.", "", 0.6, "auto", "")


def test_shares_run_over_what_is_known(app):
    assert part("player").running_share([None, True, False, None]) == [None, 1.0, 0.5, 0.5]


def test_the_rivals_get_the_same_budget(app):
    rivals = part("rivals")
    reply = replied(MESSAGES, "When does the visa expire?", budget=0.5)
    columns = rivals.compare(reply)
    assert [column.name for column in columns] == ["REET", "Truncation", "BM25", "LLMLingua-2 recipe"]
    assert not any(column.failed for column in columns), columns
    assert all(column.tokens <= reply.result["tokens"]["budget"] for column in columns)
    assert "trained by us on the same files" in rivals.columns_html(columns, reply)


def test_a_rival_that_cannot_be_run_says_why(app, monkeypatch):
    rivals = part("rivals")
    monkeypatch.setattr(rivals, "encoder", lambda: "nobody/nothing")
    rivals.llmlingua2_recipe.cache_clear()
    columns = rivals.compare(replied(MESSAGES, "", budget=0.5))
    assert columns[2].failed and "type one" in columns[2].text
    assert columns[3].failed and columns[3].text.startswith("Cannot be run here: ")
    assert "Traceback" not in rivals.columns_html(columns, replied(MESSAGES))
    rivals.llmlingua2_recipe.cache_clear()


@pytest.mark.parametrize("inputs", ["The visa expires in June. The order of Ana was B-77.", json.dumps(MESSAGES * 9)])
def test_the_code_gives_the_same_result(app, inputs, tmp_path, monkeypatch, capsys):
    snippet, query = part("snippet"), "When does 'the' visa expire?"
    result = replied(inputs, query, budget=0.5, unit="word", protect="June").result
    code = snippet.snippet(inputs, query, 0.5, "word", "June", result["tokens"])
    (tmp_path / "conversation.json").write_text(snippet.conversation_file(inputs, query), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "snippet", "exec"), names)
    assert names["out"]["text"] == result["text"] and names["out"]["pieces"] == result["pieces"]
    assert f"# {result['tokens']}" in code and str(result["tokens"]) in capsys.readouterr().out


# --- the running app


@pytest.mark.parametrize("unit", ["auto", "word", "clause", "sentence", "message"])
def test_the_api_compresses(client, unit):
    result = client.predict(json.dumps(MESSAGES), "", 0.6, unit, api_name="/compress")
    tokens = result["tokens"]
    assert tokens["compressed"] <= tokens["budget"] <= 0.6 * tokens["original"]
    for piece in result["pieces"]:
        assert MESSAGES[piece["message"]]["content"][piece["start"] : piece["end"]] in result["text"]


def test_the_api_takes_a_number_of_tokens_and_what_must_stay(client):
    result = client.predict(json.dumps(MESSAGES), "", 60, "auto", "B-77", api_name="/compress")
    assert result["tokens"]["budget"] == 60 and "B-77" in result["text"]


def test_the_api_gives_examples(app, client):
    for item in part("answers").EXAMPLES:
        given = client.predict(item["title"], api_name="/example")
        assert given["query"] == item["query"] and item["answer"].split()[0] in given["text"]
    assert sorted(client.view_api(return_format="dict")["named_endpoints"]) == ["/compress", "/example"]


@pytest.mark.parametrize(
    ("text", "keep", "protect", "words"),
    [
        ("", 0.3, "", "nothing to compress"),
        ('[{"role": "user",', 0.3, "", "looks like JSON"),
        ('[{"role": "<img>", "content": "hi"}]', 0.3, "", "must be one of system.*&lt;img&gt;"),
        ('{"messages": [], "model": "x"}', 0.3, "", "exactly one of"),
        ('{"messages": 7}', 0.3, "", "must be a list"),
        ("A visa.", 0.0, "", "share of the tokens up to 1"),
        ("A visa.", 0.5, "(", "valid regex"),
        (json.dumps(MESSAGES), 0.1, "user", r"at least \d+|smallest budget"),
    ],
)
def test_bad_input_gives_a_readable_error(client, text, keep, protect, words):
    with pytest.raises(Exception, match=words) as caught:
        client.predict(text, "", keep, "auto", protect, api_name="/compress")
    assert "Traceback" not in str(caught.value)


def test_agents_can_call_it(app):
    mcp = pytest.importorskip("mcp")
    if not hasattr(mcp, "ClientSession") or version("mcp").split(".")[0] != "1":
        pytest.skip(f"Gradio's MCP server needs mcp<2, as a Space installs it; here is {version('mcp')}")
    import anyio
    from mcp.client.streamable_http import streamablehttp_client

    async def talk(address: str) -> tuple[list, dict]:
        async with (
            streamablehttp_client(f"{address}gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            said = await session.call_tool(
                "compress_text", {"text": json.dumps(MESSAGES), "query": "When?", "budget": 0.5}
            )
            return tools, ast.literal_eval(said.content[0].text)  # Gradio writes it as Python does

    _, url, _ = app.build().launch(
        prevent_thread_lock=True, server_name="127.0.0.1", quiet=True, ssr_mode=False, **app.LOOK
    )
    tools, result = anyio.run(talk, url)
    assert sorted(tool.name for tool in tools) == ["compress_text", "example"]
    assert all(tool.description and tool.inputSchema["properties"] for tool in tools)
    assert result["tokens"]["compressed"] <= result["tokens"]["budget"]


def test_tokens_go_before_the_share(app):
    chosen = part("endpoints").chosen
    assert chosen(0.3, 0) == chosen(0.3, None) == 0.3 and chosen(0.3, 40) == 40
    for wrong in (1, -3, 2.5):
        with pytest.raises(ReetError, match="whole number from 2 on"):
            chosen(0.3, wrong)


# --- what travels with it


def test_the_examples_of_the_project_are_among_those_of_the_page(app):
    examples = part("answers").EXAMPLES
    assert len(examples) == 5
    assert {item["source"] for item in examples if "source" in item} == {
        path.name for path in (ROOT / "examples").glob("*.json")
    }
    for item in examples:
        if "source" in item:
            original = json.loads((ROOT / "examples" / item["source"]).read_text(encoding="utf-8"))
            assert {name: item[name] for name in original} == original


def test_every_answer_stands_before_its_question(app):
    answers = part("answers")
    for item in answers.EXAMPLES:
        read = parse_request(part("inputs").parse_input(answers.content_of(item)))
        texts = [message.text for message in read.conversation.messages]
        assert answers.places(item["answer"], texts) and len(item["questions"]) >= 6
        afters = [asked["after"] for asked in item["questions"]]
        assert afters == sorted(afters) and afters[-1] < len(texts)
        for asked in item["questions"]:
            assert answers.places(asked["answer"], texts[: asked["after"] + 1]), asked
        assert 1500 <= len(answers.content_of(item)) / 5 <= 4500  # tokens, about


def test_the_page_loads_nothing_from_elsewhere(app):
    assert not app.demo.analytics_enabled
    assert "http" not in (SPACE / "page.css").read_text(encoding="utf-8") + app.LOOK["js"]
    assert not app.LOOK["theme"]._stylesheets


def test_the_front_matter_names_the_app_and_the_model():
    import yaml

    front = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert (front["sdk"], front["license"], front["models"]) == (
        "gradio",
        "apache-2.0",
        ["reet/reet-base", "sentence-transformers/all-MiniLM-L6-v2"],
    )
    assert (SPACE / front["app_file"]).exists()
    assert len(front["short_description"]) <= 60
    assert "reet-hf" in (SPACE / "requirements.txt").read_text(encoding="utf-8").split()


def test_the_extra_brings_what_the_space_requires():
    import tomllib

    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    required = (SPACE / "requirements.txt").read_text(encoding="utf-8").split()
    # gradio's own extra for MCP needs mcp<2, that of reet-hf needs mcp>=2: a Space has the one, a checkout the other
    assert [line.replace("[mcp]", "") for line in required if line != "reet-hf"] == extra["demo"]
