"""lm-evaluation-harness behind a compressor: what is replaced in its prompts, and its scores beside our own."""

from __future__ import annotations

import json
import logging
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("lm_eval", reason="the harness is an optional package: pip install lm-eval")
pytest.importorskip("diskcache", reason="answers are kept by diskcache")
pytest.importorskip("rank_bm25", reason="a system that needs a query")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model, register_model
from lm_eval.tasks import TaskManager
from test_eval_readers import make_lm_folder

from eval import records, run
from eval.harness import __main__ as command
from eval.harness.contexts import Fields
from eval.harness.model import CompressingLm
from eval.readers import causal_lm
from eval.tasks import longbench, ruler
from reet_hf.errors import ReetError

TASKS = Path(lm_eval.__file__).parent / "tasks"
VISA = "the visa expires in june. the order ships in seven days."
SPARE = {"_id": "0", "length": 9, "language": "en", "all_classes": None}
TEXT = (
    "Passage 1:\nthe visa expires in june .\nPassage 2:\nthe order is red . the hotel is late .\nPassage 3:\nseven red"
)
ASKED = {  # of each set one record, its context and question
    "hotpotqa": (TEXT, "when does the visa expire ?"),
    "passage_count": (
        "Paragraph 1: the red hotel .\n\nParagraph 2: the late order .\n\nParagraph 3: the red hotel .",
        "",
    ),
    "lcc": ("def ship(order):\n    hotel = late(order)\n    visa = red(hotel)\n", ""),
    "trec": ("Question: when is june ?\nType: h\nQuestion: the visa ?\nType: v\n", "Question: the order ?\nType:"),
}


class Recorder(LM):
    """Remembers the requests that reach it; every continuation is as likely as it is long."""

    def __init__(self, **options):
        super().__init__()
        self.options, self.seen = options, []

    def _see(self, requests):
        self.seen += [request.args[0] for request in requests]

    def generate_until(self, requests):
        self._see(requests)
        return ["june"] * len(requests)

    def loglikelihood(self, requests):
        self._see(requests)
        return [(float(len(request.args[1])), True) for request in requests]

    def loglikelihood_rolling(self, requests):
        self._see(requests)
        return [-1.0] * len(requests)


@pytest.fixture(scope="module", autouse=True)
def recorder():
    if "reet-recorder" not in lm_eval.api.registry.model_registry:
        register_model("reet-recorder")(Recorder)


def model(tiny_folder=None, **options) -> CompressingLm:
    chosen = {"inner": "reet-recorder", "budget": 0.5, **options}
    return CompressingLm(
        **({**chosen, "compressor": str(tiny_folder)} if tiny_folder else {"system": "full", **chosen})
    )


def request(prompt: str, document: dict, kind: str = "generate_until", number: int = 0, more=None) -> Instance:
    return Instance(kind, document, (prompt, {"until": []} if more is None else more), 0, ("toy", number, 1))


def own_task(folder: Path, name: str, documents: list[dict], base: str) -> str:
    """A task of the harness over documents of our own; prompts and scores stay as they are."""
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, documents)))
    place = "dataset_path: json\ndataset_name: null\ndataset_kwargs:\n"
    place += f"  cache_dir: {folder}/cache\n  data_files:\n    test: {folder}/{name}.jsonl\n"
    (folder / f"{name}.yaml").write_text(f"include: {TASKS}/{base}.yaml\ntask: own_{name}\ntag: []\n{place}")
    return f"own_{name}"


def manager(folder: Path) -> TaskManager:
    return TaskManager(include_path=str(folder), include_defaults=False)


def evaluated(wrapped, tasks: list[str], folder: Path, **settings) -> dict:
    given = {"task_manager": manager(folder), "bootstrap_iters": 0, "gen_kwargs": settings}
    return lm_eval.simple_evaluate(model=wrapped, tasks=tasks, **given)


# Where the context stands


