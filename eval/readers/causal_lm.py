"""Any causal language model as a reader, by Hub id or folder; it decodes greedily."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from eval.readers.base import Answer, Prompt, Reader
from eval.readers.prompt import PROMPT, ended, heard, prompt, thought
from reet_hf.errors import ReetError

PLAIN_END = "\nAnswer:"  # where a model without a chat template goes on
SLACK = 16  # tokens that a text cut in two may take more than its halves


class CausalLm(Reader):
    """A causal language model that goes on after a prompt.

    In 32-bit floats a batch gives the answers of one call after the other; in 16 bits the padding of a batch can turn
    a close choice.

    Args:
        model: On its device, in evaluation mode.
        tokenizer: Its chat template is used if it has one.
        name, revision, batch_size: See `Reader`.
        max_new_tokens: Most tokens of an answer; a longer one ends there.
        max_tokens: Most tokens of prompt and answer together, if fewer than the model has positions.
    """

    generates = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        revision: str,
        max_new_tokens: int = 32,
        max_tokens: int | None = None,
        batch_size: int = 8,
    ) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self.name, self.revision, self.batch_size = name, revision, batch_size
        self.options = {"prompt": PROMPT, "max_new_tokens": max_new_tokens, "max_tokens": max_tokens}
        self.max_new_tokens = max_new_tokens
        self.limit = _limit(model, tokenizer, max_tokens)
        if not 0 < max_new_tokens < self.limit:
            raise ReetError(
                f"`max_new_tokens` must be at least 1 and leave room for a prompt within {self.limit} tokens, got "
                f"{max_new_tokens}; lower it, or raise `max_tokens` if that is the limit."
            )
        fillers = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.filler = next(token for token in fillers if token is not None)
        model.generation_config = GenerationConfig(  # the model's own one may sample or punish repetition
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=model.generation_config.eos_token_id or tokenizer.eos_token_id,
            pad_token_id=self.filler,
        )

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[Answer]:
        return self.replied([self._encode(question, text) for question, text in asked])

    def replied(self, encoded: Sequence[list[int]]) -> list[Answer]:
        """The answers to prompts of token ids; without a chat template the first line of what the model says."""
        said = self._generated(encoded, self.max_new_tokens)
        if self.tokenizer.chat_template is None:
            said = [replace(each, text=each.text.strip().partition("\n")[0]) for each in said]
        return [each if each.error is not None else heard(each.text) for each in said]

    def said(self, prompts: Sequence[Prompt]) -> list[Answer]:
        found: dict[int, Answer] = {}
        lengths = {each.max_new_tokens for each in prompts}
        for length in sorted(lengths):
            numbers = [number for number, each in enumerate(prompts) if each.max_new_tokens == length]
            encoded = [self._written(prompts[number]) for number in numbers]
            found |= zip(numbers, self._generated(encoded, length), strict=True)
        return [self._spoken(found[number], each) for number, each in enumerate(prompts)]

    def _spoken(self, answer: Answer, asked: Prompt) -> Answer:
        if answer.error is not None:
            return answer
        told = thought(answer.text)
        return replace(told, text=ended(told.text, asked.stop))

    def _generated(self, encoded: Sequence[list[int]], length: int) -> list[Answer]:
        """What the model says after each prompt; a failure where prompt and answer do not fit."""
        found = dict.fromkeys(range(len(encoded)), self._too_long(length))
        fitting = [number for number, tokens in enumerate(encoded) if len(tokens) + length <= self.limit]
        for start in range(0, len(fitting), self.batch_size):
            numbers = fitting[start : start + self.batch_size]
            said = self._generate([encoded[number] for number in numbers], length)
            found |= zip(numbers, map(Answer, said), strict=True)
        return list(found.values())

    def _too_long(self, length: int) -> Answer:
        return Answer(
            error=f"the prompt is too long: {self.name} takes {self.limit} tokens at most, {length} of them for the "
            "answer"
        )

    def _encode(self, question: str, text: str) -> list[int]:
        """Token ids of the prompt, whole however long it is."""
        asked = prompt(question, text)
        if self.tokenizer.chat_template is None:
            return self.tokenizer(asked + PLAIN_END)["input_ids"]
        return self.chat([{"role": "user", "content": asked}])

    def _written(self, asked: Prompt) -> list[int]:
        """Token ids of a benchmark's prompt, without the middle of what is too long if the benchmark says so.

        As LongBench and SCBench do it, the text is cut before the chat template is put around it, to what the model
        takes without the answer.
        """
        messages = [dict(message) for message in asked.messages]
        if asked.plain or self.tokenizer.chat_template is None:
            text = "\n".join(message["content"] for message in messages) + asked.begins
            tokens, room = self.tokenizer(text)["input_ids"], self.limit - asked.max_new_tokens
            return tokens if asked.cut is None or len(tokens) <= room else _without_middle(tokens, room)
        tokens = self.chat(messages, asked.begins)
        over = len(tokens) + asked.max_new_tokens - self.limit
        if over <= 0 or asked.cut is None:
            return tokens
        longest = max(messages, key=lambda message: len(message["content"]))
        content = self.tokenizer(longest["content"], add_special_tokens=False)["input_ids"]
        shorter: Any = self.tokenizer.decode(_without_middle(content, len(content) - over - SLACK))
        longest["content"] = shorter
        return self.chat(messages, asked.begins)

    def chat(self, messages: list[dict[str, str]], begins: str = "") -> list[int]:
        """Token ids of a chat in the model's template, with what the answer begins with behind it."""
        chat: Any = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # templates that know no such thing ignore it
        )
        return self.tokenizer(chat + begins, add_special_tokens=False)["input_ids"]

    @torch.inference_mode()
    def _generate(self, encoded: list[list[int]], length: int) -> list[str]:
        """What the model says after each prompt, `length` tokens at most."""
        width = max(len(tokens) for tokens in encoded)
        filled = [[self.filler] * (width - len(tokens)) + tokens for tokens in encoded]
        mask = [[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in encoded]
        device = self.model.device
        made = self.model.generate(
            input_ids=torch.tensor(filled, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=length,
        )
        return self.tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)


def _without_middle(tokens: list[int], room: int) -> list[int]:
    """The first and the last tokens, as many as there is room for, as LongBench (arXiv:2308.14508) cuts what is too
    long."""
    if room <= 0:
        return []
    return tokens[: room // 2] + tokens[len(tokens) - (room - room // 2) :]


def _limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> int:
    """How many tokens the model takes; a model without such a number in its configuration has its tokenizer's."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
    return positions if max_tokens is None else min(positions, max_tokens)


def _revision(model: PreTrainedModel, place: str) -> str:
    """The commit on the Hub, or for a folder a digest of its files."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit:
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(place).iterdir() if path.is_file()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def build(
    model: str,
    revision: str | None = None,
    max_new_tokens: int = 32,
    max_tokens: int | None = None,
    batch_size: int = 8,
    device: str | None = None,
) -> CausalLm:
    """The reader, in the precision of its checkpoint and on the GPU if there is one.

    Args:
        model: Hub id or folder.
        revision: Branch, tag or commit on the Hub.
        max_new_tokens, max_tokens, batch_size: See `CausalLm`.
        device: Where else it runs.
    """
    loaded = AutoModelForCausalLM.from_pretrained(model, revision=revision, dtype="auto").eval()
    loaded.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
    name = Path(model).name
    return CausalLm(loaded, tokenizer, name, _revision(loaded, model), max_new_tokens, max_tokens, batch_size)
