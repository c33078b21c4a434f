"""Readers that generate, and answers kept on disk: tiny models and a local server."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from string import ascii_letters

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

pytest.importorskip("diskcache", reason="answers are kept by diskcache")
pytest.importorskip("openai", reason="the client of served models")

from eval.readers import causal_lm, openai_compatible
from eval.readers.base import Answer, Reader
from eval.readers.cache import CachedReader
from eval.readers.prompt import heard, prompt
from reet_hf.errors import ReetError

WORDS = ["the", "visa", "expires", "in", "june", "order", "ship", "red", "seven", "hotel", "late", *ascii_letters]
TEMPLATE = "{% for m in messages %}<user> {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
POSITIONS = 256
ASKED = [
    ("when does the visa expire ?", "the visa expires in june"),
    ("order ?", "seven red ship order " * 8),
    ("the hotel ?", "late"),
    ("which tower ?", "blue tower red hotel seven visa in the late order"),
    ("when ?", "june " * 20),
]
KEY = "sk-very-secret-0123456789-tail"  # it ends in letters: a port of the local server may hold any digits


# Causal language models


def make_lm(family: str):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(WORDS) + 5, "bos_token_id": 1, "eos_token_id": 1, "tie_word_embeddings": True}
    sizes["initializer_range"] = 0.4  # far from zero, so that answers differ
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=POSITIONS, **sizes))
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=POSITIONS,
            **sizes,
        )
    )


def make_lm_folder(folder, family: str, template: str | None = None) -> str:
    tokens = ["<unk>", "<end>", "<user>", "<bot>", "\n", *WORDS]
    inner = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<end>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    make_lm(family).save_pretrained(folder)
    return str(folder)


def by_hand(reader: causal_lm.CausalLm, text: str) -> str:
    """Greedy tokens, one call of the model each, without any padding."""
    ids = reader.tokenizer(text, return_tensors="pt")["input_ids"]
    made: list[int] = []
    while len(made) < reader.max_new_tokens:
        best = int(reader.model(torch.cat([ids, torch.tensor([made], dtype=torch.long)], dim=1)).logits[0, -1].argmax())
        if best == reader.tokenizer.eos_token_id:
            break
        made.append(best)
    return reader.tokenizer.decode(made, skip_special_tokens=True)


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_batch_gives_what_greedy_decoding_by_hand_gives(tmp_path, family, template):
    reader = causal_lm.build(make_lm_folder(tmp_path, family, template), max_new_tokens=6, batch_size=3, device="cpu")
    answers = [answer.text for answer in reader.answers(ASKED)]
    wraps = "<user> {} <bot>" if template else "{}\nAnswer:"
    said = [by_hand(reader, wraps.format(prompt(question, text))) for question, text in ASKED]
    if template is None:
        said = [text.strip().partition("\n")[0] for text in said]
    assert answers == [heard(text).text for text in said]
    assert len(set(answers)) > 2, "answers that are all alike prove nothing about padding"


def test_a_batch_size_changes_no_answer(tmp_path):
    folder = make_lm_folder(tmp_path, "gpt2")
    alone = causal_lm.build(folder, max_new_tokens=6, batch_size=1, device="cpu").answers(ASKED)
    assert causal_lm.build(folder, max_new_tokens=6, batch_size=5, device="cpu").answers(ASKED) == alone


def test_a_prompt_beyond_the_positions_fails_and_its_neighbours_do_not(tmp_path):
    reader = causal_lm.build(make_lm_folder(tmp_path, "gpt2"), max_new_tokens=6, device="cpu")
    empty = len(reader.tokenizer(prompt("when ?", "") + causal_lm.PLAIN_END)["input_ids"])
    fits = POSITIONS - 6 - empty
    longest, longer = ("when ?", "june " * fits), ("when ?", "june " * (fits + 1))
    answers = reader.answers([ASKED[0], longer, longest])
    assert answers[0] == reader.answers(ASKED[:1])[0] and answers[0].error is None
    assert answers[1].text == "" and str(POSITIONS) in answers[1].error
    assert answers[2].error is None


def test_a_lower_limit_can_be_set_and_must_leave_room_for_an_answer(tmp_path):
    folder = make_lm_folder(tmp_path, "llama")
    reader = causal_lm.build(folder, max_new_tokens=6, max_tokens=40, device="cpu")
    assert "takes 40 tokens" in reader.answers(ASKED[:1])[0].error
    with pytest.raises(ReetError, match="`max_new_tokens`.*6 tokens, got 6"):
        causal_lm.build(folder, max_new_tokens=6, max_tokens=6, device="cpu")


def test_settings_of_the_checkpoint_do_not_make_it_sample(tmp_path):
    folder = make_lm_folder(tmp_path, "gpt2")
    plain = causal_lm.build(folder, max_new_tokens=6, device="cpu").answers(ASKED)
    settings = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 5.0, "eos_token_id": 1, "max_length": 20}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    assert causal_lm.build(folder, max_new_tokens=6, device="cpu").answers(ASKED) == plain


def test_the_revision_of_a_folder_changes_with_its_weights(tmp_path):
    folder = make_lm_folder(tmp_path, "gpt2")
    first, again = (causal_lm.build(folder, device="cpu").revision for _ in range(2))
    model = make_lm("gpt2")
    torch.nn.init.zeros_(model.transformer.wte.weight)
    model.save_pretrained(folder)
    assert first == again != causal_lm.build(folder, device="cpu").revision


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (" June \n", "June"),
        ("Answer: June", "June"),
        ("\nanswer :June 5", "June 5"),
        ("The answer: June", "The answer: June"),
        ("Unanswerable.", ""),
        ("<think>May? No.</think>\n\nAnswer: June", "June"),
        ("", ""),
    ],
)
def test_answers_are_freed_of_what_is_around_them(said, answer):
    assert heard(said) == Answer(answer)


def test_a_thought_without_an_end_is_a_failure():
    assert heard("<think>The visa").error


# Served models


@pytest.fixture
def serve(monkeypatch):
    """A function that starts a server which answers call after call by `plan(number, request)`."""
    monkeypatch.setenv("READER_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    started = []

    def start(plan):
        calls = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                seen = {"path": self.path, "key": self.headers["authorization"], "at": time.monotonic()}
                calls.append(seen | request)
                status, body, headers = plan(len(calls), request)
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": len(body), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1", calls

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def says(text: str | None, reason: str = "stop", **headers):
    message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return 200, json.dumps({"id": "1", "object": "chat.completion", "choices": [message]}), headers


def fails(status: int, body: str = '{"error": {"message": "out of order"}}', **headers):
    return status, body, {"retry-after-ms": 1, **headers}


def client(url: str, **options) -> openai_compatible.OpenAiCompatible:
    return openai_compatible.build(url, "tiny", api_key_env="READER_KEY", **options)


def test_a_served_model_answers_in_order_with_calls_side_by_side(serve):
    together = threading.Barrier(2, timeout=5)

    def plan(number, request):
        together.wait()  # only two calls at the same time get through
        first = "first" in request["messages"][0]["content"]
        time.sleep(0.2 if first else 0)
        return says(" Answer: June" if first else "May")

    url, calls = serve(plan)
    reader = client(url, concurrency=2, max_new_tokens=7)
    assert reader.answers([("first ?", "June."), ("second ?", "May.")]) == [Answer("June"), Answer("May")]
    assert {call["path"] for call in calls} == {"/v1/chat/completions"}
    assert {call["key"] for call in calls} == {f"Bearer {KEY}"}
    assert {(call["model"], call["max_tokens"], call["temperature"]) for call in calls} == {("tiny", 7, 0)}
    assert sorted(call["messages"][0]["content"] for call in calls) == sorted(
        [prompt("first ?", "June."), prompt("second ?", "May.")]
    )


def test_a_busy_server_is_asked_again_after_longer_and_longer_pauses(serve):
    url, calls = serve(lambda number, _: (429, "{}", {}) if number <= 2 else says("June"))
    assert client(url).answers([("when ?", "June.")]) == [Answer("June")]
    first, second, third = (call["at"] for call in calls)
    assert second - first >= 0.37 and third - second >= 0.74  # half a second, then a whole one, up to a quarter less


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_a_call_that_fails_again_and_again_ends_in_a_failure(serve, status):
    url, calls = serve(lambda *_: fails(status))
    (answer,) = client(url, retries=2).answers([("when ?", "June.")])
    assert answer.text == "" and str(status) in answer.error and "out of order" in answer.error
    assert len(calls) == 3


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_request_that_is_wrong_is_not_sent_again(serve, status):
    url, calls = serve(lambda *_: fails(status))
    (answer,) = client(url).answers([("when ?", "June.")])
    assert str(status) in answer.error and len(calls) == 1


@pytest.mark.parametrize(
    "reply",
    [
        (200, '{"choices": [{"message"', {}),
        (200, "<html>June</html>", {"content-type": "text/html"}),
        (200, "{}", {}),
        (200, '{"choices": []}', {}),
        (200, '{"choices": "June"}', {}),
        (200, '{"choices": [{}]}', {}),
        (200, '{"choices": [{"message": {"content": ["June"]}}]}', {}),
        (200, '"June"', {}),
        says(None, "length"),
        says("", "tool_calls"),
        says("I am not", "content_filter"),
    ],
)
def test_a_reply_without_an_answer_is_a_failure(serve, reply):
    url, calls = serve(lambda *_: reply)
    (answer,) = client(url).answers([("when ?", "June.")])
    assert answer.text == "" and answer.error
    assert len(calls) == 1


def test_a_server_that_is_silent_for_too_long_is_a_failure(serve):
    url, _ = serve(lambda *_: time.sleep(1) or says("June"))
    (answer,) = client(url, timeout=0.2, retries=0).answers([("when ?", "June.")])
    assert answer.text == "" and "Timeout" in answer.error


@pytest.mark.parametrize("status", [401, 403, 400, 500])
def test_no_error_repeats_the_key(serve, status):
    url, _ = serve(lambda *_: fails(status, json.dumps({"error": {"message": f"wrong key {KEY} (sk-very...tail)"}})))
    reader = client(url, retries=0)
    (answer,) = reader.answers([("when ?", "June.")])
    kept = json.dumps([answer.error, reader.name, reader.revision, dict(reader.options)])
    assert str(status) in answer.error and KEY not in kept
    assert status in (400, 500) or "tail" not in kept


def test_a_long_error_is_shown_cut(serve):
    url, _ = serve(lambda *_: fails(400, json.dumps({"error": {"message": "no " * 5000}})))
    error = client(url).answers([("when ?", "June.")])[0].error
    assert len(error) < 400 and error.endswith("[...]")


def test_fields_of_the_request_can_be_added_and_taken_away(serve):
    url, calls = serve(lambda *_: says("June"))
    client(url, body={"max_tokens": None, "max_completion_tokens": 99}).answers([("when ?", "June.")])
    assert calls[0]["max_completion_tokens"] == 99 and "max_tokens" not in calls[0]


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host/v1", "https://", "https://me:pass@host/v1", "https://host/v1?k=1"]
)
def test_an_address_that_must_not_be_written_down_is_refused(monkeypatch, url):
    monkeypatch.setenv("READER_KEY", KEY)
    with pytest.raises(ReetError, match="`url`") as caught:
        client(url)
    assert "pass" not in str(caught.value).replace("password", "")


def test_a_key_is_needed_unless_the_server_needs_none(serve, monkeypatch):
    monkeypatch.delenv("READER_KEY")
    url, calls = serve(lambda *_: says("June"))
    with pytest.raises(ReetError, match="`api_key_env`.*'READER_KEY'"):
        client(url)
    reader = openai_compatible.build(url, "tiny", api_key_env=None)
    assert reader.answers([("when ?", "June.")]) == [Answer("June")] and len(calls) == 1


# Answers on disk


class Recorder(Reader):
    """Answers with the first word of the text, notes what it was asked, and can fail or crash."""

    def __init__(self, name="recorder", revision="1", options=None, failing=(), crash_at=None):
        self.name, self.revision, self.options, self.batch_size = name, revision, options or {}, 2
        self.failing, self.crash_at, self.asked = failing, crash_at, []

    def answers(self, asked):
        if self.crash_at is not None and len(self.asked) >= self.crash_at:
            raise RuntimeError("out of memory")
        self.asked.extend(asked)
        return [Answer(error="busy") if q in self.failing else Answer(text.split()[0]) for q, text in asked]

    def suits(self, question):
        return question["kind"] == "extractive"


PAIRS = [(f"q{number}", f"t{number} and more") for number in range(6)]
WANTED = [Answer(f"t{number}") for number in range(6)]


def test_a_second_run_asks_nothing(tmp_path):
    assert CachedReader(Recorder(), tmp_path).answers(PAIRS) == WANTED
    reader = Recorder()
    assert CachedReader(reader, tmp_path).answers([*PAIRS[3:], *PAIRS[:3]]) == [*WANTED[3:], *WANTED[:3]]
    assert reader.asked == []


def test_a_second_run_makes_no_call_to_a_server(serve, tmp_path):
    url, calls = serve(lambda number, _: fails(400) if number == 1 else says("" if number == 2 else "June"))
    runs = [CachedReader(client(url, concurrency=1), tmp_path).answers(PAIRS[:3]) for _ in range(3)]
    assert runs[0][0].error and runs[0][1:] == [Answer(""), Answer("June")]
    assert runs[1] == runs[2] == [Answer("June"), Answer(""), Answer("June")]
    assert len(calls) == 4, "the failed call again, and an empty answer is an answer"


def test_a_run_that_broke_off_goes_on_behind_its_last_batch(tmp_path):
    with pytest.raises(RuntimeError):
        CachedReader(Recorder(crash_at=4), tmp_path).answers(PAIRS)
    reader = Recorder()
    assert CachedReader(reader, tmp_path).answers(PAIRS) == WANTED
    assert reader.asked == PAIRS[4:]


def test_failures_are_asked_again(tmp_path):
    first = CachedReader(Recorder(failing=("q1", "q4")), tmp_path).answers(PAIRS)
    assert [number for number, answer in enumerate(first) if answer.error == "busy"] == [1, 4]
    reader = Recorder()
    assert CachedReader(reader, tmp_path).answers(PAIRS) == WANTED
    assert reader.asked == [PAIRS[1], PAIRS[4]]


def test_the_same_pair_is_asked_once(tmp_path):
    reader = Recorder()
    assert CachedReader(reader, tmp_path).answers([PAIRS[0]] * 3) == [WANTED[0]] * 3
    assert reader.asked == PAIRS[:1]


@pytest.mark.parametrize("other", [{"name": "b"}, {"revision": "2"}, {"options": {"max_new_tokens": 9}}])
def test_another_reader_is_asked_itself(tmp_path, other):
    CachedReader(Recorder(), tmp_path).answers(PAIRS)
    reader = Recorder(**other)
    CachedReader(reader, tmp_path).answers(PAIRS)
    assert reader.asked == PAIRS


def test_question_and_text_are_told_apart(tmp_path):
    assert CachedReader(Recorder(), tmp_path).answers([("a", "b c"), ("a b", "c")]) == [Answer("b"), Answer("c")]


def test_what_a_reader_is_stays_visible(tmp_path):
    reader = CachedReader(Recorder(options={"a": 1}), tmp_path)
    assert (reader.name, reader.revision, reader.options) == ("recorder", "1", {"a": 1})
    assert reader.suits({"kind": "extractive"}) and not reader.suits({"kind": "state"})


@pytest.mark.parametrize(("module", "package"), [("cache", "diskcache"), ("openai_compatible", "openai")])
def test_a_missing_package_is_named_with_its_install_line(monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"eval.readers.{module}")
    with pytest.raises(ImportError, match=f"pip install {package}"):
        importlib.import_module(f"eval.readers.{module}")