@pytest.mark.parametrize(
    ("document", "prompt", "context", "question"),
    [
        ({"context": VISA, "question": " when ? "}, f"Read:\n{VISA}\nwhen ?", VISA, "when ?"),
        ({"context": VISA, "input": "when ?"}, f"{VISA}\n\nwhen ?", VISA, "when ?"),
        ({"context": f"\n{VISA} \n", "question": "when ?"}, f"<user>{VISA}</user>", VISA, "when ?"),
        ({"input": VISA, "question": "when ?", "target": "june"}, f"few\n\n{VISA}\nwhen ?", VISA, "when ?"),
        ({"passage": VISA, "question": "is it red?"}, f"{VISA}\nis it red?", VISA, "is it red?"),
        ({"context": VISA}, f"{VISA} and then", VISA, None),
        (
            {"context": VISA, "question": "", "dataset": "passage_count_e"},
            VISA,
            VISA,
            longbench.QUERIES["passage_count"],
        ),
    ],
)
def test_usual_fields_are_found_where_they_stand(document, prompt, context, question):
    place = Fields().find(document, prompt)
    assert (prompt[place.start : place.end], place.question) == (context, question)


def test_other_fields_can_be_named():
    document = {"story": VISA, "asked": "when ?", "context": "late"}
    place = Fields("story", "asked").find(document, f"{VISA} when ?")
    assert (place.start, place.end, place.question) == (0, len(VISA), "when ?")
    assert Fields("story").find(document, VISA).question is None


@pytest.mark.parametrize(
    ("fields", "document", "prompt", "message"),
    [
        (Fields(), {"query": "when ?", "choices": ["a"]}, "when ?", "has none in context, passage.*name one of query"),
        (Fields(), {"input": VISA}, VISA, "without_context=pass"),  # a whole prompt, of which nothing may be lost
        (Fields("story"), {"context": VISA}, VISA, "has none in story"),
        (Fields(), {"context": VISA}, "nothing of it", r"\(56 characters\) stands in it 0 times"),
        (Fields(), {"context": VISA}, f"{VISA} {VISA}", "stands in it 2 times"),
    ],
)
def test_no_context_or_an_unclear_one_is_an_error(fields, document, prompt, message):
    with pytest.raises(ReetError, match=message):
        fields.find(document, prompt)


RULER = [
    (
        "niah",
        "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about "
        "the number afterwards.\n{}\nWhat is the special magic number for red-hotel mentioned in the provided text?",
        "What is the special magic number for red-hotel mentioned in the provided text?",
    ),
    (
        "niah of several",
        "Some special magic uuids are hidden within the following text. Make sure to memorize it. I will quiz you "
        "about the uuids afterwards.\n{}\nWhat are all the special magic uuids for a, and b mentioned in the provided "
        "text?",
        "What are all the special magic uuids for a, and b mentioned in the provided text?",
    ),
    (
        "vt after an example",
        "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\nVAR X = 1\nQuestion: "
        "Find all variables that are assigned the value 1 in the text above. Answer: they are: X\n\nMemorize and track "
        "the chain(s) of variable assignment hidden in the following text.\n\n{}\nQuestion: Find all variables that "
        "are assigned the value 5 in the text above.",
        "Find all variables that are assigned the value 5 in the text above.",
    ),
    (
        "cwe",
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
        "appear most often.\n{}\nQuestion: What are the 10 most common words in the above list?",
        "What are the 10 most common words in the above list?",
    ),
    (
        "fwe",
        "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
        "appeared coded words. {}\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are "
        "the three most frequently appeared words in the above coded text?",
        "Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently appeared "
        "words in the above coded text?",
    ),
    (
        "qa",
        "Answer the question based on the given documents. Only give me the answer and do not output any other words."
        "\n\nThe following are given documents.\n\n{}\n\nAnswer the question based on the given documents. Only give "
        "me the answer and do not output any other words.\n\nQuestion: when ?",
        "when ?",
    ),
]


@pytest.mark.parametrize(("whole", "question"), [row[1:] for row in RULER], ids=[row[0] for row in RULER])
def test_prompts_of_ruler_are_taken_apart(whole, question):
    prompt = whole.replace("{}", f"{VISA}\n{VISA} end")
    place = Fields().find({"input": prompt, "outputs": ["june"]}, f"{prompt} The answer is")
    assert (prompt[place.start : place.end], place.question) == (f"{VISA}\n{VISA} end", question)


# What reaches the inner model


