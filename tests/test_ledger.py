"""The ledger: who is meant, what holds, what it replaced; and that it is a fold over messages."""

from __future__ import annotations

import json

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf.errors import ReetError
from reet_hf.ledger import Ledger
from reet_hf.records import Mention, Span, Statement


def mention(text: str, number: int, words: str, kind: str = "PERSON", nth: int = 0) -> Mention:
    start = [match.start() for match in regex.finditer(regex.escape(words), text)][nth]
    return Mention(words, kind, number, start, start + len(words))


def statement(text: str, number: int, subject: str, words: str, score: float = 0.9) -> Statement:
    subject_start, start = text.index(subject), text.index(words)
    place = Span(number, subject_start, subject_start + len(subject))
    return Statement(place, words, number, start, start + len(words), score)


def ledger_of(*messages: tuple[str, list[tuple[str, str]], list[tuple[str, str]]]) -> Ledger:
    """Of texts with their (name, type) mentions and (subject, statement) pairs."""
    ledger = Ledger()
    for number, (text, names, said) in enumerate(messages):
        mentions = [mention(text, number, name, kind) for name, kind in names]
        ledger.add(text, mentions, [statement(text, number, subject, words) for subject, words in said])
    return ledger


def held(ledger: Ledger) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fact in ledger.current():
        found.setdefault(ledger.entities[fact.entity].name, []).append(fact.text)
    return found


@pytest.mark.parametrize(
    ("first", "second", "kind", "same"),
    [
        ("Acme Corp", "acme corp", "ORGANIZATION", True),
        ("the Acme Corp", "Acme Corp's", "ORGANIZATION", True),
        ("World Health Organization", "WHO", "ORGANIZATION", True),
        ("WHO", "World Health Organization", "ORGANIZATION", True),
        ("United States of America", "USA", "LOCATION", True),
        ("John Smith", "Smith", "PERSON", True),
        ("John Smith", "John", "PERSON", True),
        ("Acme", "Acme Corp", "ORGANIZATION", True),
        ("John Smith", "Smithson", "PERSON", False),
        ("John Smith", "Mary Jones", "PERSON", False),
        ("World Health Organization", "WWF", "ORGANIZATION", False),
        ("Paris", "Paris Hilton Hotel Group", "ORGANIZATION", True),
        ("12 June", "June", "DATE", False),
        ("4471", "447", "NUMBER", False),
    ],
)
def test_names_that_mean_the_same(first, second, kind, same):
    ledger = ledger_of((f"Here is {first}.", [(first, kind)], []), (f"And {second} too.", [(second, kind)], []))
    assert len(ledger.entities) == (1 if same else 2)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("The Lark leaves at 9:40.", True),
        ("Ask Bo? The Lark leaves at 9:40.", True),
        ("So you mean that the Lark leaves at 9:40?", False),
        ("Please confirm: the Lark leaves at 9:40.", False),
        ("“The Lark leaves at 9:40?”", False),
    ],
)
def test_a_question_states_nothing_but_mentions(text, holds):
    ledger = ledger_of((text, [("Lark", "PRODUCT")], [("Lark", "leaves at 9:40")]))
    assert held(ledger) == ({"Lark": ["leaves at 9:40"]} if holds else {})
    assert [known.names for known in ledger.entities] == [["Lark"]]


def test_a_name_of_another_type_is_another_entity():
    ledger = ledger_of(
        ("Jordan called.", [("Jordan", "PERSON")], []), ("I flew to Jordan.", [("Jordan", "LOCATION")], [])
    )
    assert [known.type for known in ledger.entities] == ["PERSON", "LOCATION"]


def test_an_untyped_mention_takes_the_type_of_the_later_one():
    ledger = ledger_of(("Acme won.", [("Acme", "OTHER")], []), ("Acme grew.", [("Acme", "ORGANIZATION")], []))
    assert [known.type for known in ledger.entities] == ["ORGANIZATION"]


def test_pronouns_go_to_the_last_entity_of_a_fitting_type():
    ledger = ledger_of(
        ("Ann Lee works for Acme.", [("Ann Lee", "PERSON"), ("Acme", "ORGANIZATION")], []),
        ("She likes it there.", [], []),
    )
    ann, acme = ledger.entities
    assert [span.message for span in ann.mentions] == [0, 1] and [span.message for span in acme.mentions] == [0, 1]
    assert ann.names == ["Ann Lee"] and ledger.references(0) == 1


