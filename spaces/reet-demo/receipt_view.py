"""What became of it all, in figures and in a table: tokens, the answer to look for, names, numbers, constraints."""

from __future__ import annotations

from answers import known_answer, survives
from markup import broken, note, percent, shown, table, tile, tiles
from reply import Reply

HEADINGS = {"dropped": "left out", "in_ledger": "in the ledger only", "kept": "kept"}
MOST_ROWS = 1000


def summary(reply: Reply) -> str:
    """The figures of one compression."""
    tokens, receipt = reply.result["tokens"], reply.result["receipt"]
    share = tokens["compressed"] / tokens["original"] if tokens["original"] else 0.0
    figures = [
        tile(f"{tokens['original']:,} → {tokens['compressed']:,}", f"tokens, budget {tokens['budget']:,}"),
        tile(percent(share), "of the tokens kept"),
    ]
    answer = known_answer(reply.query, reply.texts)
    if answer:
        found = survives(answer, reply.texts, reply.kept)
        figures.append(tile("kept" if found else "lost", f"“{answer}”", f"answer {'good' if found else 'bad'}"))
    counts = " · ".join(f"{len(receipt[heading]):,}" for heading in ("kept", "in_ledger", "dropped"))
    figures.append(tile(counts, "names and values kept · in the ledger only · left out"))
    taken = f"{reply.seconds:.1f} s" if reply.seconds >= 0.1 else f"{1000 * reply.seconds:.0f} ms"
    figures.append(tile(taken, "to choose, as it was read before" if reply.read_before else "to read and choose"))
    return tiles(*figures)


def receipt_table(reply: Reply) -> str:
    """A row for each name, number, date and constraint."""
    receipt = reply.result["receipt"]
    rows = [
        [HEADINGS[heading], shown(mention["type"].lower()), broken(shown(mention["text"])), str(mention["message"] + 1)]
        for heading in HEADINGS
        for mention in receipt[heading]
    ]
    if not rows:
        return note("No names, numbers or constraints were found.")
    cut = f", the first {MOST_ROWS:,} of them" if len(rows) > MOST_ROWS else ""
    caption = f"What became of each of {len(rows):,} names, numbers, dates and constraints{cut}; No. is the message"
    body = table(caption, ["Outcome", "Type", "Text", "No."], rows[:MOST_ROWS])
    return f'<div class="reet">{body}</div>'
