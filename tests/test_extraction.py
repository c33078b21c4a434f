"""The extraction head: labels, shapes, losses against the plain definition, and that it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import make_config
from torch.nn import functional

from reet_hf import ReetError
from reet_hf.extraction.examples import ExtractionCollator, WindowWords
from reet_hf.extraction.extractor import decode
from reet_hf.extraction.labels import CHANNELS, GUIDES, PRONOUNS, channel_groups, guide_of, word_spans
from reet_hf.modeling.extraction_head import entity_loss, fact_loss, grouped, link_loss
from reet_hf.modeling.modeling_reet import ReetForEntityExtraction
from reet_hf.training.extraction import ExtractionDataset, extraction_scores, held_out, windows_of
from reet_hf.windows import word_shape

SAID = ["expires in june", "does order"]
NAMES = ["Rome", "Oslo", "Lima", "Cairo", "Paris", "Delhi"]


def row(text: str, *entities: tuple[str, str], facts: tuple[tuple[str, str], ...] = ()) -> dict:
    """A row of the extraction schema of verbatim texts, the first of each."""
    places = [(text.index(words), text.index(words) + len(words)) for words, _ in entities]
    said = [
        {
            "entity_start": text.index(subject),
            "entity_end": text.index(subject) + len(subject),
            "start": text.index(words),
            "end": text.index(words) + len(words),
            "relation": "",
        }
        for subject, words in facts
    ]
    marks = [
        {"start": start, "end": end, "type": kind, "cluster": number}
        for number, ((start, end), (_, kind)) in enumerate(zip(places, entities, strict=True))
    ]
    return {"id": text, "source": "test", "license": "CC BY 4.0", "text": text, "entities": marks, "facts": said}


def city_texts(count: int, seed: int, kind: str = "LOC") -> list[dict]:
    """Sentences in which capitalised words are places and what stands behind them is said of them."""
    chooser = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        parts, names, facts = [], [], []
        order = chooser.permutation(2)[: int(chooser.integers(1, 3))].tolist()
        for name, said in zip(chooser.permutation(NAMES).tolist(), [SAID[place] for place in order], strict=False):
            before = " ".join(["the visa", "the order", "when"][int(chooser.integers(3))] for _ in range(2))
            parts.append(f"{before} {name} {said}.")
            names.append((name, kind))
            facts.append((name, said))
        if chooser.random() < 0.3:
            parts.append("order: ab-12, a@b.de.")
        made.append(row(" ".join(parts), *names, facts=tuple(facts)))
    return made


def fit(model: torch.nn.Module, files: dict[str, list[dict]], tokenizer) -> None:
    """Train a small model on every row of the files, many times over."""
    kinds = model.config.fact_kinds
    dataset = ExtractionDataset(files, tokenizer, dict.fromkeys(files, 1), fact_kinds=kinds, pack_tokens=320)
    collator, optimizer = ExtractionCollator(tokenizer), torch.optim.AdamW(model.parameters(), lr=4e-3)
    for epoch in range(20):
        dataset.set_epoch(epoch)
        for number in range(len(dataset)):
            loss = model(**collator([dataset[number]])).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.fixture(scope="module")
def model(tokenizer) -> ReetForEntityExtraction:
    torch.manual_seed(1)
    sizes = {"extraction_dim": 32, "span_dim": 8, "entity_words": 4, "fact_words": 6}
    return ReetForEntityExtraction(make_config(len(tokenizer), **sizes)).eval()


@pytest.fixture
def batch(tokenizer) -> dict[str, torch.Tensor]:
    """Two windows of differing length with entities of two guides, one of them with facts."""
    first = row(
        "Rome expires in june. Oslo does order.",
        ("Rome", "LOC"),
        ("Oslo", "PER"),
        facts=(("Rome", "expires in june"), ("Oslo", "does order")),
    )
    second = row("the visa in Lima.", ("Lima", "LOC"))
    windows = windows_of(first, tokenizer, GUIDES["redocred"], 0, 64) + windows_of(second, tokenizer, GUIDES["btc"])
    return ExtractionCollator(tokenizer)(windows)


@pytest.mark.parametrize(
    ("word", "shape"),
    [("rome", 1), ("Rome", 2), ("ROME", 3), ("2027", 4), ("KX4", 5), ("...", 6), ("iPhone", 7), ("I", 8), ("Ärzte", 2)],
)
def test_a_shape_tells_how_a_word_is_written(word, shape):
    assert word_shape(word) == shape


def test_words_are_those_of_the_tokenizer_with_all_their_tokens(tokenizer):
    window = windows_of(row("Rome, KX-44 expires."), tokenizer, GUIDES["btc"])[0]
    words = window.words
    texts = [
        tokenizer.decode(window.ids[a : b + 1]).replace("#", "").replace(" ", "")
        for a, b in zip(words.first, words.last, strict=True)
    ]
    assert texts[:4] == ["rome", ",", "kx", "[UNK]"] and texts[4:] == ["44", "expires", "."]
    assert words.shapes.tolist() == [2, 6, 3, 6, 4, 1, 6] and set(words.units.tolist()) == {0}


def test_a_window_that_begins_inside_a_word_begins_a_word(tokenizer):
    window = windows_of(row("a" * 40), tokenizer, GUIDES["btc"], window_tokens=12)
    assert len(window) == 4 and all(part.words.first[0] == 0 for part in window)
    assert [int(part.words.last[0]) + 1 for part in window] == [len(part.ids) for part in window]


def test_every_guide_maps_its_types_to_channels():
    for name, guide in GUIDES.items():
        assert set(guide.kinds) <= {kind for kind, _ in CHANNELS}, name
        groups = channel_groups(guide)
        assert set(groups[groups >= 0]) == set(range(len(guide.groups)))
        for own in guide.types:
            assert guide.group("Rome", own) is not None
    assert guide_of("redocred-train-held") is GUIDES["redocred"]
    with pytest.raises(ReetError, match="must name files of"):
        guide_of("unknown-train")
    with pytest.raises(ReetError, match="got 'CITY'"):
        GUIDES["btc"].group("Rome", "CITY")


@pytest.mark.parametrize(
    ("guide", "text", "kind"),
    [
        ("litbank", "the old man who lived by the Sea", "nominal"),
        ("litbank", "Mr. Darcy", "named"),
        ("litbank", "the river Thames", "named"),
        ("litbank", "She", None),
        ("gum", "12 years", "nominal"),
        ("gum", "1985", "named"),
        ("crossner", "machine learning", "term"),
        ("crossner", "Saturn", "named"),
        ("redocred", "she", "named"),
        ("carb", "the army", "argument"),
    ],
)
def test_the_kind_of_a_mention_is_told_by_its_head(guide, text, kind):
    assert GUIDES[guide].kind(text) == kind
    assert "she" in PRONOUNS


def test_spans_of_characters_become_spans_of_whole_words():
    starts, ends = np.array([0, 5, 8]), np.array([4, 7, 12])
    assert word_spans([(0, 4), (0, 7), (5, 12), (1, 4), (0, 3), (8, 12), (7, 8), (20, 25)], starts, ends) == [
        (0, 0),
        (0, 1),
        (1, 2),
        None,
        None,
        (2, 2),
        None,
        None,
    ]


def test_a_saved_model_says_the_same(model, batch, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = ReetForEntityExtraction.from_pretrained(tmp_path)
    assert loaded.config.channels == [list(channel) for channel in CHANNELS]
    for name, logits in model(**batch).items():  # up to the last bits, which may depend on where the weights lie
        torch.testing.assert_close(loaded(**batch)[name], logits, msg=name)


def test_logits_have_their_shapes_and_do_not_depend_on_the_batch(model, batch, tokenizer):
    output = model(**batch)
    windows, words = batch["word_first"].shape
    assert output.entities.shape == (windows, words, 4, len(CHANNELS))
    assert output.facts.shape == (windows, batch["subjects"].shape[1], words, 6)
    assert output.links.shape == (windows, batch["fact_labels"].shape[1], batch["subjects"].shape[1])
    lowest = torch.finfo(torch.float32).min
    count = int((batch["word_first"][1] >= 0).sum())
    inside = output.entities[1, :, :, 0] > lowest
    assert [int(row.sum()) for row in inside] == [max(min(4, count - place), 0) for place in range(words)]
    alone = windows_of(row("the visa in Lima.", ("Lima", "LOC")), tokenizer, GUIDES["btc"])
    again = model(**ExtractionCollator(tokenizer)(alone)).entities
    assert torch.allclose(again[0], output.entities[1, :count], atol=1e-5)


def test_a_fact_is_no_part_of_its_subject_and_stays_in_its_sentence(model, batch):
    facts, lowest = model(**batch).facts[0], torch.finfo(torch.float32).min
    count, units = int((batch["word_first"][0] >= 0).sum()), batch["word_units"][0].tolist()
    assert len(set(units[:count])) == 2
    for number, (first, last) in enumerate(batch["subjects"][0].tolist()):
        for start in range(facts.shape[1]):
            for width in range(facts.shape[2]):
                end = start + width
                allowed = end < count and (end < first or start > last) and units[start] == units[first] == units[end]
                assert bool(facts[number, start, width] > lowest) == allowed


def test_a_group_is_as_likely_as_any_of_its_channels():
    logits = torch.randn(2, 3, 4, len(CHANNELS))
    groups = torch.from_numpy(np.stack([channel_groups(GUIDES[name]) for name in ("wikigold", "btc")]))
    found = grouped(logits, groups, int(groups.max()) + 1)
    for window, name in enumerate(("wikigold", "btc")):
        for number, group in enumerate(GUIDES[name].groups):
            own = logits[window][..., [CHANNELS.index(channel) for channel in group]].logsumexp(-1)
            assert torch.allclose(found[window, ..., number], own, atol=1e-4)


def test_the_entity_loss_is_the_cross_entropy_of_every_span_that_the_guide_tells_of(model, batch):
    logits = model(**batch).entities
    labels = batch["entity_labels"].clone()
    labels[0, 0, 2] = -1  # the first entity trains nothing
    loss = entity_loss(logits, batch["channel_groups"], labels, batch["word_first"] >= 0)
    total = 0.0
    for window, name in enumerate(("redocred", "btc")):
        count = int((batch["word_first"][window] >= 0).sum())
        told = {tuple(span[:2]): span[2] for span in labels[window].tolist() if span[2] > -2}
        for start in range(count):
            for width in range(min(4, count - start)):
                if told.get((start, start + width)) == -1:
                    continue
                for number, group in enumerate(GUIDES[name].groups):
                    own = logits[window, start, width, [CHANNELS.index(channel) for channel in group]].logsumexp(-1)
                    chance = 1 / (1 + math.exp(-own.item()))
                    total -= math.log(chance if told.get((start, start + width)) == number else 1 - chance)
    assert loss.item() == pytest.approx(total / int((batch["word_first"] >= 0).sum()), rel=1e-4)


def test_the_fact_loss_is_the_cross_entropy_of_every_span_of_every_subject(model, batch):
    logits, mask = model(**batch).facts, batch["word_first"] >= 0
    loss = fact_loss(logits, batch["subjects"], batch["fact_labels"], mask & (batch["fact_kinds"] >= 0).unsqueeze(-1))
    gold = {tuple(fact) for fact in batch["fact_labels"][0].tolist() if fact[0] >= 0}
    assert len(gold) == 2
    total = 0.0
    for number, subject in enumerate(batch["subjects"][0].tolist()):
        for start in range(logits.shape[2]):
            for width in range(logits.shape[3]):
                if logits[0, number, start, width] > torch.finfo(torch.float32).min:
                    target = torch.tensor(float((*subject, start, start + width) in gold))
                    own = logits[0, number, start, width]
                    total += functional.binary_cross_entropy_with_logits(own, target).item()
    assert loss.item() == pytest.approx(total / int(mask[0].sum()), rel=1e-4)


def test_any_of_the_right_subjects_of_a_fact_will_do():
    subjects = torch.tensor([[[0, 0], [2, 2], [4, 4], [-1, -1]]])
    labels = torch.tensor([[[0, 0, 6, 7], [2, 2, 6, 7], [4, 4, 8, 8], [-1, -1, -1, -1]]])
    logits = torch.tensor([[[9.0, -9.0, -9.0, 50.0]] * 2 + [[-9.0, -9.0, 9.0, 50.0]] + [[0.0] * 4]])
    assert link_loss(logits, subjects, labels).item() == pytest.approx(0.0, abs=1e-4)
    assert link_loss(-logits, subjects, labels).item() > 5


def test_decoding_takes_the_likeliest_spans_that_do_not_overlap():
    logits = torch.full((4, 3, 2), -9.0)
    logits[0, 1, 1], logits[1, 0, 0], logits[2, 1, 0], logits[0, 0, 0] = 2.0, 1.0, 0.5, -0.2
    found = decode(logits, 0.4)
    assert [(s.first, s.last, s.channel) for s in found] == [(0, 1, 1), (2, 3, 0)]
    assert found[0].chance == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert [(s.first, s.last) for s in decode(logits, 0.9)] == []


def test_packs_hold_every_window_once_and_keep_to_their_tokens(tokenizer):
    files = {"btc-train": city_texts(30, seed=1), "redocred-train": [row("Rome " * 30, ("Rome", "LOC"))]}
    dataset = ExtractionDataset(
        files, tokenizer, {"btc-train": 1.5, "redocred-train": 2}, fact_kinds=["relation"], pack_tokens=60
    )
    for epoch in range(2):
        dataset.set_epoch(epoch)
        assert sorted(place for pack in dataset.packs for place in pack) == list(range(len(dataset.windows)))
        assert all(
            len(p) == 1 or len(p) * max(len(w.ids) for w in p) <= 60 for p in (dataset[n] for n in range(len(dataset)))
        )
    assert len({tuple(pack) for pack in dataset.packs}) == len(dataset)


def test_every_fifth_row_is_held_out_of_the_files_that_have_no_other_development_set():
    files = held_out({"redocred-train": [{"id": n} for n in range(12)], "btc-train": [{"id": 0}]})
    assert [row["id"] for row in files["redocred-train-held"]] == [0, 5, 10]
    assert len(files["redocred-train"]) == 9 and set(files) == {"redocred-train", "redocred-train-held", "btc-train"}


def test_it_learns_names_by_their_capitals_and_what_is_said_of_them(tokenizer):
    torch.manual_seed(0)
    sizes = {"extraction_dim": 32, "span_dim": 8, "entity_words": 4, "fact_words": 6, "dropout": 0.0}
    model = ReetForEntityExtraction(make_config(len(tokenizer), **sizes))
    files = {"redocred-train": city_texts(128, seed=2)}
    fit(model, files, tokenizer)
    scores = extraction_scores(model, tokenizer, city_texts(16, seed=3), "redocred-train", 0.4)
    assert scores["entity_f1"] > 0.95 and scores["fact_f1"] > 0.95 and scores["link_accuracy"] == 1.0
    assert scores["fact_exact_f1"] > 0.9


def test_scores_count_what_the_windows_lost(model, tokenizer):
    """An entity inside a word cannot be found: it counts as missed, not as absent."""
    found = extraction_scores(model, tokenizer, [row("Romeo in Lima.", ("Rome", "LOC"), ("Lima", "LOC"))], "btc", 1e-6)
    assert found["entity_recall"] <= 0.5


def test_words_of_a_cut_table_begin_anew(tokenizer):
    window = windows_of(row("Rome expires."), tokenizer, GUIDES["btc"])[0]
    assert isinstance(window.words, WindowWords) and window.words.first.tolist()[0] == 0