def test_only_the_context_of_a_prompt_changes_and_the_request_stays(tiny_folder):
    asked = request(f"Read.\n{VISA}\nwhen ? Answer:", {"context": VISA, "question": "when ?"})
    wrapped = model(tiny_folder)
    assert wrapped.generate_until([asked]) == ["june"]
    (seen,) = wrapped.inner.seen
    kept = wrapped.requests._kept["when ?"]
    assert seen == f"Read.\n{kept.text}\nwhen ? Answer:" and kept.text != VISA and kept.tokens <= kept.budget
    assert asked.args[0] == f"Read.\n{VISA}\nwhen ? Answer:"  # the harness stores and scores its own
    report = wrapped.get_model_info()["reet"]
    counter = wrapped.requests.counter
    assert report["tasks"]["toy"]["mean_rate"] == counter.count(kept.text) / counter.count(VISA) == report["mean_rate"]
    assert report["requests"] == report["compressed"] == 1 and report["unchanged"] == 0 and report["budget"] == 0.5
    assert report["revision"] and report["options"] == {"model": Path(tiny_folder).name}  # no folder of this machine


def test_choices_of_one_document_read_its_context_once(tiny_folder, monkeypatch):
    wrapped = model(tiny_folder)
    opened, compressed = [], []
    system = wrapped.requests.system
    read, keep = system.open, system.compress
    monkeypatch.setattr(system, "open", lambda messages: opened.append(messages) or read(messages))
    monkeypatch.setattr(system, "compress", lambda *given: compressed.append(given[1]) or keep(*given))
    asked = [
        request(f"{VISA} {question}", {"context": VISA, "question": question}, "loglikelihood", n, f" {choice}")
        for n, question in enumerate(("when ?", "what ships ?"))
        for choice in ("june", "the order")
    ]
    assert [score for score, _ in wrapped.loglikelihood(asked)] == [5.0, 10.0, 5.0, 10.0]
    assert len(opened) == 1 and compressed == ["when ?", "what ships ?"]
    assert wrapped.inner.seen[0] == wrapped.inner.seen[1] and wrapped.requests.counts["toy"].compressed == 4


def test_with_everything_kept_the_prompt_is_the_original(caplog):
    wrapped = model(system="full", budget=1.0)
    prompt = f"{TEXT}\nwhen ?"
    with caplog.at_level(logging.INFO, "lm_eval.reet"):
        wrapped.generate_until([request(prompt, {"context": TEXT, "question": "when ?"})])
    assert wrapped.inner.seen == [prompt]
    assert "toy: 1 of 1 requests compressed, 1 of them left as they were, mean rate 1.000" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING  # nothing was compressed, and that is said


def test_requests_without_a_context_are_refused_or_counted(tiny_folder, caplog):
    without, with_one = request("1 + 1 =", {"sum": "1 + 1 ="}), request(VISA, {"context": VISA, "question": "when ?"})
    with pytest.raises(ReetError, match="toy, document 0: `context_field`.*name one of sum"):
        model(tiny_folder).generate_until([without])
    wrapped = model(tiny_folder, without_context="pass")
    with caplog.at_level(logging.WARNING, "lm_eval.reet"):
        wrapped.generate_until([without, with_one, without])
    assert wrapped.inner.seen[0] == wrapped.inner.seen[2] == "1 + 1 =" and wrapped.inner.seen[1] != VISA
    assert "toy: 1 of 3 requests compressed" in caplog.text and caplog.text.count("is not compressed") == 1
    report = wrapped.get_model_info()["reet"]
    assert (report["requests"], report["compressed"]) == (3, 1) and 0 < report["mean_rate"] < 1


