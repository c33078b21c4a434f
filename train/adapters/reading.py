"""Windows for extractive reading as compressors leave texts: sentences are missing, sometimes words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.readers.extractive import QUERY_TOKENS
from reet_hf.budget import resolve_counter
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.lexicon import WORD, word_identity
from reet_hf.records import Span
from reet_hf.rendering import render_text
from reet_hf.segmentation import units, words
from reet_hf.windows import query_tokens, special_frame

KEEP_RATES = (1.0, 1.0, 0.6, 0.3)  # shares of the sentences that are shown, each as likely
WORD_CHANCE = 0.15  # of a window in which words are missing as well
WORD_RATE = 0.6  # share of the words that such a window shows
LABEL_TOKENS = 3  # of a speaker label with its line break, on average
KINDS = ("extractive", "state", "latest_value", "unanswerable")
Example = dict[str, Any]


class ReadingContext:
    """A context as sentences, from which texts like those of compressors are made.

    Args:
        row: A row of the multi-turn schema.
        tokenizer: The encoder's fast tokenizer.
    """

    def __init__(self, row: Mapping[str, Any], tokenizer: Any) -> None:
        self.conversation = Conversation(parse_messages(row["messages"]))
        self.sentences = [unit.span for unit in units(self.conversation, "sentence")]
        own: list[list[tuple[int, int]]] = [[] for _ in self.conversation.messages]
        for span in self.sentences:
            own[span.message].append((span.start, span.end))
        texts = [message.text for message in self.conversation.messages]
        self.costs = resolve_counter(tokenizer).costs(texts, own) + LABEL_TOKENS
        self.words = [_identities(self.text(span)) for span in self.sentences]

    def text(self, span: Span) -> str:
        """The characters of a span."""
        return self.conversation.messages[span.message].text[span.start : span.end]

    def holding(self, spans: Sequence[Span]) -> list[int]:
        """Numbers of the sentences that share a character with one of the spans."""
        return [number for number, own in enumerate(self.sentences) if any(own.overlaps(span) for span in spans)]

    def closest(self, question: str, without: Sequence[int]) -> int | None:
        """The sentence, of those not in `without`, that shares most words with the question."""
        asked, left_out = _identities(question), set(without)
        rest = [number for number in range(len(self.sentences)) if number not in left_out]
        return max(rest, key=lambda number: len(asked & self.words[number]), default=None)

    def stretch(
        self, centre: Sequence[int], without: Sequence[int], room: int, chooser: np.random.Generator
    ) -> list[Span]:
        """Sentences around those of `centre`, some left out, of about `room` tokens; none of `without` is among them.

        Args:
            centre: Consecutive sentences that are there in any case.
            without: Sentences that are left out.
            room: Tokens of the encoder's tokenizer.
            chooser: Of the sentences.
        """
        shown = chooser.random(len(self.sentences)) < chooser.choice(KEEP_RATES)
        shown[list(without)] = False
        shown[list(centre)] = True
        places = np.flatnonzero(shown)
        ends = np.cumsum(self.costs[places])
        first = int(np.searchsorted(places, centre[0]))
        free = max(room - int(self.costs[list(centre)].sum()), 0)
        start = int(ends[first] - self.costs[centre[0]]) - int(chooser.integers(free + 1))
        low = int(np.searchsorted(ends - self.costs[places], start))
        base = int(ends[low - 1]) if low else 0
        high = max(int(np.searchsorted(ends, base + room, side="right")), first + len(centre))
        return [self.sentences[place] for place in places[low:high].tolist()]

    def thinned(self, spans: Sequence[Span], answer: Span | None, chooser: np.random.Generator) -> list[Span]:
        """Words of the spans, some left out, but none of the answer's."""
        found = []
        for span in spans:
            for start, end in words(self.text(span)):
                word = Span(span.message, span.start + start, span.start + end)
                if (answer and word.overlaps(answer)) or chooser.random() < WORD_RATE:
                    found.append(word)
        return found

    def place(self, spans: Sequence[Span], answer: Span) -> tuple[int, int] | None:
        """Characters of the answer in the rendered spans, `None` if they do not hold all of it side by side."""
        before = [span for span in spans if (span.message, span.start) < (answer.message, answer.start)]
        if before and before[-1].message == answer.message:
            before[-1] = Span(answer.message, before[-1].start, min(before[-1].end, answer.start))
        opened = [*before, Span(answer.message, answer.start, answer.start + 1)]
        start = len(render_text(self.conversation, opened)) - 1
        end = start + answer.end - answer.start
        rendered = render_text(self.conversation, spans)
        return (start, end) if rendered[start:end] == self.text(answer) else None


