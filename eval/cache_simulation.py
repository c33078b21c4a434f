"""What a long agent run costs with a prompt cache, by how its history is kept short: python -m eval.cache_simulation

Every assistant message of a made-up run is one request; its prompt is what a system makes of all messages before. Tool
definitions, which never change, are left out. A provider's prompt cache is simulated as OpenAI documents its own: of
the longest beginning that a prompt shares with the one before, whole blocks of 128 tokens from 1,024 tokens on are
read from the cache and billed at a part of the price. Identifiers that the next call needs and that are still in the
prompt tell what was lost.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tqdm.auto import tqdm

from eval import records
from eval.agents.histories import VERSION, AgentRun, agent_run
from eval.revision import revision
from eval.systems.lexrank import LexRank
from eval.systems.reet import scorer as load_scorer
from eval.tables import table
from reet_hf.budget import TokenCounter, resolve_counter
from reet_hf.compressor import Compressor
from reet_hf.conversation import Conversation, parse_messages
from reet_hf.errors import ReetError
from reet_hf.prefix import REBASE_TO, Prefix
from reet_hf.recall import TOOL, merged, recalled
from reet_hf.records import Omission, Turn
from reet_hf.registration import DEFAULT_MODEL, bundled_model
from reet_hf.scoring.scorer import Scorer, TokenScores
from reet_hf.state import State

Messages = list[dict[str, Any]]
FILE = records.FOLDER / "agent" / "cache.json"
BLOCK, LEAST = 128, 1024  # tokens: what is cached as a whole, and the shortest beginning that is cached at all
SUMMARY, RECENT = 0.15, 0.25  # shares of the budget: the summary, and the last messages that stay beside it
NOTE = "Summary of the conversation so far:\n"


class Prompts:
    """Requests as tokens of one tokenizer: every message with role, content and calls."""

    def __init__(self, tokenizer: Any) -> None:
        def encoded(text: str) -> np.ndarray:
            return np.array(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)

        self._ids = lru_cache(maxsize=None)(encoded)
        self.counter = replace(resolve_counter(tokenizer), chat=self.count, source=self)

    def tokens(self, messages: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """All tokens of a request."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self._ids(written(message)) for message in messages)])

    def count(self, messages: Sequence[Mapping[str, Any]], tools: Any = None, /) -> int:
        """How many they are."""
        return sum(len(self._ids(written(message))) for message in messages)


def written(message: Mapping[str, Any]) -> str:
    """One message as text."""
    calls = message.get("tool_calls")
    told = json.dumps(calls, ensure_ascii=False) if calls else ""
    return f"<{message['role']} {message.get('tool_call_id', '')}>\n{content(message)}\n{told}\n"


def content(message: Mapping[str, Any]) -> str:
    """The text of a message."""
    own = message.get("content") or ""
    return own if isinstance(own, str) else "\n".join(part["text"] for part in own if part["type"] == "text")


def cached(before: np.ndarray, prompt: np.ndarray) -> int:
    """Tokens of a prompt that are read from the cache after `before` was sent."""
    size = min(len(before), len(prompt))
    differ = np.flatnonzero(before[:size] != prompt[:size])
    same = int(differ[0]) if len(differ) else size
    return same // BLOCK * BLOCK if same >= LEAST else 0


class System(Protocol):
    """Keeps the history of a run short."""

    rebases: int

    def view(self, messages: Messages) -> Messages:
        """What is sent of the messages so far; they only grow from call to call."""


@dataclass
class Full:
    """Everything; in the end far more than the budget."""

    rebases: int = 0

    def view(self, messages: Messages) -> Messages:
        return messages


@dataclass
class Window:
    """The last messages that fit: whole turns go first, in the last turn calls with their results."""

    count: Callable[[Messages], int]
    limit: int
    first: int = 0
    rebases: int = 0

    def view(self, messages: Messages) -> Messages:
        before = self.first
        kept = windowed(messages, self.limit, self.count)
        self.first = len(messages) - len(kept)
        self.rebases += self.first != before
        return kept