def test_the_likelihood_of_a_text_itself_is_not_measured_on_another_text(tiny_folder):
    asked = Instance("loglikelihood_rolling", {"context": VISA}, (VISA,), 0, ("toy", 0, 1))
    with pytest.raises(ReetError, match="`tasks` must ask about a context"):
        model(tiny_folder).loglikelihood_rolling([asked])
    wrapped = model(tiny_folder, without_context="pass")
    assert wrapped.loglikelihood_rolling([asked]) == [-1.0] and wrapped.inner.seen == [VISA]
    assert wrapped.get_model_info()["reet"]["compressed"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system": "nobody"}, "must be one of"),
        ({"system": "bm25", "compressor": "x"}, "`option` 'model' is not known to eval.systems.bm25"),
        ({"system": "reet", "system_colour": "red"}, "`option` 'colour' is not known"),
        ({"inner": "reet"}, "`inner` must be another model"),
        ({"without_context": "drop"}, "`without_context` must be one of error, pass, got 'drop'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ReetError, match=message):
        CompressingLm(**{"inner": "reet-recorder", "system": "full", **options})


def test_a_system_that_needs_a_query_says_which_field_to_name():
    with pytest.raises(ReetError, match="`system`.*`question_field`"):
        model(system="bm25").generate_until([request(VISA, {"context": VISA})])


def test_options_reach_the_system_and_the_inner_model(tiny_folder):
    wrapped = model(tiny_folder, system_unit="word", pretrained="x", batch_size=3)
    assert wrapped.inner.options == {"pretrained": "x", "batch_size": 3}
    assert wrapped.requests.system.unit == "word" and wrapped.settings["options"]["unit"] == "word"
    assert (wrapped.rank, wrapped.world_size, wrapped.options) == (0, 1, wrapped.inner.options)


def test_a_cache_of_answers_is_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "lm_eval.reet"):
        lm_eval.api.model.CachingLM(model(), str(tmp_path / "answers.db"))
    assert "take another file for each system, budget and model" in caplog.text


def test_the_command_registers_the_model_and_hands_over(monkeypatch):
    called = []
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: called.append(get_model("reet")))
    command.main()
    assert called == [CompressingLm]


def test_without_the_package_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    monkeypatch.delitem(sys.modules, "eval.harness.model")
    with pytest.raises(ImportError, match="pip install lm-eval"):
        command.main()


# The harness's LongBench beside our own

# what the original's prompts end with and the harness's lack
ENDS = {"passage_count": " ", "passage_retrieval_en": " ", "lcc": "\n", "repobench-p": "\n"}


def longbench_document(name: str, **fields) -> dict:
    """A record with the fields of the benchmark, and `question`, as the harness's copy calls `input`."""
    context, asked = ASKED.get(name, (TEXT, "when does the visa expire ?"))
    given = {"answers": ["june"], "all_classes": ["june", "july"], **fields}
    return {
        **SPARE,
        "context": context,
        "input": asked,
        "question": asked,
        "dataset": name,
        **given,
    }


@pytest.fixture(scope="module")
def with_longbench():
    for name in ("jieba", "fuzzywuzzy", "rouge"):
        pytest.importorskip(name, reason="the harness's LongBench needs it: pip install 'lm-eval[longbench]'")


def our_rows(folder: Path, *names: str) -> dict[str, list[dict]]:
    return longbench.load(str(folder), sets=",".join(names))


def test_prompts_and_lengths_of_all_sets_are_ours_but_for_known_differences(tmp_path, with_longbench):
    names = list(longbench.PROMPTS)
    own = {name: own_task(tmp_path, name, [longbench_document(name)], f"longbench/{name}") for name in names}
    loaded = manager(tmp_path).load(list(own.values()))["tasks"]
    for name, task in own.items():
        document, (row,) = longbench_document(name), our_rows(tmp_path, name)[name]
        prompt = longbench.prompt(row, 0, document["context"])
        theirs, ours = loaded[task].doc_to_text(document), prompt.messages[0]["content"]
        if name in ("triviaqa", "samsum"):  # one line break between examples and question, the original has two
            assert theirs == ours.replace(f"\n\n{document['input']}", f"\n{document['input']}") != ours
        else:
            assert theirs + ENDS.get(name, "") == ours
        settings = loaded[task].config.generation_kwargs
        assert settings["max_gen_toks"] == prompt.max_new_tokens and not settings["do_sample"]
        assert settings["until"] == (["\n"] if name in longbench.FEW_SHOT else [])