def test_a_pronoun_for_nothing_known_is_no_entity():
    assert ledger_of(("It rains and she knows it.", [], [])).entities == []


def test_the_one_from_before_is_not_the_last_one():
    ledger = ledger_of(
        ("Try the Garden Inn.", [("Garden Inn", "LOCATION")], []),
        ("Or the Plaza.", [("Plaza", "LOCATION")], []),
        ("No, book the one from before.", [], []),
    )
    assert [span.message for span in ledger.entities[0].mentions] == [0, 2]
    assert [span.message for span in ledger.entities[1].mentions] == [1]


def test_a_description_finds_the_entity_of_its_noun():
    ledger = ledger_of(
        ("I stayed at Hotel Adler.", [("Hotel Adler", "LOCATION")], []),
        ("We met at Acme.", [("Acme", "ORGANIZATION")], []),
        ("The hotel was fine, the company paid.", [], []),
    )
    assert [[span.message for span in known.mentions] for known in ledger.entities] == [[0, 2], [1, 2]]


def test_a_later_value_closes_the_earlier_one_and_both_keep_their_places():
    ledger = ledger_of(
        ("My visa expires on 12 June 2027.", [("My visa", "OTHER")], [("My visa", "expires on 12 June 2027")]),
        ("Nothing new.", [], []),
        ("The visa now expires on 3 July 2028.", [("The visa", "OTHER")], [("The visa", "expires on 3 July 2028")]),
    )
    old, new = ledger.facts
    assert (old.current, old.closed, old.closed_in) == (False, 1, 2) and new.current
    assert old.sources[0].message == 0 and new.sources[0].message == 2
    assert [fact.current for fact in ledger.as_facts()["My visa"]] == [False, True]


def test_the_same_value_again_is_another_source_and_no_other_fact():
    said = ("The visa expires on 12 June.", [("The visa", "OTHER")], [("The visa", "expires on 12 June")])
    ledger = ledger_of(said, said)
    assert [span.message for span in ledger.facts[0].sources] == [0, 1] and len(ledger.facts) == 1


def test_values_of_other_attributes_stay():
    text = "The room costs $90. The room has 2 beds. The room is booked for 3 May."
    ledger = ledger_of(
        (
            text,
            [("The room", "OTHER")],
            [("The room", "costs $90"), ("The room", "has 2 beds"), ("The room", "booked for 3 May")],
        ),
        ("The room costs $120.", [("The room", "OTHER")], [("The room", "costs $120")]),
    )
    assert held(ledger) == {"The room": ["has 2 beds", "booked for 3 May", "costs $120"]}


@pytest.mark.parametrize(
    ("first", "second", "current"),
    [
        ("leaves at 9:40 from gate B12", "leaves at 11:15", ["leaves at 11:15"]),
        ("leaves at 9:40", "leaves at 9:40 from gate B12", ["leaves at 9:40 from gate B12"]),
        ("leaves at 9:40 from gate B12", "leaves at 9:40", ["leaves at 9:40 from gate B12"]),
        ("leaves at 9:40 from gate B12", "leaves at 9:40 from gate C3", ["leaves at 9:40 from gate C3"]),
        ("has 12 branches in 3 towns", "has 14 branches", ["has 14 branches"]),
        ("scored 3 goals", "scored 10 points", ["scored 3 goals", "scored 10 points"]),
        ("opens at 9:00", "closes at 17:00", ["opens at 9:00", "closes at 17:00"]),
        ("3 May was the day of arrival", "4 June was the day of departure", None),
    ],
)
def test_what_leads_up_to_a_value_says_what_it_is_a_value_of(first, second, current):
    ledger = ledger_of(
        (f"The flight {first}.", [("The flight", "OTHER")], [("The flight", first)]),
        (f"The flight {second}.", [("The flight", "OTHER")], [("The flight", second)]),
    )
    assert held(ledger)["The flight"] == (current or [first, second])