def read_examples(
    row: Mapping[str, Any], tokenizer: Any, sizes: tuple[int, int], negatives: float, chooser: np.random.Generator
) -> list[Example]:
    """For each question a window that holds an answer and, by chance, one that holds none.

    Args:
        row: A context with the questions to ask; those without an answer in the text are passed over.
        tokenizer: The encoder's fast tokenizer.
        sizes: Fewest and most tokens of a window, question and special tokens included.
        negatives: Chance of a window without the answer; an unanswerable question always gets one.
        chooser: Of the windows.
    """
    context = ReadingContext(row, tokenizer)
    examples: list[Example | None] = []
    for question in row["questions"]:
        answers = [Span(span["message"], span["start"], span["end"]) for span in question["answer_spans"]]
        if question["kind"] not in KINDS or not context.sentences or (question["answers"] and not answers):
            continue
        asked = query_tokens(question["question"], tokenizer, QUERY_TOKENS)[0]
        room = int(chooser.integers(sizes[0], sizes[1] + 1)) - len(asked) - 1
        if answers:
            examples.append(_with_answer(context, asked, answers, room, tokenizer, chooser))
        if not answers or (chooser.random() < negatives and question["kind"] != "latest_value"):
            examples.append(_without_answer(context, question, asked, room, tokenizer, chooser))
    return [example for example in examples if example is not None]


def _with_answer(
    context: ReadingContext,
    asked: list[int],
    answers: Sequence[Span],
    room: int,
    tokenizer: Any,
    chooser: np.random.Generator,
) -> Example | None:
    answer = answers[int(chooser.integers(len(answers)))]
    centre = context.holding([answer])
    if not centre:
        return None
    spans = context.stretch(centre, (), room, chooser)
    if chooser.random() < WORD_CHANCE:
        spans = context.thinned(spans, answer, chooser)
    place = context.place(spans, answer)
    return None if place is None else _example(asked, render_text(context.conversation, spans), place, room, tokenizer)


def _without_answer(
    context: ReadingContext,
    question: Mapping[str, Any],
    asked: list[int],
    room: int,
    tokenizer: Any,
    chooser: np.random.Generator,
) -> Example | None:
    """Half of these windows lie around the sentence closest to the question; the answer's words stand in none."""
    spans = [Span(span["message"], span["start"], span["end"]) for span in question["answer_spans"]]
    without = context.holding(spans)
    rest = sorted(set(range(len(context.sentences))) - set(without))
    if not rest:
        return None
    closest = context.closest(question["question"], without) if chooser.random() < 0.5 else None
    centre = int(chooser.choice(rest)) if closest is None else closest
    kept = context.stretch([centre], without, room, chooser)
    text = render_text(context.conversation, kept)
    if any(answer.lower() in text.lower() for answer in question["answers"]):
        return None
    return _example(asked, text, None, room, tokenizer)


def _example(asked: list[int], text: str, place: tuple[int, int] | None, room: int, tokenizer: Any) -> Example | None:
    """A window with the tokens of its answer, `[CLS]` where it has none; `None` if the answer does not fit in.

    All of it is one segment: PEFT's models for question answering pass no `token_type_ids` on.
    """
    encoding = tokenizer([text], add_special_tokens=False, verbose=False).encodings[0]
    ids, after = list(encoding.ids[:room]), special_frame(tokenizer)[1]
    first = last = -len(asked)
    if place is not None:
        found = [encoding.char_to_token(place[0]), encoding.char_to_token(place[1] - 1)]
        if None in found or found[1] >= len(ids):
            return None
        first, last = found
    return {
        "input_ids": [*asked, *ids, *after],
        "start_positions": len(asked) + first,
        "end_positions": len(asked) + last,
    }


def _identities(text: str) -> set[int]:
    return {word_identity(match.group()) for match in WORD.finditer(text)} - {0}