GOLDEN = [  # set, right answers, what is said, score
    ("hotpotqa", ["in june", "July"], " June .\nthe visa", 0.5),  # june, visa and in, june: 2 * 1 / (2 + 2)
    ("passage_count", ["2"], "2 of 3", 0.5),
    ("passage_retrieval_en", ["Paragraph 3"], "3, not 1 or 2", 1 / 3),
    ("passage_retrieval_zh", ["段落3"], "段落3", 1.0),
    ("trec", ["june"], "june or july", 0.5),
    ("trec", ["june"], "the 5th", 0.0),
    ("lcc", ["return red"], "\n# a note\nreturn red\nmore", 1.0),
    ("lcc", ["return red"], "return late", 0.76),  # "return " and "e": 2 * 8 / (10 + 11)
    ("samsum", ["the visa expires in june ."], "the visa expires .", None),
    ("multifieldqa_zh", ["六月到期"], "签证六月到期", None),
    ("dureader", ["签证六月到期"], "六月到期", None),
]


def test_scores_of_what_is_said_are_ours(tmp_path, with_longbench):
    for name in dict.fromkeys(row[0] for row in GOLDEN):
        golden = [row[1:] for row in GOLDEN if row[0] == name]
        documents = [longbench_document(name, answers=answers) for answers, _, _ in golden]
        task = own_task(tmp_path, name, documents, f"longbench/{name}")
        scorer = manager(tmp_path).load(task)["tasks"][task]
        rows = our_rows(tmp_path, name)[name]
        for document, row, (_, said, worked) in zip(documents, rows, golden, strict=True):
            theirs = scorer.process_results(document, [said])["score"]
            (ours,) = longbench.grade(row, row["questions"][0], said).values()
            assert theirs == pytest.approx(ours, abs=1e-12), (name, said)
            assert worked is None or ours == pytest.approx(worked)
            assert ours > 0 or worked == 0


def test_a_line_of_blanks_is_code_for_the_original_and_none_for_the_harness(tmp_path, with_longbench):
    document = longbench_document("lcc", answers=["return red"])
    task = own_task(tmp_path, "lcc", [document], "longbench/lcc")
    (row,), said = our_rows(tmp_path, "lcc")["lcc"], "  \nreturn red"
    assert manager(tmp_path).load(task)["tasks"][task].process_results(document, [said])["score"] == 1
    assert longbench.grade(row, row["questions"][0], said) == {"code_sim": 0.17}  # 2 * 1 / (2 + 10 characters)


SAID = 12  # tokens of an answer, so that a test is short


@pytest.fixture(scope="module")
def lm(tmp_path_factory) -> str:
    return make_lm_folder(tmp_path_factory.mktemp("lm"), "llama")


def test_a_tiny_model_scores_the_same_in_the_harness_and_here(tmp_path, lm, tiny_folder, with_longbench, monkeypatch):
    names, data = ("hotpotqa", "passage_count", "lcc", "trec"), tmp_path / "data"
    data.mkdir()
    reader = causal_lm.build(lm, device="cpu")
    for name in names:  # answers that the model gives, so that scores are not all 0
        monkeypatch.setitem(longbench.LENGTHS, name, SAID)
        document = longbench_document(name)
        asked = longbench.PROMPTS[name].format(**document)
        said = reader.said([longbench.asked_once(asked, SAID, plain=True)])[0].text
        answer = said if name == "lcc" else " ".join(said.split()[:3])
        document |= {"answers": [answer], "all_classes": [answer, "nothing"]}
        own_task(data, name, [document], f"longbench/{name}")
    asked = ["--task", "longbench", "--data", str(data), "--option", f"longbench.sets={','.join(names)}"]
    asked += ["--reader", "causal_lm", "--option", f"causal_lm.model={lm}", "--option", "causal_lm.device=cpu"]
    asked += ["--system", "full,reet", "--option", f"reet.model={tiny_folder}", "--budget", "50"]
    run.main([*asked, "--reader-budget", "50", "--threads", "1", "--output", str(tmp_path / "results")])
    ours = {result.system: result for result in records.read_all(tmp_path / "results")}
    for system, options in (("full", {"budget": 1.0}), ("reet", {"budget": 0.5, "compressor": str(tiny_folder)})):
        wrapped = CompressingLm(system=system, pretrained=lm, device="cpu", **options)
        found = evaluated(wrapped, [f"own_{name}" for name in names], data, max_gen_toks=SAID)
        scores = []
        for name in names:
            theirs = found["results"][f"own_{name}"]["score,none"]
            measure = longbench.SHOWN.get(longbench.METRIC_OF[name], longbench.METRIC_OF[name])
            (row,) = ours[system].sets[name].rows
            assert row.scores[f"{reader.name}.{measure}"] == [pytest.approx(theirs, abs=6e-4)]  # rounded in files
            scores.append(theirs)
        assert any(scores)
        report = found["config"]["reet"]
        assert report["compressed"] == report["requests"] == 4 and set(report["tasks"]) == {f"own_{n}" for n in names}
        assert report["mean_rate"] == 1 if system == "full" else 0 < report["mean_rate"] <= 0.5
        assert found["config"]["model_num_parameters"] > 0  # what the inner model tells stays


