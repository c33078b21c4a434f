"""LongMemEval's judge: whether a reader that generates finds an answer right, asked in the benchmark's own words.

After `src/evaluation/evaluate_qa.py` of xiaowu0162/LongMemEval, commit f466efe: a prompt for each type of question and
one for questions without an answer, ten tokens, and a verdict that has "yes" in it is a yes. The original's judge is
gpt-4o-2024-08-06; with another one the accuracy is not the published kind.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType

from eval.readers.base import Answer, Prompt, Reader, asked_once
from reet_hf.errors import ReetError

MAX_NEW_TOKENS = 10

_BEGIN = "I will give you a question, a correct answer, and a response from a model. Please answer yes if the response "
_CONTAINS = _BEGIN + "contains the correct answer. Otherwise, answer no. "
_WHOLE = (
    _CONTAINS + "If the response is equivalent to the correct answer or contains all the intermediate steps to get the "
    "correct answer, you should also answer yes. If the response only contains a subset of the information required by "
    "the answer, answer no. "
)
_DAYS = (
    "In addition, do not penalize off-by-one errors for the number of days. If the question asks for the number of "
    "days/weeks/months, etc., and the model makes off-by-one errors (e.g., predicting 19 days when the answer is 18), "
    "the model's response is still correct. "
)
_UPDATE = (
    _CONTAINS + "If the response contains some previous information along with an updated answer, the response should "
    "be considered as correct as long as the updated answer is the required answer."
)
_RUBRIC = (
    "I will give you a question, a rubric for desired personalized response, and a response from a model. Please "
    "answer yes if the response satisfies the desired response. Otherwise, answer no. The model does not need to "
    "reflect all the points in the rubric. The response is correct as long as it recalls and utilizes the user's "
    "personal information correctly."
)
_UNANSWERABLE = (
    "I will give you an unanswerable question, an explanation, and a response from a model. Please answer yes if the "
    "model correctly identifies the question as unanswerable. The model could say that the information is incomplete, "
    "or some other information is given but the asked information is not."
)
_CORRECT = "Is the model response correct? Answer yes or no only."
_IDENTIFIED = "Does the model correctly identify the question as unanswerable? Answer yes or no only."

ABSTENTION = "abstention"
ASKED = MappingProxyType(  # what the judge is told, what the gold answer is called, what the judge is asked
    {
        "single-session-user": (_WHOLE, "Correct Answer", _CORRECT),
        "single-session-assistant": (_WHOLE, "Correct Answer", _CORRECT),
        "multi-session": (_WHOLE, "Correct Answer", _CORRECT),
        "temporal-reasoning": (_WHOLE + _DAYS, "Correct Answer", _CORRECT),
        "knowledge-update": (_UPDATE, "Correct Answer", _CORRECT),
        "single-session-preference": (_RUBRIC, "Rubric", _CORRECT),
        ABSTENTION: (_UNANSWERABLE, "Explanation", _IDENTIFIED),
    }
)


def judge_prompt(kind: str, question: str, gold: str, said: str) -> Prompt:
    """What the judge is asked about one answer.

    Args:
        kind: Type of the question, `"abstention"` for one without an answer whatever its type.
        question: The question.
        gold: Its answer; a rubric of `single-session-preference`, an explanation of `abstention`.
        said: What is judged.

    Raises:
        ReetError: If the type is unknown.
    """
    if kind not in ASKED:
        raise ReetError(f"`kind` must be one of {', '.join(ASKED)}, got {kind!r}.")
    told, called, asked = ASKED[kind]
    return asked_once(
        f"{told}\n\nQuestion: {question}\n\n{called}: {gold}\n\nModel Response: {said}\n\n{asked}", MAX_NEW_TOKENS
    )


def judgements(judge: Reader, prompts: Sequence[Prompt]) -> list[Answer]:
    """What the judge says to each prompt of `judge_prompt`, or why the call failed; `verdict` reads it.

    Raises:
        ReetError: If the judge is no reader that generates.
    """
    if not judge.generates:
        raise ReetError(f"`judge` must be a reader that generates, got {judge.name}; take causal_lm.")
    return judge.said(prompts)


def verdict(judgement: Answer) -> float | None:
    """1 if the judge said yes, 0 if it did not, `None` if the call failed."""
    return None if judgement.error is not None else float("yes" in judgement.text.lower())


@lru_cache(maxsize=1)
def appointed(model: str, url: str = "") -> Reader:
    """The judge: a causal language model by Hub id or folder, or one that is served at `url`."""
    reader = importlib.import_module(f"eval.readers.{'openai_compatible' if url else 'causal_lm'}")
    return reader.build(url, model) if url else reader.build(model)