def windowed(messages: Messages, limit: int, count: Callable[[Messages], int]) -> Messages:
    """System messages and the last of the others that fit, in whole turns if one fits."""
    head = [message for message in messages if message["role"] == "system"]
    rest = messages[len(head) :]
    room = limit - count(head)
    sizes = [count([message]) for message in rest]
    after = np.cumsum(sizes[::-1])[::-1] if sizes else np.zeros(0, dtype=np.int64)
    starts = [place for place, message in enumerate(rest) if message["role"] == "user"]
    for place in starts:
        if after[place] <= room:
            return [*head, *rest[place:]]
    last = starts[-1] if starts else 0
    for place in range(last + 1, len(rest)):
        if rest[place]["role"] == "assistant" and after[place] + sizes[last] <= room:
            return [*head, rest[last], *rest[place:]]
    return [*head, *rest[last : last + 1]]


@dataclass
class Summary:
    """At the limit everything but the last messages becomes one short text of its most central sentences.

    LexRank stands in for a model that summarises: it costs nothing and repeats identifiers as they were, but chooses
    by what is said most often.
    """

    count: Callable[[Messages], int]
    limit: int
    counter: TokenCounter
    note: Messages = field(default_factory=list)
    first: int = 0
    rebases: int = 0

    def view(self, messages: Messages) -> Messages:
        head = [message for message in messages if message["role"] == "system"]
        self.first = max(self.first, len(head))
        sent = [*head, *self.note, *messages[self.first :]]
        if self.count(sent) <= self.limit:
            return sent
        kept = windowed(messages[self.first :], round(RECENT * self.limit), self.count)
        last = len(messages) - len(kept)
        if kept and kept[0]["role"] == "user" and messages[last]["role"] != "user":
            last += 1  # the question of the turn stands alone; it goes into the summary's message
            kept = kept[1:]
        old = [*self.note, *messages[self.first : last]]
        asked = next((content(m) for m in reversed(messages[:last]) if m["role"] == "user"), "")
        compressor = Compressor(LexRank(), self.counter)
        conversation = Conversation((parse_messages([{"role": "document", "content": plain(old)}])), "text")
        text = compressor.compress(conversation, budget=round(SUMMARY * self.limit), unit="sentence").text
        self.note = [{"role": "user", "content": f"{NOTE}{text}\n\n{asked}"}]
        self.first = last
        self.rebases += 1
        return [*head, *self.note, *messages[self.first :]]


def plain(messages: Messages) -> str:
    """Messages as one text."""
    return "\n".join(written(message) for message in messages)