# The harness's RULER beside our own

DELIMITED = {"cwe": "\n\n"}  # between the prompt and the answer's beginning, which the original parts by a space


@pytest.fixture
def with_ruler(monkeypatch):
    """Prompts and scores without what generates texts: it downloads, and builds ten million words, when imported."""
    nltk = pytest.importorskip("nltk", reason="the harness's RULER needs it: pip install 'lm-eval[ruler]'")
    monkeypatch.setattr(nltk, "download", lambda *_, **__: False)
    words = SimpleNamespace(_categories=defaultdict(list))
    monkeypatch.setitem(sys.modules, "wonderwords", SimpleNamespace(RandomWord=lambda: words))


def as_the_harness_has_it(row: dict) -> dict:
    """A document with the prompt of one of our rows."""
    asked = row["questions"][0]
    whole = row["template"].replace("{query}", asked["query"])
    context = "\n".join(message["content"] for message in row["messages"])
    example = "" if row["id"].startswith("ruler-cwe") else row["example"]  # the harness leaves it out of its prompt
    prefix = row["prefix"].replace("{query}", asked["query"]).strip()
    text = example + whole.replace("{context}", context)
    return {"index": 0, "input": text, "outputs": asked["answers"], "max_length": 4096, "gen_prefix": prefix}


@pytest.mark.parametrize(
    ("task", "base"),
    [
        ("niah_single_1", "niah_single_1"),
        ("niah_multikey_2", "niah_multikey_2"),
        ("vt", "vt"),
        ("cwe", "cwe"),
        ("fwe", "fwe"),
    ],
)
def test_ruler_in_the_harness_reads_what_our_own_task_asks(tmp_path, with_ruler, task, base):
    ((row,),) = ruler.load(rows=1, tasks=task, lengths=1000).values()
    name = own_task(tmp_path, base, [as_the_harness_has_it(row)], f"ruler/{base}")
    with (tmp_path / f"{base}.yaml").open("a") as file:
        file.write("custom_dataset: null\n")
    wrapped = model(system="bm25")
    result = evaluated(wrapped, [name], tmp_path)
    system = wrapped.requests.system
    kept = system.compress(system.open(row["messages"]), row["questions"][0]["question"], (), [0.5])[0]
    ours = ruler.prompt(row, 0, kept.text).messages[0]["content"].removeprefix(row["example"] if task == "cwe" else "")
    prefix = row["prefix"].replace("{query}", row["questions"][0]["query"])
    assert ours.endswith(prefix)
    ours = ours.removesuffix(prefix) + DELIMITED.get(task, " ") + prefix.strip()
    assert wrapped.inner.seen == [ours]
    answers = row["questions"][0]["answers"]
    scorer = manager(tmp_path).load(name)["tasks"][name]
    for said in ("nothing", f"it is {answers[0].upper()}", "\t".join(answers)):
        (worked,) = ruler.grade(row, row["questions"][0], said).values()
        assert scorer.process_results({"max_length": 4096, "outputs": answers}, [said])["4096"] == worked
    assert 0 < result["config"]["reet"]["mean_rate"] <= 0.5 and result["results"][name]["4096,none"] == 0


def test_of_several_right_answers_the_original_wants_one_and_the_harness_a_share(with_ruler):
    from lm_eval.tasks.ruler.common_utils import process_results_part

    document, row = {"max_length": 4096, "outputs": ["June", "the sixth month"]}, {"match": "part"}
    assert process_results_part(document, ["in june"])["4096"] == 0.5
    assert ruler.grade(row, {"answers": document["outputs"]}, "in june") == {"string_match_part": 1.0}
