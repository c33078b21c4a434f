"""How SCBench scores what a reader said (github.com/microsoft/MInference, scbench/compute_scores.py, 9987de63).

One `score` for each question; in the two mixed tasks it is called after what was asked for (`summary`, `passkey`,
`repoqa`, `kv`), as the original reports them apart. What is peculiar to the original and kept:

- `scbench_qa_eng`: 1 if the gold answer stands in what was said, letter case left aside; no F1.
- `scbench_qa_chn`: the gold answer is a string, of which each character is taken as an acceptable answer of its own. So
  beside the original's `score` there is `f1`, that of the whole answer.
- `scbench_many_shot`: the gold answer is the letter of an option, and any such letter in what was said counts.
- `scbench_choice_eng`: a first letter from A to D is the answer, whatever it begins.
- `scbench_vt`: rounded to two digits.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from eval.tasks.scbench_functions import described

LETTERS = "ABCD"
_FLAT = str.maketrans(dict.fromkeys("\n\"'.,?!{}", " "))
_MARKS = ("answer is:", "answer:", "answer is", "option is")
_CHINESE = (  # the punctuation that is left out of Chinese answers, beside that of ASCII
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation + _CHINESE)

Row = Mapping[str, Any]
Question = Mapping[str, Any]


def grade(row: Row, question: Question, said: str) -> dict[str, float]:
    """The original's score, in [0, 1]; higher is better."""
    task = question["task"]
    name = "score" if task == row["task"] else task.removeprefix("scbench_")
    found = {name: float(_GRADES[task](row, question, said))}
    if task == "scbench_qa_chn":
        found["f1"] = characters_f1(question["answers"][0], said)
    return found


def stands(row: Row, question: Question, said: str) -> bool:
    """Whether the gold answer stands in what was said, letter for letter."""
    return question["gold"] in said


def stands_in_any_case(row: Row, question: Question, said: str) -> bool:
    """Whether the gold answer stands in what was said, letter case left aside."""
    return question["gold"].upper() in said.strip().upper()


def option_letter(row: Row, question: Question, said: str) -> bool:
    """Whether a letter of the gold answer stands anywhere in what was said, letter case left aside."""
    return any(letter.upper() in said.upper() for letter in question["gold"])


def share(row: Row, question: Question, said: str) -> float:
    """Share of the wanted names that stand in what was said, letter case left aside, to two digits."""
    names = question["gold"]
    return round(sum(name.lower() in said.lower() for name in names) / len(names), 2)


def chosen(row: Row, question: Question, said: str) -> bool:
    """Whether the right option was chosen: by its letter at the beginning, as a whole, behind words such as "answer
    is:", or by the first word that is a letter or a run of letters from A to D."""
    right = (question["gold"], LETTERS[question["options"].index(question["gold"])])
    said = said.strip()
    if not said:
        return False
    if said[0] in LETTERS:
        return said[0] in right
    if said in right:
        return True
    said = re.sub(" {2,}", " ", said.translate(_FLAT))
    for mark in _MARKS:
        if mark in said:
            return said[said.index(mark) + len(mark) + 1 :].startswith(right)
    return next((word in right for word in said.split() if word in LETTERS), False)


def best_of_characters(row: Row, question: Question, said: str) -> float:
    """The best F1 of what was said with any single character of the gold answer."""
    return max((characters_f1(character, said) for character in question["gold"]), default=0.0)


def characters_f1(gold: str, said: str) -> float:
    """F1 over the characters of two Chinese texts without punctuation and white space; 0 if one has none."""
    wanted, given = (list("".join(text.lower().translate(_NO_PUNCTUATION).split())) for text in (gold, said))
    common = (Counter(wanted) & Counter(given)).total()
    return 2 * common / (len(wanted) + len(given)) if common else 0.0


def first_number(row: Row, question: Question, said: str) -> bool:
    """Whether the first number that was said is the gold one; a whole one is compared without what is behind the
    point."""
    number = re.search(r"\d+\.\d+|\d+", said)
    if number is None:
        return False
    value = float(number.group())
    return (int(value) if isinstance(question["gold"], int) else value) == question["gold"]


def first_digits(row: Row, question: Question, said: str) -> bool:
    """Whether the first run of digits that was said is the gold one."""
    gold = question["gold"]
    digits = re.search(r"[0-9]+", said)
    return (gold[0] if isinstance(gold, list) else gold) == (digits.group() if digits else "")


def rouge(row: Row, question: Question, said: str) -> float:
    """F1 of ROUGE-L over the lines of a summary, words not stemmed."""
    return _rouge().score(question["gold"], said)["rougeLsum"].fmeasure


def function(row: Row, question: Question, said: str) -> bool:
    """Whether what was said is the described function rather than another one, see `described`."""
    needles: Sequence[tuple[str, str]] = [(each["name"], each["function"]) for each in row["needles"]]
    return described(said, question["name"], needles, row["lang"])


@lru_cache(maxsize=1)
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as missing:
        raise ImportError("ROUGE is computed by the package rouge-score: pip install rouge-score") from missing
    return RougeScorer(["rougeLsum"], use_stemmer=False)


_GRADES: dict[str, Callable[[Row, Question, str], float]] = {
    "scbench_kv": stands,
    "scbench_prefix_suffix": stands,
    "scbench_vt": share,
    "scbench_repoqa": function,
    "scbench_qa_eng": stands_in_any_case,
    "scbench_qa_chn": best_of_characters,
    "scbench_choice_eng": chosen,
    "scbench_many_shot": option_letter,
    "scbench_summary": rouge,
    "scbench_mf": first_number,
    "scbench_passkey": first_digits,
}
