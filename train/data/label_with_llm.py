"""Rows of the extraction schema from any texts, labelled by a language model: served, or one that runs here.

    python -m train.data.label_with_llm texts.jsonl --output mine-train.parquet --url URL --model NAME
    python -m train.data.label_with_llm texts.jsonl --output mine-train.parquet --local FOLDER_OR_HUB_ID

A text that is longer than `--words` gives several rows, `ID#0`, `ID#1` and so on. The model names entities and facts,
word for word; an answer with mistakes goes back to it with what is wrong. Before it asks, the script says what that may
cost. Finished rows stand in `OUTPUT.partial.jsonl`, so that a run that broke off goes on where it was, and another run
asks only about what failed.

Labels of a model are as good as the model: look at some of them. Its terms may restrict what its answers may train.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm
from transformers import AutoTokenizer

from eval.readers import causal_lm, openai_compatible
from eval.readers.base import Answer
from eval.readers.prompt import heard
from reet_hf.budget import TokenCounter, resolve_counter
from train.data import extraction_schema, labelling, texts
from train.data.labelling import Dialogue, Message
from train.data.schema import Record, write
from train.data.texts import Text, at_least, counted

CHARACTERS_PER_TOKEN = 4  # where no tokenizer of the model is known
OUTPUT_PER_WORD = 4  # tokens of an answer for each word of its text: assumed, not measured
LOST_IN_A_ROW = 20  # failed calls after which the rest is not tried
SHOWN = 20  # failed rows that are named
MILLION = 1_000_000


class Model(Protocol):
    """What answers conversations."""

    @property
    def workers(self) -> int:
        """Calls of `replies` that may run at the same time."""
        ...

    @property
    def batch(self) -> int:
        """Conversations that one call answers."""
        ...

    def replies(self, conversations: Sequence[Sequence[Message]]) -> list[Answer]:
        """The answer to each conversation, which ends with a question."""
        ...


class Served(openai_compatible.OpenAiCompatible):
    """A served model that is asked in several turns; what a failed call does is told there."""

    batch = 1

    @property
    def workers(self) -> int:
        """Calls at the same time."""
        return self.batch_size

    def replies(self, conversations: Sequence[Sequence[Message]]) -> list[Answer]:
        """See `Model`."""
        return [self.reply(list(messages), self.body, heard) for messages in conversations]


class Local(causal_lm.CausalLm):
    """A causal language model that runs here; without a chat template it goes on after the joined messages."""

    workers = 1

    @property
    def batch(self) -> int:
        """Conversations at the same time."""
        return self.batch_size

    def replies(self, conversations: Sequence[Sequence[Message]]) -> list[Answer]:
        """See `Model`."""
        return self.replied([self._tokens(messages) for messages in conversations])

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        if self.tokenizer.chat_template is None:
            return self.tokenizer("\n\n".join(message["content"] for message in messages))["input_ids"]
        return self.chat(list(messages))


@dataclass
class Finished:
    """The labels of texts that are done, kept in a file as they come.

    Args:
        path: A file of JSON lines `{id, digest, entities, facts}`; a line that a crash cut is passed over.
        model: Name of the model; labels of another one, or for another prompt, are not these.
    """

    path: Path
    model: str

    def __post_init__(self) -> None:
        self.known: dict[tuple[str, str], dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    kept = json.loads(line)
                    self.known[kept["id"], kept["digest"]] = {name: kept[name] for name in ("entities", "facts")}
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, text: Text) -> dict[str, Any] | None:
        """`entities` and `facts` of a text, if it is done."""
        return self.known.get((text.id, self._digest(text)))

    def add(self, text: Text, labels: labelling.Labels) -> None:
        """Keeps the labels of a text; they are in the file when this returns."""
        digest = self._digest(text)
        kept = {"entities": labels.entities, "facts": labels.facts}
        self.known[text.id, digest] = kept
        with self.path.open("a+b") as file:
            cut = file.seek(0, 2) and (file.seek(-1, 2), file.read(1))[1] != b"\n"
            line = json.dumps({"id": text.id, "digest": digest, **kept})
            file.write(("\n" if cut else "").encode() + line.encode() + b"\n")

    def row(self, text: Text) -> Record:
        """The row of a text that is done."""
        source = f"{text.source}, labelled by {self.model}"
        return {"id": text.id, "source": source, "license": text.license, "text": text.text, **(self.get(text) or {})}

    def _digest(self, text: Text) -> str:
        told = json.dumps([text.text, self.model, labelling.PROMPT, labelling.AGAIN])
        return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Estimate:
    """What asking once about each text takes.

    Attributes:
        calls: One for each text; every repetition comes on top.
        input_tokens: Of the questions, without what a chat format adds.
        output_tokens: Of the answers, assumed.
        counting: How tokens were counted.
        price: US dollars; `None` if the prices are not known.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    counting: str
    price: float | None

    def __str__(self) -> str:
        price = "no price is known: give --price-in and --price-out" if self.price is None else f"${self.price:,.2f}"
        return (
            f"calls: {self.calls:,}, and more where an answer has mistakes\n"
            f"input tokens: {self.input_tokens:,} ({self.counting})\n"
            f"output tokens: {self.output_tokens:,} (assumed: {OUTPUT_PER_WORD} for each word of text, at most "
            f"--max-new-tokens)\n"
            f"price without repetitions: {price}"
        )