class Memo:
    """A scorer that answers the same question about the same messages once."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._known: dict[str | None, TokenScores] = {}

    def encode(self, conversation: Conversation, state: Any = None) -> Any:
        self._known.clear()
        return self.scorer.encode(conversation, state)

    def score(self, state: Any, query: str | None, history: Sequence[Turn]) -> TokenScores:
        if query not in self._known:
            self._known[query] = self.scorer.score(state, query, history)
        return self._known[query]

    def load(self, arrays: dict[str, np.ndarray], conversation: Conversation) -> Any:
        return self.scorer.load(arrays, conversation)


@dataclass
class Reader:
    """A run that grows, read once."""

    compressor: Compressor
    state: State = field(default_factory=lambda: State(Conversation()))

    def at(self, messages: Messages) -> State:
        """The state of the run so far."""
        known = self.state.conversation
        if len(messages) > len(known.messages) or self.state.scored is None:
            fresh = parse_messages(messages[len(known.messages) :])
            self.state = self.compressor.encode(known.extend(fresh), self.state if known.messages else None)
        return self.state


@dataclass
class Reet:
    """Compressed anew for every request, or with `rebase_to` as a prefix that stays.

    Attributes:
        reader: Of the run; systems that see the same messages may share one.
        limit: The budget in tokens.
        asks: Whether the last message of the user is the question; without one any later turn may come.
        rebase_to: See `reet_hf.prefix.step`.
        recall: Tokens of what was left out that are brought back for each message of the user, as a call of the recall
            tool and its result behind it; they stay there as any other message.
    """

    reader: Reader
    limit: int
    asks: bool = True
    rebase_to: float | None = None
    recall: int = 0
    prefix: Prefix = field(default_factory=Prefix)
    omitted: tuple[Omission, ...] = ()
    messages: Messages = field(default_factory=list)
    seen: int = 0
    rebases: int = 0
    last: Messages = field(default_factory=list)

    def view(self, messages: Messages) -> Messages:
        for message in messages[self.seen :]:
            self.messages.append(message)
            if self.recall and message["role"] == "user" and content(message).strip():
                self._bring_back(content(message))
        self.seen = len(messages)
        compressor, state = self.reader.compressor, self.reader.at(self.messages)
        query = last_user(state.conversation) if self.asks else None
        if self.rebase_to is None:
            sent = self._anew(compressor, state, query)
            self.rebases += sent[: len(self.last)] != self.last
            self.last = sent
            return sent
        made, self.prefix, told = compressor.compress_stable(
            state, query, (), self.prefix, self.rebase_to, budget=self.limit
        )
        self.rebases, self.omitted = told.rebases, made.omitted
        return [dict(message) for message in made.messages]

    def _anew(self, compressor: Compressor, state: State, query: str | None) -> Messages:
        try:
            made = compressor.compress_turn(state, query, (), budget=self.limit, protect=[-1])
        except ReetError:
            made = compressor.compress_turn(state, query, (), budget=self.limit)
        return [dict(message) for message in made.messages]

    def _bring_back(self, query: str) -> None:
        spans = [span for each in self.omitted for span in each.spans if not self._is_recall(span.message)]
        if not spans:
            return
        state, options = self.reader.at(self.messages), {"unit": "sentence"}
        text = recalled(self.reader.compressor, state, merged(spans), query, (), self.recall, options)["text"]
        if text:
            name = f"recall_{len(self.messages)}"
            function = {"name": TOOL, "arguments": json.dumps({"query": query}, ensure_ascii=False)}
            call = {"id": name, "type": "function", "function": function}
            self.messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            self.messages.append({"role": "tool", "tool_call_id": name, "content": text})

    def _is_recall(self, number: int) -> bool:
        return str(self.messages[number].get("tool_call_id", "")).startswith("recall_")


def last_user(conversation: Conversation) -> str | None:
    """The last message of a user."""
    return next((m.text for m in reversed(conversation.messages) if m.role == "user" and m.text.strip()), None)


@dataclass
class Tally:
    """What a system did in one run."""

    prompt: int = 0
    cached: int = 0
    longest: int = 0
    needed: int = 0
    there: int = 0
    requests: int = 0
    rebases: int = 0
    seconds: float = 0.0

    def add(self, before: np.ndarray, prompt: np.ndarray, sent: Messages, identifiers: Sequence[str]) -> None:
        """Count one request."""
        self.requests += 1
        self.prompt += len(prompt)
        self.cached += cached(before, prompt)
        self.longest = max(self.longest, len(prompt))
        text = "\n".join(visible(message) for message in sent)
        self.needed += len(identifiers)
        self.there += sum(identifier in text for identifier in identifiers)

    def __add__(self, other: Tally) -> Tally:
        sums = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        return Tally(**{**sums, "longest": max(self.longest, other.longest)})

    def record(self, factor: float) -> dict[str, Any]:
        """The figures; cached tokens are billed at `factor`."""
        return {
            "cache_hit_share": round(self.cached / max(self.prompt, 1), 4),
            "survival": round(self.there / max(self.needed, 1), 4),
            "billed_tokens": round(self.prompt - self.cached + factor * self.cached),
            "prompt_tokens": self.prompt,
            "longest_prompt": self.longest,
            "rebases": self.rebases,
            "seconds_per_request": round(self.seconds / max(self.requests, 1), 3),
        }


def visible(message: Mapping[str, Any]) -> str:
    """What a model can read of a message: content and arguments of calls."""
    calls = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
    return "\n".join([content(message), *calls])


def simulate(run: AgentRun, systems: Mapping[str, System], prompts: Prompts) -> dict[str, Tally]:
    """What each system does in all requests of one run."""
    needed: dict[int, list[str]] = defaultdict(list)
    for use in run.uses:
        needed[use.message].append(use.identifier)
    tallies = {name: Tally() for name in systems}
    before = {name: np.zeros(0, dtype=np.int64) for name in systems}
    requests = [place for place, message in enumerate(run.messages) if message["role"] == "assistant" and place]
    for place in tqdm(requests, desc="requests"):
        messages = run.messages[:place]
        for name, system in systems.items():
            start = time.perf_counter()
            sent = system.view(messages)
            tallies[name].seconds += time.perf_counter() - start
            prompt = prompts.tokens(sent)
            tallies[name].add(before[name], prompt, sent, needed[place])
            before[name] = prompt
    for name, system in systems.items():
        tallies[name].rebases = system.rebases
    return tallies


def systems_of(prompts: Prompts, scorer: Scorer, limit: int, said: argparse.Namespace) -> dict[str, System]:
    """The systems that are compared, all with the same budget."""
    counter = prompts.counter
    readers = [Reader(Compressor(Memo(scorer), counter)) for _ in range(2)]
    stable = {"rebase_to": said.rebase_to, "asks": said.asks}
    small = {"rebase_to": said.rebase_to_with_recall, "asks": said.asks, "recall": said.recall}
    return {
        "no compression": Full(),
        "sliding window": Window(prompts.count, limit),
        "summary at the limit": Summary(prompts.count, limit, counter),
        "REET, every request": Reet(readers[0], limit),
        "REET, stable prefix": Reet(readers[0], limit, **stable),
        "REET, stable prefix and recall": Reet(readers[1], limit, **small),
    }


def measure(said: argparse.Namespace) -> dict[str, Any]:
    """The figures of all systems by budget, over the runs of all seeds."""
    own = load_scorer(said.model)
    sums: dict[int, dict[str, Tally]] = {limit: defaultdict(Tally) for limit in said.budgets}
    sizes = []
    for seed in said.seeds:
        prompts = Prompts(own.tokenizer)
        run = agent_run(seed, said.turns)
        sizes.append(prompts.count(run.messages))
        for limit, tallies in sums.items():
            for name, tally in simulate(run, systems_of(prompts, own, limit, said), prompts).items():
                tallies[name] += tally
    first = sums[said.budgets[0]]["no compression"]
    return {
        "model": said.model,
        "revision": revision(bundled_model(said.model)),
        "generator": VERSION,
        "seeds": said.seeds,
        "turns": said.turns,
        "history_tokens": sizes,
        "requests": first.requests,
        "identifiers": first.needed,
        "cache": {"block": BLOCK, "least": LEAST, "factor": said.factor},
        "stable_prefix": {
            name: getattr(said, name) for name in ("rebase_to", "rebase_to_with_recall", "asks", "recall")
        },
        "budgets": {
            str(limit): {name: tally.record(said.factor) for name, tally in tallies.items()}
            for limit, tallies in sums.items()
        },
        "notes": {
            "no compression": f"prompts of up to {first.longest} tokens, far beyond the budget of the others",
            "summary at the limit": "the summary is made of the most central sentences (LexRank), not by a model",
        },
        "hardware": records.hardware(1, torch.get_num_threads()),
        "packages": records.packages(("reet-hf", "torch", "transformers", "tokenizers", "numpy", "scikit-learn")),
    }


def page(record: Mapping[str, Any]) -> str:
    """A Markdown table of the figures."""
    names = ("cache_hit_share", "survival", "billed_tokens", "prompt_tokens", "rebases")
    rows = [
        [limit, system, *(str(own[name]) for name in names)]
        for limit, systems in record["budgets"].items()
        for system, own in systems.items()
    ]
    return table(["budget", "system", *(name.replace("_", " ") for name in names)], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one run each")
    parser.add_argument("--turns", type=int, default=200, help="messages of the user in a run")
    parser.add_argument("--budgets", type=int, nargs="+", default=[8000, 16000], help="tokens of a prompt")
    parser.add_argument("--factor", type=float, default=0.1, help="price of a cached token")
    parser.add_argument("--rebase_to", type=float, default=REBASE_TO, help="share of the budget after a re-base")
    parser.add_argument(
        "--rebase_to_with_recall", type=float, default=0.2, help="the same where what was left out can be recalled"
    )
    parser.add_argument("--asks", action="store_true", help="a re-base is for the last message of the user")
    parser.add_argument("--recall", type=int, default=400, help="tokens brought back for a message of the user")
    parser.add_argument("--output", type=Path, default=FILE)
    said = parser.parse_args(argv)
    record = measure(said)
    print(page(record))
    said.output.parent.mkdir(parents=True, exist_ok=True)
    said.output.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
