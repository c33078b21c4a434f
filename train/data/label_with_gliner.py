"""Rows of the extraction schema from any texts: entities that a GLiNER finds, without facts.

GLiNER (Zaratiana et al., arXiv:2311.08526) takes the names of the types it shall look for; `--labels` says which names
it gets, and which of our types each stands for.

    python -m train.data.label_with_gliner texts.jsonl --output mine-train.parquet --model urchade/gliner_medium-v2.1
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.align import parts
from eval.revision import unavailable
from eval.systems.gliner_entities import stretches
from reet_hf.errors import ReetError
from reet_hf.modeling.configuration_reet import TYPES
from train.data import extraction_schema, texts
from train.data.schema import Record, write
from train.data.spans import Border
from train.data.texts import Text

LABELS = {
    "person": "PERSON",
    "organization": "ORGANIZATION",
    "location": "LOCATION",
    "date": "DATE",
    "number": "NUMBER",
    "event": "EVENT",
    "creative work": "WORK",
    "product": "PRODUCT",
}
TEXTS = 32  # whose stretches are sorted into batches together
BATCH = 8


def rows(given: Iterable[Text], model: Any, name: str, labels: Mapping[str, str], threshold: float) -> Iterator[Record]:
    """The row of each text, in order.

    Args:
        given: The texts; each is read in runs of whole sentences that the model takes at once.
        model: The loaded GLiNER.
        name: Of the model; it goes into `source`.
        labels: From what the model is asked for to the type in the row.
        threshold: Chance from which on a span is an entity.
    """
    waiting = iter(given)
    while group := list(islice(waiting, TEXTS)):
        places = [_stretches(text.text, model.config.max_len) for text in group]
        asked = [text.text[start:end] for text, own in zip(group, places, strict=True) for start, end in own]
        found = iter(model.inference(asked, list(labels), threshold=threshold, batch_size=BATCH))
        for text, own in zip(group, places, strict=True):
            marked = [
                ((start + one["start"], start + one["end"]), labels[one["label"]], (one["text"], one["label"]))
                for start, _ in own
                for one in next(found)
            ]
            yield {
                "id": text.id,
                "source": f"{text.source}, labelled by {name}",
                "license": text.license,
                "text": text.text,
                "entities": extraction_schema.entities(marked),
                "facts": [],
            }


def load(model: str) -> Any:
    """The GLiNER of a Hub id or a folder.

    Raises:
        ReetError: If the package is missing or the weights cannot be had.
    """
    try:
        from gliner import GLiNER
    except ImportError as error:
        raise ReetError("GLiNER needs its package: pip install 'gliner>=0.2.29'") from error
    try:
        return GLiNER.from_pretrained(model).eval()
    except OSError as error:
        raise unavailable(model, error) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status, 0, once the parquet file is written; a mistake exits with status 2 and says which."""
    parser = argparse.ArgumentParser(description="Label texts with the entities that a GLiNER finds.")
    texts.add_options(parser)
    parser.add_argument("--model", required=True, help="Hub id or folder of a GLiNER")
    parser.add_argument(
        "--labels",
        type=_labels,
        default=LABELS,
        help="what the model is asked for, each with our type: person=PERSON,city=LOCATION "
        f"(default: {','.join(f'{asked}={own}' for asked, own in LABELS.items())})",
    )
    parser.add_argument("--threshold", type=_share, default=0.5, help="lowest chance (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        read = texts.read(options.input, options.limit, options.license)
        model, name = load(options.model), Path(options.model).name
        built = rows(tqdm(read, unit="text", disable=None), model, name, options.labels, options.threshold)
        count, entities, _ = write(built, options.output, extraction_schema.EXTRACTION)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{options.output}: {count} rows, {entities} entities")
    return 0


def _stretches(text: str, most: int) -> list[Border]:
    """Half-open characters of what the model reads at once: whole sentences, but for one that is too long alone."""
    found: list[Border] = []
    for start, end in texts.runs(text, most, lambda part: len(parts(part))):
        last = start
        for piece in stretches(text[start:end], most):
            first = text.index(piece, last)
            last = first + len(piece)
            found.append((first, last))
    return found


def _labels(value: str) -> dict[str, str]:
    found = {}
    for pair in value.split(","):
        asked, _, own = (part.strip() for part in pair.partition("="))
        if not asked or own not in TYPES or asked in found:
            raise argparse.ArgumentTypeError(
                f"must be different labels with one of {', '.join(TYPES)} each, but has {pair!r}: write person=PERSON"
            )
        found[asked] = own
    return found


def _share(value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, but is {value!r}: 0.5 is usual")
    return found


if __name__ == "__main__":
    sys.exit(main())
