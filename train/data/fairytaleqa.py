"""Rows from FairytaleQA: questions that education experts asked about fairy tales.

Source: `WorkInTheDark/FairytaleQA` on the Hub, whose text is in lower case with spaces around punctuation,
without the sections that no question is about; or a clone of https://github.com/uci-soe/FairytaleQAData,
which has the tales as they were written, all sections and all answers. Licence: Apache-2.0. Paper: Xu et
al., "Fantastic Questions and Where to Find Them: FairytaleQA - An Authentic Dataset for Narrative
Comprehension", ACL 2022, https://arxiv.org/abs/2203.13947.

A row is a tale, one message per section. The evidence of a question is its section, or several. An answer
that stands there word for word makes the question extractive; otherwise it is abstractive.

    python -m train.data.fairytaleqa --split train --output fairytaleqa-train.parquet
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from train.data import command, sources, spans
from train.data.schema import Record, document

SOURCE = "WorkInTheDark/FairytaleQA"
LICENSE = "Apache-2.0"
_ORIGINAL = "data-by-train-split/questions/{split}/*-questions.csv"
_ANSWERS = tuple(f"answer{number}" for number in range(1, 7))


def load(split: str, source: str = SOURCE) -> Iterator[Record]:
    """The records of a split: `{story_name, story_section, question, answer1, answer2}` and some labels.

    Those of a clone also have `answer3` to `answer6`, and `sections`: all sections of the tale in order.

    Args:
        split: "train", "validation" or "test".
        source: A Hub id, its CSV file or their folder, a clone of the original or the URL of its archive.
    """
    path = sources.local(source)
    if path is None:
        yield from sources.hub(source, split, converted=True)
        return
    for file in sources.files(path, split, _ORIGINAL, "{split}.csv"):
        yield from _original(file) if file.name.endswith("-questions.csv") else _read_csv(file)


def rows(records: Iterable[Record], split: str = "train") -> Iterator[Record]:
    """The rows of the records, which come tale by tale.

    Args:
        records: As `load` yields them.
        split: Goes into the ids.
    """
    for name, group in groupby(records, key=itemgetter("story_name")):
        tale = list(group)
        sections = _sections(tale)
        questions = [_question(record, sections) for record in tale]
        yield {
            "id": f"fairytaleqa-{split}-{name}",
            "source": SOURCE,
            "license": LICENSE,
            "messages": [document(section) for section in sections],
            "questions": sorted(questions, key=lambda question: question["evidence"][0]["message"]),
        }


def _question(record: Record, sections: list[str]) -> Record:
    inside = [index for index, section in enumerate(sections) if section in record["story_section"]]
    answers, places = [], []
    for answer in filter(None, ((record.get(field) or "").strip() for field in _ANSWERS)):
        wording, place = _place(answer, inside, sections)
        answers.append(wording)
        places += [place] if place else []
    return {
        "question": record["question"].strip(),
        "answers": list(dict.fromkeys(answers)),
        "kind": "extractive" if places else "abstractive",
        "answer_spans": spans.unique(places),
        "evidence": [spans.whole(index, sections[index]) for index in inside],
    }


def _place(answer: str, inside: list[int], sections: list[str]) -> tuple[str, spans.Span | None]:
    """The answer and where it stands first; without its full stop if only so it stands anywhere."""
    for wording in dict.fromkeys((answer, answer.rstrip(" ."))):
        for index in inside:
            if border := spans.locate(sections[index], wording):
                return wording, spans.span(index, border)
    return answer, None


def _sections(tale: list[Record]) -> list[str]:
    """The sections of a tale in order.

    On the Hub a question about several sections has them joined. What such a text has besides the sections
    that other questions are about is a section too, and stands before the known one that follows it there.
    """
    if "sections" in tale[0]:
        return list(tale[0]["sections"])
    texts = list(dict.fromkeys(record["story_section"].strip() for record in tale))
    sections = [text for text in texts if not any(other in text for other in texts if other != text)]
    for text in texts:
        rest, after = text, 0
        for section in sorted((one for one in sections if one in text), key=text.index):
            if section in rest:
                before, _, rest = rest.partition(section)
                _insert(sections, sections.index(section), before.strip())
                after = sections.index(section) + 1
        _insert(sections, after, rest.strip())
    return sections


def _insert(sections: list[str], index: int, text: str) -> None:
    # Without a letter it is a quotation mark or the like at the seam of two sections.
    if text not in sections and any(map(str.isalpha, text)):
        sections.insert(index, text)


def _original(questions: Path) -> Iterator[Record]:
    """The records of one tale of a clone, where a question names its sections by numbers like "2, 6"."""
    name = questions.name.removesuffix("-questions.csv")
    story = questions.parents[2] / "section-stories" / questions.parent.name / f"{name}-story.csv"
    sections = {record["section"].strip(): record["text"].strip() for record in _read_csv(story)}
    for record in _read_csv(questions):
        text = "\n".join(sections[number.strip()] for number in record["cor_section"].split(","))
        yield {**record, "story_name": name, "story_section": text, "sections": list(sections.values())}


def _read_csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


if __name__ == "__main__":
    sys.exit(command.run(load, rows, SOURCE))