def estimate(waiting: Sequence[Text], options: argparse.Namespace) -> Estimate:
    """What asking about the texts that are not done yet takes."""
    counter = counter_of(options)
    asked = [labelling.question(text.text)["content"] for text in waiting]
    if counter is None:
        counted_in = sum(-(-len(question) // CHARACTERS_PER_TOKEN) for question in asked)
        counting = f"no tokenizer of {options.model!r} is at hand: estimated at {CHARACTERS_PER_TOKEN} characters each"
    else:
        counted_in = sum(counter.counts(asked))
        counting = f"counted with {'its tokenizer' if options.local else counter.name}"
    counted_out = sum(min(options.max_new_tokens, OUTPUT_PER_WORD * len(text.text.split())) for text in waiting)
    price = None
    if options.price_in is not None:
        price = (counted_in * options.price_in + counted_out * options.price_out) / MILLION
    return Estimate(len(waiting), counted_in, counted_out, counting, price)


def counter_of(options: argparse.Namespace) -> TokenCounter | None:
    """What counts the tokens of the model, if that is known."""
    if options.local:
        try:
            return resolve_counter(AutoTokenizer.from_pretrained(options.local))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"--local must be a Hub id that can be downloaded or a folder with a model, but is {options.local!r} "
                f"({error}): download it first where there is no network"
            ) from error
    try:
        import tiktoken

        return resolve_counter(tiktoken.encoding_for_model(options.model))
    except (ImportError, KeyError, ValueError, OSError):  # not installed, not known, or its vocabulary out of reach
        return None


def model_of(options: argparse.Namespace) -> Model:
    """The model that the options name."""
    if options.local:
        lm = causal_lm.build(options.local, max_new_tokens=options.max_new_tokens, batch_size=options.batch_size)
        return Local(lm.model, lm.tokenizer, lm.name, lm.revision, lm.max_new_tokens, None, lm.batch_size)
    reader = openai_compatible.build(
        options.url,
        options.model,
        options.api_key_env,
        options.timeout,
        options.retries,
        options.concurrency,
        options.max_new_tokens,
        options.body,
    )
    return Served(reader.client, reader.model, reader.body, reader.batch_size)


def dialogues(waiting: Sequence[Text], model: Model, attempts: int) -> Iterator[Dialogue]:
    """The finished conversation about each text, in the order in which they end.

    When `LOST_IN_A_ROW` calls have failed one after the other, the rest is left out.
    """
    batches = [waiting[first : first + model.batch] for first in range(0, len(waiting), model.batch)]
    workers = ThreadPoolExecutor(model.workers)
    lost = 0
    try:
        futures = [workers.submit(labelling.label, batch, model.replies, attempts) for batch in batches]
        for future in tqdm(as_completed(futures), total=len(futures), unit="batch", disable=None):
            for dialogue in future.result():
                lost = lost + 1 if dialogue.lost else 0
                yield dialogue
            if lost >= LOST_IN_A_ROW:
                return
    finally:
        workers.shutdown(cancel_futures=True)


def ask(waiting: Sequence[Text], model: Model, attempts: int, finished: Finished) -> list[Dialogue]:
    """The conversations about the texts; the labels of those that ended well are in `finished`."""
    ended = []
    for dialogue in dialogues(waiting, model, attempts):
        if dialogue.labels is not None:
            finished.add(dialogue.text, dialogue.labels)
        ended.append(dialogue)
    return ended


def report(ended: Sequence[Dialogue], asked: int) -> str:
    """How the conversations went, a few lines: repetitions, dropped items, failed rows with their reasons."""
    failed = [dialogue for dialogue in ended if dialogue.labels is None]
    again = sum(max(dialogue.calls - 1, 0) for dialogue in ended)
    dropped = sum(len(dialogue.labels.problems) for dialogue in ended if dialogue.labels is not None)
    lines = [f"asked again: {again:,}", f"dropped items: {dropped:,}", f"failed rows: {len(failed):,}"]
    lines += [f"  {dialogue.text.id}: {dialogue.error}" for dialogue in failed[:SHOWN]]
    lines += [f"  and {len(failed) - SHOWN:,} more"] * (len(failed) > SHOWN)
    if len(ended) < asked:
        lines.append(
            f"stopped: the last {LOST_IN_A_ROW} calls failed, {counted(asked - len(ended), 'text')} not asked about; "
            "run the same command again when the model answers"
        )
    return "\n".join(lines)


def parsed(arguments: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser and what the command line says.

    Raises:
        SystemExit: With status 2, after the mistake is told.
    """
    parser = argparse.ArgumentParser(description="Label texts with entities and facts by a language model.")
    texts.add_options(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="address of an OpenAI-compatible API, such as http://localhost:8000/v1")
    where.add_argument("--local", help="Hub id or folder of a causal language model that runs here")
    parser.add_argument("--model", help="name of the model at --url")
    parser.add_argument(
        "--api-key-env",
        default="OPENAI_API_KEY",
        help="environment variable with the key; '' for a server without one (default: %(default)s)",
    )
    parser.add_argument("--body", type=_object, help="further fields of each request at --url, as a JSON object")
    for name, least, default, told in (
        ("--words", 1, 250, "most words of a piece"),
        ("--attempts", 1, 3, "how often the model may be asked about a piece"),
        ("--max-new-tokens", 1, 2048, "most tokens of an answer"),
        ("--concurrency", 1, 4, "calls at the same time"),
        ("--retries", 0, 4, "how often a call that failed is made again"),
        ("--batch-size", 1, 8, "texts at a time with --local"),
    ):
        parser.add_argument(name, type=at_least(least), default=default, help=f"{told} (default: %(default)s)")
    parser.add_argument("--timeout", type=at_least(1.0), default=120.0, help="seconds (default: %(default)s)")
    parser.add_argument("--price-in", type=at_least(0.0), help="US dollars for a million input tokens")
    parser.add_argument("--price-out", type=at_least(0.0), help="US dollars for a million output tokens")
    parser.add_argument("--estimate", action="store_true", help="only say what it would take")
    parser.add_argument("--yes", action="store_true", help="do not ask before calling the model")
    options = parser.parse_args(arguments)
    if bool(options.url) != bool(options.model):
        parser.error("--model must be given with --url and only with it: it names the model at the server")
    if (options.price_in is None) != (options.price_out is None):
        parser.error("--price-in and --price-out must be given together: add the missing one, 0 if it costs nothing")
    return parser, options


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when the parquet file is written, 1 when it is not; a mistake exits with 2 and says which."""
    parser, options = parsed(arguments)
    try:
        return _run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _run(options: argparse.Namespace) -> int:
    read = texts.read(options.input, options.limit, options.license)
    pieces = texts.distinct([piece for text in read for piece in texts.pieces(text, options.words)])
    name = options.model or Path(options.local).name
    finished = Finished(Path(f"{options.output}.partial.jsonl"), name)
    waiting = [text for text in pieces if finished.get(text) is None]
    print(f"{counted(len(read), 'text')} in {counted(len(pieces), 'piece')}, {len(waiting):,} of them to ask about")
    if waiting or options.estimate:
        print(estimate(waiting, options))
    if options.estimate:
        return 0
    if waiting:
        if not (options.yes or _confirmed()):
            print("nothing was asked; --yes goes on without this question")
            return 1
        ended = ask(waiting, model_of(options), options.attempts, finished)
        print(report(ended, len(waiting)))
        if len(ended) < len(waiting):
            return 1
    done = [text for text in pieces if finished.get(text) is not None]
    if not done:
        print(f"{options.output} was not written: no text was labelled")
        return 1
    rows, entities, facts = write((finished.row(text) for text in done), options.output, extraction_schema.EXTRACTION)
    print(f"{options.output}: {rows} rows, {entities} entities, {facts} facts")
    return 0


def _confirmed() -> bool:
    try:
        return input("Ask the model now? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _object(value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(
            f"""must be a JSON object, but is {value!r}: write it like '{{"temperature": null}}'"""
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
