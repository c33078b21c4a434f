"""What is protected: the last turns, system messages, tagged text and what regexes find, in bounded time."""

from __future__ import annotations

import re
import time
from contextvars import copy_context

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from reet_hf.conversation import ROLES, Conversation, parse_messages
from reet_hf.deadlines import no_deadline, set_deadline
from reet_hf.defaults import checked_defaults, recent_spans, system_spans, tagged_roles, tagged_spans
from reet_hf.errors import DeadlineError, ReetError
from reet_hf.protection import _compiled, protected_spans, protection_rules
from reet_hf.records import Span
from reet_hf.segmentation import units

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def talk(*told: tuple[str, str]) -> Conversation:
    """A conversation of roles and texts; an assistant's empty message calls a tool."""
    messages = []
    for role, text in told:
        message = {"role": role, "content": text}
        if role == "assistant" and not text:
            message["tool_calls"] = [CALL]
        if role == "tool":
            message["tool_call_id"] = "c"
        messages.append(message)
    return Conversation(parse_messages(messages))


def numbers(spans: list[Span]) -> list[int]:
    return [span.message for span in spans]


AGENT = talk(
    ("system", "Be brief."),
    ("assistant", "Hello!"),
    ("user", "First."),
    ("assistant", "Done."),
    ("developer", "Now in French."),
    ("user", "Second."),
    ("assistant", ""),
    ("tool", "42"),
)


@pytest.mark.parametrize(
    ("turns", "expected"),
    [(0, []), (1, [5, 6, 7]), (2, [2, 3, 5, 6, 7]), (3, [1, 2, 3, 5, 6, 7]), (99, [1, 2, 3, 5, 6, 7])],
)
def test_a_turn_begins_at_a_user_message_and_ends_before_the_next(turns, expected):
    spans = recent_spans(AGENT, turns)
    assert numbers(spans) == expected
    assert all((span.start, span.end) == (0, len(AGENT.messages[span.message].text)) for span in spans)


def test_documents_have_no_turns():
    assert recent_spans(Conversation(parse_messages([{"role": "document", "content": "Text."}])), 3) == []
    assert recent_spans(Conversation(), 1) == []


def test_what_is_said_before_a_user_speaks_is_a_turn():
    assert numbers(
        recent_spans(talk(("system", "Go."), ("assistant", ""), ("tool", "1"), ("assistant", "Ok.")), 1)
    ) == [
        1,
        2,
        3,
    ]


def test_system_and_developer_messages():
    assert numbers(system_spans(AGENT)) == [0, 4]


@given(st.lists(st.sampled_from(ROLES), max_size=12), st.integers(0, 5))
def test_the_last_turns_are_in_those_of_more(roles, turns):
    conversation = Conversation(parse_messages([{"role": role, "content": "x"} for role in roles]))
    fewer, more = set(recent_spans(conversation, turns)), set(recent_spans(conversation, turns + 1))
    assert fewer <= more
    users = sum(conversation.messages[span.message].role == "user" for span in fewer)
    assert users <= turns
    assert all(conversation.messages[n].role not in ("system", "developer", "document") for n in numbers(list(more)))


def test_tags_mark_text_in_trusted_messages_alone():
    text = "Say <keep>always A</keep> and <keep></keep>B <keep>C\n</keep>"
    conversation = talk(("system", text), ("user", text), ("user", "a </keep> of no one"))
    spans = tagged_spans(conversation, ["system"])
    assert [conversation.messages[s.message].text[s.start : s.end] for s in spans] == ["always A", "C\n"]
    assert numbers(spans) == [0, 0]
    assert tagged_spans(conversation, []) == [] == tagged_spans(conversation, "developer")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a <keep>b", ["character 2", "</keep> after"]),
        ("a </keep>", ["character 2", "closes nothing"]),
        ("<keep>a <keep>b</keep></keep>", ["character 8", "inside the one of character 0"]),
        ("<keep>a</keep></keep>", ["character 14", "closes nothing"]),
    ],
)
def test_tags_that_do_not_pair_are_named(text, said):
    conversation = talk(("user", "Hi."), ("system", text))
    with pytest.raises(ReetError, match="`keep_tags`: message 1 .system.") as caught:
        tagged_spans(conversation, ["system"])
    assert all(part in str(caught.value) for part in said)
    assert tagged_spans(conversation, ["user"]) == []