def test_facts_without_values_pile_up():
    ledger = ledger_of(
        ("Ann is a doctor.", [("Ann", "PERSON")], [("Ann", "is a doctor")]),
        ("Ann is a mother.", [("Ann", "PERSON")], [("Ann", "is a mother")]),
    )
    assert held(ledger) == {"Ann": ["is a doctor", "is a mother"]}


@pytest.mark.parametrize("answer", ["No, the 14 June.", "Actually on 14 June.", "Sorry, not 12 June but 14 June."])
def test_a_correction_without_a_subject_closes_what_it_corrects(answer):
    ledger = ledger_of(
        ("The flight costs $300.", [("The flight", "OTHER")], [("The flight", "costs $300")]),
        ("The interview is on 12 June.", [("The interview", "EVENT")], [("The interview", "is on 12 June")]),
        (answer, [], []),
    )
    assert held(ledger) == {"The flight": ["costs $300"], "The interview": ["14 June"]}
    assert ledger.facts[1].closed == 2 and ledger.facts[2].sources[0].message == 2


def test_a_correction_with_a_subject_closes_its_last_value_of_the_kind():
    ledger = ledger_of(
        ("The interview is on 12 June.", [("The interview", "EVENT")], [("The interview", "is on 12 June")]),
        ("Rent is due on 1 June.", [("Rent", "OTHER")], [("Rent", "due on 1 June")]),
        (
            "Actually the interview was moved to 20 June.",
            [("the interview", "EVENT")],
            [("the interview", "moved to 20 June")],
        ),
    )
    assert held(ledger) == {"Rent": ["due on 1 June"], "The interview": ["moved to 20 June"]}


def test_a_correction_leaves_what_it_is_not_about():
    said = [
        ("My visa expires on 12 June 2027.", [("My visa", "OTHER")], [("My visa", "expires on 12 June 2027")]),
        ("No, the meeting with Ann Lee is at 11:45.", [("Ann Lee", "PERSON")], [("Ann Lee", "is at 11:45")]),
        ("Actually the concert is on 3 May.", [], []),
        ("Sorry, Ann Lee comes on 4 May.", [("Ann Lee", "PERSON")], [("Ann Lee", "comes on 4 May")]),
    ]
    assert ledger_of(*said).facts[0].current
    chatter = [("That is fine.", [], [])] * 6
    far = ledger_of(said[0], *chatter, ("No, the 14 June 2027.", [], []))
    near = ledger_of(said[0], *chatter[:5], ("No, the 14 June 2027.", [], []))
    assert far.facts[0].current and not near.facts[0].current
    about = ledger_of(said[0], *chatter, ("No, the visa expires on 14 June 2027.", [], []))
    assert about.facts[0].current and len(about.facts) == 1


def test_a_time_of_day_is_no_date():
    ledger = ledger_of(
        ("The show is on 3 May.", [("The show", "EVENT")], [("The show", "is on 3 May")]),
        ("The show is at 11:45.", [("The show", "EVENT")], [("The show", "is at 11:45")]),
        ("No, at 6 pm, please.", [], []),
    )
    assert held(ledger) == {"The show": ["is on 3 May", "6 pm"]}


def test_a_confirmation_corrects_nothing():
    ledger = ledger_of(
        ("The interview is on 12 June.", [("The interview", "EVENT")], [("The interview", "is on 12 June")]),
        ("No, that is right: 12 June.", [], []),
    )
    assert len(ledger.facts) == 1 and ledger.facts[0].current


def test_what_does_not_stand_in_the_message_is_refused_and_nothing_is_added():
    ledger = ledger_of(("Ann is here.", [("Ann", "PERSON")], []))
    before = ledger.to_dict()
    for wrong in (Mention("Ann", "PERSON", 0, 0, 3), Mention("Bob", "PERSON", 1, 0, 3), Mention("", "PERSON", 1, 0, 0)):
        with pytest.raises(ReetError, match="verbatim spans of message 1"):
            ledger.add("Ann left.", [mention("Ann left.", 1, "Ann"), wrong])
    with pytest.raises(ReetError, match="`statements`"):
        ledger.add("Ann left.", [], [Statement(Span(1, 0, 3), "went", 1, 4, 8)])
    with pytest.raises(ReetError, match="subjects in message 1"):
        ledger.add("Ann left.", [], [Statement(Span(0, 0, 3), "left", 1, 4, 8)])
    assert ledger.to_dict() == before


