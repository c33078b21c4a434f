"""MaxSim over sentences on a tiny encoder: scores against a twin, what training changes, what is written and read."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from conftest import ROOT
from safetensors.torch import load_file

pytest.importorskip("sentence_transformers", minversion="6")
pytest.importorskip("peft")

from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss

from eval.systems.maxsim import ADAPTER, MaxSim, build, trained, untrained
from reet_hf.budget import resolve_counter
from reet_hf.errors import ReetError
from train.ranking import kept_at_20, kept_share, read_context, training_examples
from train.train_maxsim import MaxSimArguments, build_model, main, read_recipe, write_weights

SENTENCES = ["The visa expires in June.", "In which order?", "a, b: c.", "The user expires in the order of the visa."]
CITIES = ["rome", "oslo", "lima", "cairo", "paris", "delhi"]


@pytest.fixture(scope="module")
def model(encoder):
    torch.manual_seed(0)
    return untrained(encoder)


def row(number: int) -> dict:
    """A conversation in which five friends say where their order is, and a question for each."""
    messages, questions = [], []
    for friend in range(5):
        city = CITIES[(number + friend) % len(CITIES)]
        text = f"The visa expires in June. Order {friend} is in {city}. When does it expire?"
        start = text.index(city)
        sentence = {"message": friend, "start": text.index("Order"), "end": start + len(city) + 1}
        messages.append({"role": "user", "name": f"friend {friend}", "content": text})
        question = {"question": f"Where is order {friend}?", "answers": [city], "kind": "extractive"}
        spans = [{"message": friend, "start": start, "end": start + len(city)}]
        questions.append({**question, "answer_spans": spans, "evidence": [sentence]})
    return {"id": f"r{number}", "source": "t", "license": "CC BY 4.0", "messages": messages, "questions": questions}


def twin(queries: np.ndarray, tokens: np.ndarray) -> float:
    """MaxSim one token at a time."""
    return sum(max(float(np.dot(asked, token)) for token in tokens) for asked in queries)


def test_scores_are_those_of_a_twin_and_of_the_library(model):
    ranker, query = MaxSim(model), "When does the visa expire?"
    asked = model.encode_query([query], convert_to_numpy=True)
    read = model.encode_document(SENTENCES, convert_to_numpy=True)
    found = ranker.rank(ranker.fit(SENTENCES), query)
    np.testing.assert_allclose(found, [twin(asked[0], tokens) for tokens in read], rtol=1e-5)
    np.testing.assert_allclose(found, model.similarity(asked, read)[0].numpy(), rtol=1e-5)


def test_a_sentence_that_is_the_query_counts_one_for_each_query_token(model):
    ranker = MaxSim(model)
    scores = ranker.rank(ranker.fit(["in june", "the visa expires", "order"]), "the visa expires")
    assert scores[1] == pytest.approx(5, abs=1e-4)  # three words, [CLS] and [SEP], each with cosine 1 to itself
    assert scores.argmax() == 1 and (scores <= 5 + 1e-4).all()


def test_punctuation_of_sentences_has_no_vectors(model):
    vectors, starts = MaxSim(model).fit(["june", "june . , ?", ""])
    assert starts.tolist() == [0, 3, 6] and vectors.shape == (8, 128)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_a_sentence_scores_the_same_in_any_company(model):
    ranker, query = MaxSim(model), "which order?"
    together = ranker.rank(ranker.fit(SENTENCES), query)
    alone = [ranker.rank(ranker.fit([sentence]), query)[0] for sentence in SENTENCES]
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_training_lowers_the_loss_and_leaves_the_encoder_alone(encoder):
    torch.manual_seed(0)
    model = build_model(MaxSimArguments(encoder=encoder, rank=4), SENTENCES)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora" in name or name == "1.linear.weight" for name in learned)
    assert not any("embedding" in name or "pooler" in name for name in learned)
    frozen = {name: p.clone() for name, p in model.named_parameters() if name not in learned}
    start = {name: p.clone() for name, p in learned.items()}
    loss = MultiVectorMultipleNegativesRankingLoss(model, mini_batch_size=4)
    optimizer = torch.optim.AdamW(learned.values(), lr=1e-2)
    texts = [("query", ["in june?", "order"]), ("document", SENTENCES[:2]), ("document", SENTENCES[2:])]
    losses = []
    for _ in range(12):
        value = loss([model.preprocess(column, task=task) for task, column in texts])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)
    assert all(not torch.equal(p, start[name]) for name, p in learned.items())


def test_the_projection_starts_as_the_principal_directions(encoder):
    model = build_model(MaxSimArguments(encoder=encoder, rank=4), SENTENCES)
    states = torch.cat(untrained(encoder, width=0).encode_document(SENTENCES))
    weight = model[1].linear.weight.detach()[: states.shape[1]]
    seen = (states @ weight.T).square().sum(0)
    assert (seen.diff() < 1e-3).all()  # each direction holds no more than the one before
    assert seen.sum().item() == pytest.approx(states.square().sum().item(), rel=1e-3)


def test_what_is_written_ranks_as_before(encoder, tmp_path):
    torch.manual_seed(0)
    model = build_model(MaxSimArguments(encoder=encoder, rank=4), SENTENCES)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    before = MaxSim(model).fit(SENTENCES)
    write_weights(model, tmp_path, "owner/encoder")
    after = MaxSim(trained(encoder, tmp_path)).fit(SENTENCES)
    np.testing.assert_allclose(after[0], before[0], atol=5e-3)  # half precision
    assert np.abs(before[0] - MaxSim(untrained(encoder)).fit(SENTENCES)[0]).max() > 0.1
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/encoder"


def test_a_folder_without_adapter_is_refused(encoder, tmp_path):
    with pytest.raises(ReetError, match="train_maxsim.py"):
        trained(encoder, tmp_path)


def test_gold_is_the_sentence_with_the_answer_and_no_negative_holds_it():
    context = read_context(row(0))
    assert [sorted(gold) for _, gold, _ in context.questions] == [[1], [4], [7], [10], [13]]
    abstractive = row(0)
    abstractive["questions"][1] |= {"answer_spans": [], "evidence": [{"message": 1, "start": 0, "end": 40}]}
    assert sorted(read_context(abstractive).questions[1][1]) == [3, 4]
    examples = list(training_examples([row(0), row(1)], max_questions=3, negatives=2, seed=1))
    assert len(examples) == 6 and list(examples[0]) == ["question", "gold", "negative_0", "negative_1"]
    for example in examples:
        friend = example["question"].removeprefix("Where is order ").rstrip("?")
        assert example["gold"].startswith(f"Order {friend} is in ")
        city = example["gold"].split()[-1].rstrip(".")
        assert city not in example["negative_0"] + example["negative_1"]
    assert examples == list(training_examples([row(0), row(1)], max_questions=3, negatives=2, seed=1))


def test_kept_share_counts_words_up_to_a_fifth():
    texts = ["one two", "three", "four five six", "seven eight nine ten"]  # ten words, so two are kept
    scores = np.array([2.0, 3.0, 1.0, 0.0])
    assert kept_share(scores, texts, {1}, answered=True) == 1  # the best, one word
    assert kept_share(scores, texts, {0}, answered=True) == 0  # with the second best it would be three
    assert kept_share(-scores, texts, {1}, answered=True) == 0
    assert kept_share(scores, texts, {1, 2}, answered=False) == 0.5
    assert kept_share(scores, texts, {1, 2}, answered=True) == 1


def test_the_script_trains_evaluates_and_writes(encoder, tmp_path, monkeypatch):
    pq.write_table(pa.Table.from_pylist([row(number) for number in range(6)]), tmp_path / "cities-train.parquet")
    pq.write_table(pa.Table.from_pylist([row(7)]), tmp_path / "cities-dev.parquet")
    recipe = yaml.safe_load((ROOT / "train" / "recipes" / "maxsim.yaml").read_text())
    recipe |= {"mixture": {"cities-train": 1}, "evaluation": {"cities-dev": 1}, "per_device_train_batch_size": 4}
    recipe |= {"rank": 4, "max_steps": 3, "eval_steps": 2, "warmup_steps": 0, "use_cpu": True}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    output = tmp_path / "out"
    options = {"--data": tmp_path, "--encoder": encoder, "--output_dir": output}
    argv = [str(tmp_path / "recipe.yaml"), *(str(word) for pair in options.items() for word in pair)]
    monkeypatch.setattr(sys, "argv", ["train/train_maxsim.py", *argv])
    main(argv)
    record = json.loads((output / "training.json").read_text())
    assert record["steps"] == 3 and record["encoder"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert str(tmp_path.parent) not in "".join(path.read_text() for path in output.rglob("*.json"))
    dev = kept_at_20(MaxSim(trained(encoder, output)), {"cities-dev": [read_context(row(7))]})
    assert dev["kept_at_20"] == pytest.approx(record["metrics"]["eval_kept_at_20"], abs=0.21)  # one question of five
    system = build(resolve_counter(lambda text: len(text.split())), encoder, output)
    assert system.query == "required" and len(system.revision) == 16
    kept = system.compress(system.open(row(7)["messages"]), "Where is order 2?", [], [0.5, 0.2])
    assert [one.tokens <= one.budget for one in kept] == [True, True] and kept[0].pieces


def test_a_recipe_needs_data():
    recipe = str(ROOT / "train" / "recipes" / "maxsim.yaml")
    with pytest.raises(ReetError, match="--data"):
        read_recipe([recipe])
    with pytest.raises(ReetError, match="pairs"):
        read_recipe([recipe, "--data"])
    arguments, training = read_recipe([recipe, "--data", "folder", "--max_steps", "7"])
    assert arguments.data == "folder" and training.max_steps == 7 and training.max_length["document"] == 64


def test_the_adapter_that_comes_along_is_small_and_names_its_encoder():
    config = json.loads((ADAPTER / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert sum(path.stat().st_size for path in ADAPTER.rglob("*") if path.is_file()) < 6e6
    for path in ADAPTER.rglob("*.safetensors"):
        assert {weight.dtype for weight in load_file(path).values()} == {torch.float16}
    command = json.loads((ADAPTER / "training.json").read_text())["command"]
    assert not [word for word in command.split() if "/" in word and not word.startswith("train/")]