@given(st.lists(st.sampled_from(["<keep>", "</keep>", "a ", "<", "keep>"]), max_size=8).map("".join))
def test_tagged_text_holds_no_tag_or_the_tags_are_refused(text):
    conversation = talk(("user", text))
    try:
        spans = tagged_spans(conversation, ["user"])
    except ReetError:
        return
    assert text.count("<keep>") == text.count("</keep>") >= len(spans)
    for span in spans:
        inner = text[span.start : span.end]
        assert inner and "<keep>" not in inner and "</keep>" not in inner
        assert text[: span.start].endswith("<keep>") and text[span.end :].startswith("</keep>")


@pytest.mark.parametrize("good", [(None, None, ()), (0, True, ["user"]), (3, False, "system"), (1, True, {"tool"})])
def test_options_that_are_taken(good):
    checked_defaults(*good)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ((True, True, ()), "`keep_recent`.*True"),
        ((-1, True, ()), "`keep_recent`.*-1"),
        ((1.0, True, ()), "`keep_recent`.*1.0"),
        (("1", True, ()), "`keep_recent`.*'1'"),
        ((1, "yes", ()), "`keep_system`.*'yes'"),
        ((1, 1, ()), "`keep_system`.*1"),
        ((1, True, ["robot"]), "`keep_tags`.*robot"),
        ((1, True, "robot"), "`keep_tags`.*robot"),
        ((1, True, None), "`keep_tags`.*None"),
        ((1, True, [["user"]]), "`keep_tags`"),
        ((1, True, 5), "`keep_tags`.*5"),
    ],
)
def test_options_that_are_refused(wrong, named):
    with pytest.raises(ReetError, match=named):
        checked_defaults(*wrong)


def test_a_role_is_named_once():
    assert tagged_roles("user") == ("user",) == tagged_roles(["user", "user"])


BACKTRACKING = {
    r"(a|aa)+$": "a" * 60 + "!",
    r"(?:a+){2,}b": "a" * 4000,
    r"(a+)+$": "a" * 50 + "!",
    r"(\w+\s?)*$": "word " * 30 + "!",
    r"(x+x+)+y": "x" * 300,
    r".*.*.*.*=.*": "x" * 3000,
    r"(?:(?:a|b)|(?:a|ab))*c": "ab" * 60,
}


@pytest.mark.parametrize("pattern", BACKTRACKING)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_regex_ends_in_time_or_is_named(pattern, compiled, monkeypatch):
    monkeypatch.setattr("reet_hf.protection.SECONDS", 0.2)
    conversation = talk(("user", BACKTRACKING[pattern]), ("assistant", BACKTRACKING[pattern]))
    found = units(conversation, "word")
    begun = time.thread_time()
    try:
        protected_spans(conversation, found, [re.compile(pattern) if compiled else pattern])
    except ReetError as error:
        assert all(part in str(error) for part in ("`protect`", repr(pattern), "seconds", "on message "))
    assert time.thread_time() - begun < 2


def test_a_regex_that_matches_much_in_much_text_is_no_slow_one():
    conversation = talk(*[("user", "the visa expires in June. " * 200)] * 40)
    found = units(conversation, "sentence")
    begun = time.thread_time()
    assert len(protected_spans(conversation, found, [r"\b[a-m]\w*"])) == 40 * 200 * 2
    assert time.thread_time() - begun < 5