def test_another_schema_is_refused():
    with pytest.raises(ReetError, match="schema_version 1, got 9"):
        Ledger.from_dict({**Ledger().to_dict(), "schema_version": 9})


NAMES = ["Ann Lee", "Lee", "Acme Corp", "AC", "the visa", "The interview", "she", "it", "Oslo"]
SAID = ["expires on 12 June", "expires on 3 May", "costs $90", "costs $95", "is new", "moved to 7 May", "of code AB-12"]
CUES = ["", "Actually ", "No, ", "the one from before and "]


@st.composite
def message(draw) -> tuple[str, list[tuple[str, int]], list[tuple[str, str, int, int]]]:
    """A text with the places of its names, and for each what is said of it."""
    text, names, said = "", [], []
    for _ in range(draw(st.integers(0, 3))):
        text += draw(st.sampled_from(CUES))
        name, fact = draw(st.sampled_from(NAMES)), draw(st.sampled_from(SAID))
        names.append((name, len(text)))
        text += f"{name} "
        if draw(st.booleans()):
            said.append((name, fact, len(text) - len(name) - 1, len(text)))
        text += f"{fact}. "
    return text, names, said


def add(ledger: Ledger, number: int, made: tuple) -> None:
    text, names, said = made
    types = {
        "Ann Lee": "PERSON",
        "Lee": "PERSON",
        "Acme Corp": "ORGANIZATION",
        "AC": "ORGANIZATION",
        "Oslo": "LOCATION",
    }
    mentions = [Mention(n, types.get(n, "OTHER"), number, at, at + len(n)) for n, at in names if n in types or " " in n]
    statements = [
        Statement(Span(number, subject, subject + len(name)), fact, number, at, at + len(fact))
        for name, fact, subject, at in said
    ]
    ledger.add(text, mentions, statements)


@settings(max_examples=150, deadline=None)
@given(st.lists(message(), max_size=6), st.integers(0, 6))
def test_a_ledger_is_a_fold_that_only_grows(messages, cut):
    whole, grown, sources = Ledger(), Ledger(), []
    for number, made in enumerate(messages):
        add(whole, number, made)
        if number == cut:
            grown = Ledger.from_dict(json.loads(json.dumps(grown.to_dict())))
        add(grown, number, made)
        now = [list(fact.sources) for fact in whole.facts]
        assert all(after[: len(before)] == before for before, after in zip(sources, now, strict=False))
        assert len(now) >= len(sources)
        sources = now
    assert whole == grown
    for fact in whole.facts:
        for span in fact.sources:
            assert messages[span.message][0][span.start : span.end]
        assert (fact.closed is None) == (fact.closed_in is None)
        if fact.closed is not None:
            assert fact.closed_in is not None and whole.facts[fact.closed].sources[0].message == fact.closed_in
    current = [(fact.entity, fact.attribute) for fact in whole.current() if fact.attribute is not None]
    assert len(current) == len(set(current))


@settings(max_examples=150, deadline=None)
@given(st.lists(message(), min_size=1, max_size=6), st.lists(message(), min_size=1, max_size=3), st.data())
def test_messages_that_are_taken_back_leave_no_trace(messages, others, data):
    """An open window is read again: the last messages are taken back and others come in their place."""
    expected, revised = Ledger(), Ledger()
    for number, made in enumerate(messages):
        add(expected, number, made)
        add(revised, number, made)
        first = data.draw(st.integers(0, number + 1))
        kept = [known.as_entity(True) for known in revised.entities], revised.as_facts()
        for later, other in enumerate(others, number + 1):
            add(revised, later, other)
        revised.rewind(first)
        for again in range(first, number + 1):
            add(revised, again, messages[again])
        assert revised == expected and revised.said == expected.said
        assert ([known.as_entity(True) for known in revised.entities], revised.as_facts()) == kept
        assert [known.messages for known in revised.entities] == [known.messages for known in expected.entities]
    revised.settle(len(messages))
    with pytest.raises(IndexError, match="settled"):
        revised.rewind(len(messages) - 1)