SAME = [
    *(r"\d{2,3}", r"a{,2}b", r"{e}", r"x{e}", r"(?:ab){i<=1}", r"a{}", r"{1", r"[[:alpha:]]+", r"[][a]+", r"[^]a]+"),
    *(
        r"[\]x{e}]+",
        r"\{2}",
        r"(?#[{e})b",
        r"\N{LATIN SMALL LETTER A}",
        r"(?i)A{1,2}",
        r"^b|c$",
        r"(?m)^b",
        r"(?x) a # [{e}",
    ),
    *(r"(?P<n>a)(?P=n)", r"(?=a)a", r"(?<!a)b", r"", r"\b", r"a*", r"a|", r".", r"(?s).+", r"(?a:\w+)", r"[a-z--b]+"),
]


@pytest.mark.parametrize("pattern", SAME)
def test_regexes_mean_what_they_mean_to_re(pattern):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own, theirs = _compiled(pattern), re.compile(pattern)
    for text in ("aab{e}x{e} a{} {1 :alph]a 22 333\nb c\nABba", "x", "{2} aa{i<=1} [b]-", "é É a\nb\n"):
        spans = [[m.span() for m in each.finditer(text) if m.end() > m.start()] for each in (own, theirs)]
        assert spans[0] == spans[1], pattern


FLAGS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x"}


@settings(deadline=None)
@given(
    st.text("ab{}[]()|?*+.,^$\\d1:-!", max_size=10),
    st.text("ab{}[]1:-!", max_size=20),
    st.sampled_from([0, *FLAGS]),
)
@pytest.mark.filterwarnings("ignore")
def test_any_regex_finds_what_re_finds_or_is_refused(pattern, text, flags):
    try:
        theirs = re.compile(pattern, flags)
    except (re.error, RecursionError, OverflowError):
        with pytest.raises(ReetError, match="neither a role nor a valid regex"):
            protection_rules([f"(?{FLAGS[flags]}){pattern}" if flags else pattern])
        return
    try:
        own = _compiled(theirs)
    except ReetError:
        return
    expected = [m.span() for m in theirs.finditer(text) if m.end() > m.start()]
    assert [m.span() for m in own.finditer(text) if m.end() > m.start()] == expected


@pytest.mark.parametrize(
    "wrong",
    ["(", "a{2,1}", "(" * 5000, r"\p{Lu}", "a{99999999999999}", "((a{1000}){1000}){1000}", re.compile(b"a")],
)
def test_regexes_that_cannot_be_used_are_refused_before_anything_is_computed(wrong):
    with pytest.raises(ReetError, match="`protect`"):
        protection_rules([wrong])


def test_patterns_of_regex_are_taken_as_they_are():
    conversation = talk(("user", "Ann met Bob."))
    found = units(conversation, "word")
    assert numbers(protected_spans(conversation, found, regex.compile(r"\p{Lu}\w+"))) == [0, 0]


def test_more_spans_are_protected_like_those_of_rules():
    found = units(AGENT, "sentence")
    spans = recent_spans(AGENT, 1)
    assert protected_spans(AGENT, found, [], spans) == protected_spans(AGENT, found, spans)
    assert numbers(protected_spans(AGENT, found, ["system"], spans)) == [0, 5, 6, 7]


@given(st.text("ab. \n", max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_every_character_of_a_unit_that_was_asked_for_is_protected(text, places):
    conversation = talk(("user", text))
    rules = [(0, min(a, len(text)), min(max(a, b), len(text))) for a, b in places]
    for unit in ("word", "sentence"):
        found = units(conversation, unit)
        spans = protected_spans(conversation, found, rules)
        wanted = {place for _, start, end in rules for place in range(start, end)}
        inside = {place for each in found for place in range(each.start, each.end)}
        assert {place for span in spans for place in range(span.start, span.end)} == wanted & inside
        assert all(any(each.span.contains(span) for each in found) for span in spans)


def test_rules_end_at_the_deadline_of_whoever_asked():
    conversation = talk(("user", "the visa expires in June."))
    found = units(conversation, "word")

    def late():
        set_deadline(time.monotonic() - 1.0)
        with no_deadline():
            assert protected_spans(conversation, found, ["visa"])
        with pytest.raises(DeadlineError):
            protected_spans(conversation, found, ["visa"])

    copy_context().run(late)
    assert protected_spans(conversation, found, ["visa"])
