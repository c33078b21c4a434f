"""How tools write what they found: records in a dozen forms, and results that no later call needs anything of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from eval.agents.things import CITIES, FIRST, LAST, SERVICES, STEMS, Thing, clock, date, digits, path, word

Form = Callable[[Sequence[Thing], Random], str]

PROSE = (
    "The courier collects from the north gate on weekdays before noon.",
    "Nobody has changed the retention rules since the last audit.",
    "Seen from the roof, the harbour lights go out one after the other.",
    "Most readers skip the appendix, which is where the exceptions are.",
    "Bakers in the valley still weigh rye by the wooden measure.",
    "A queue that is never empty tells little about the speed of a worker.",
    "The museum lends its older maps only to schools of the region.",
    "Rain is expected towards the evening, with gusts on the coast.",
    "It was agreed that both teams share one calendar from next quarter on.",
    "Where two rules apply, the narrower one goes first.",
    "The second edition corrects the table of tides and adds an index.",
    "Support answers within a day, except on public holidays.",
)
FOREIGN = (
    "Köszönjük a türelmét, hamarosan válaszolunk.",
    "ご注文ありがとうございます。発送までお待ちください。",
    "Заявка принята, ожидайте ответа оператора.",
    "شكرا لكم، سنعود اليكم قريبا.",
    "🚚 sta arrivando — merci d'avance, à bientôt!",
    "Đơn hàng của bạn đang được xử lý.",
)


def as_json(value: Any, rng: Random) -> str:
    """A value as JSON, on one line or on many."""
    return json.dumps(value, ensure_ascii=False, indent=rng.choice([None, None, 2]))


def json_object(things: Sequence[Thing], rng: Random) -> str:
    """One object with the records below the name of their kind."""
    kind = things[0].kind
    found = [dict(thing.fields) for thing in things]
    return as_json({"count": len(found), kind.plural.replace(" ", "_"): found, "next_page": None}, rng)


def json_array(things: Sequence[Thing], rng: Random) -> str:
    """An array of records."""
    return as_json([dict(thing.fields) for thing in things], rng)


def json_nested(things: Sequence[Thing], rng: Random) -> str:
    """Records in an envelope, each with objects and arrays in it."""
    found: list[dict[str, Any]] = []
    for thing in things:
        kind = thing.kind
        own = (kind.key, kind.owner, kind.subject)
        rest = {name: value for name, value in thing.fields.items() if name not in own}
        links = {"self": f"/{kind.name}s/{len(found)}", "tags": rng.sample(STEMS, rng.randint(0, 3))}
        about = {kind.owner: {"name": thing.owner, "verified": rng.random() < 0.7}, kind.subject: thing.subject}
        found.append({kind.key: thing.identifier, "about": about, "details": rest, "links": links})
    envelope = {"status": 200, "took_ms": rng.randint(3, 900), "warnings": []}
    return as_json({**envelope, "data": {"items": found, "page": {"number": 1, "of": 1}}}, rng)


def json_lines(things: Sequence[Thing], rng: Random) -> str:
    """A record a line."""
    return "\n".join(json.dumps(dict(thing.fields), ensure_ascii=False) for thing in things)


def markdown_table(things: Sequence[Thing], rng: Random) -> str:
    """A table with a header."""
    head = list(things[0].fields)
    rows = [head, ["---"] * len(head), *([str(value) for value in thing.fields.values()] for thing in things)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def comma_separated(things: Sequence[Thing], rng: Random) -> str:
    """CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(things[0].fields)
    writer.writerows(thing.fields.values() for thing in things)
    return out.getvalue().rstrip("\n")


def columns(things: Sequence[Thing], rng: Random) -> str:
    """Aligned columns as of a command line tool."""
    rows = [
        [name.upper() for name in things[0].fields],
        *([str(value) for value in thing.fields.values()] for thing in things),
    ]
    widths = [max(len(row[place]) for row in rows) + 3 for place in range(len(rows[0]))]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def prose(things: Sequence[Thing], rng: Random) -> str:
    """Sentences, a few of them about nothing."""
    said = []
    for thing in things:
        kind, rest = thing.kind, list(thing.fields.items())[3:]
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in rest)
        said.append(f"{thing.owner} has the {kind.name} {thing.identifier} ({thing.subject}): {told}.")
        if rng.random() < 0.3:
            said.append(rng.choice(PROSE))
    return " ".join(said)


def blocks(things: Sequence[Thing], rng: Random) -> str:
    """A line a field, an empty line between two records."""
    return "\n\n".join("\n".join(f"{name}: {value}" for name, value in thing.fields.items()) for thing in things)


def fenced(things: Sequence[Thing], rng: Random) -> str:
    """A sentence, fenced JSON, and another sentence."""
    found = f"Found {len(things)} {things[0].kind.plural}:"
    return f"{found}\n\n```json\n{json_array(things, rng)}\n```\n\n{rng.choice(PROSE)}"


def log(things: Sequence[Thing], rng: Random) -> str:
    """Log lines, with others between that come again and again."""
    day, lines = date(rng), []
    for thing in things:
        told = " ".join(f'{name}="{value}"' for name, value in thing.fields.items())
        lines.append(f"{day}T{clock(rng)}:{rng.randint(10, 59)}Z INFO  {thing.kind.name}.seen {told}")
        lines += [f"{day}T{clock(rng)}:00Z DEBUG heartbeat ok queue=0 workers=4"] * rng.choice([0, 0, 1, 3])
    return "\n".join(lines)


def search_results(things: Sequence[Thing], rng: Random) -> str:
    """A numbered list with a title and two lines of text each."""
    found = []
    for number, thing in enumerate(things, start=1):
        rest = " · ".join(f"{name}: {value}" for name, value in list(thing.fields.items())[3:])
        head = f"{number}. {thing.owner}: {thing.subject}"
        found.append(f"{head}\n   {thing.kind.key}: {thing.identifier} · {rest}\n   {rng.choice(PROSE)}")
    return "\n".join(found)


def git_log(things: Sequence[Thing], rng: Random) -> str:
    """Commits as git shows them."""
    return "\n\n".join(
        f"commit {thing.identifier}\nAuthor: {thing.owner}\nDate:   {thing.fields['date']}\n\n    {thing.subject}"
        for thing in things
    )


def diffs(things: Sequence[Thing], rng: Random) -> str:
    """A unified diff with a file for each record."""
    return "\n".join(diff(thing.identifier, rng, f"{thing.owner}: {thing.subject}") for thing in things)


def traces(things: Sequence[Thing], rng: Random) -> str:
    """Failed requests, each with a stack trace."""
    return "\n\n".join(
        f"ERROR request {thing.identifier} of {thing.owner} failed: {thing.subject} ({thing.fields['status']})\n"
        f"{stack_trace(rng)}"
        for thing in things
    )


FORMS: tuple[Form, ...] = (
    json_object,
    json_array,
    json_nested,
    json_lines,
    markdown_table,
    comma_separated,
    columns,
    prose,
    blocks,
    fenced,
    log,
    search_results,
)
OWN_FORMS: dict[str, Form] = {"commit": git_log, "file": diffs, "request": traces}
"""Forms that only one kind of things has, by its name."""


def diff(file: str, rng: Random, about: str = "") -> str:
    """One file of a unified diff."""
    first, name = rng.randint(3, 400), rng.choice(STEMS)
    body = [f" def {name}(value):", f"-    return round(value, {rng.randint(0, 3)})"]
    body += [f"+    # {about}"] if about else []
    body += [f"+    return value.quantize({name.upper()}_STEP)", " "]
    removed, added = (sum(line[0] in signs for line in body) for signs in (" -", " +"))
    head = f"diff --git a/{file} b/{file}\nindex {word(rng, 7)}..{word(rng, 7)} 100644\n--- a/{file}\n+++ b/{file}"
    return f"{head}\n@@ -{first},{removed} +{first},{added} @@\n" + "\n".join(body)


def stack_trace(rng: Random) -> str:
    """A traceback of Python."""
    lines = ["Traceback (most recent call last):"]
    for _ in range(rng.randint(2, 5)):
        lines.append(f'  File "{path(rng)}", line {rng.randint(4, 800)}, in {rng.choice(STEMS)}')
        lines.append(f"    return {rng.choice(STEMS)}.{rng.choice(STEMS)}(value)")
    return "\n".join([*lines, f"{rng.choice(['ValueError', 'KeyError', 'TimeoutError'])}: {rng.choice(STEMS)}"])


def code(rng: Random) -> str:
    """Fenced code."""
    name, other = rng.sample(STEMS, 2)
    return (
        f"```python\ndef {name}({other}: list[int]) -> int:\n    total = 0\n    for each in {other}:\n"
        f"        if each > {rng.randint(2, 99)}:\n            total += each * {rng.randint(2, 9)}\n"
        "    return total\n```"
    )


def repeated_log(rng: Random) -> str:
    """Lines that come again and again with another one between."""
    place = rng.choice(SERVICES)
    same = f"{date(rng)} {clock(rng)} WARN {place}: connection to {rng.choice(CITIES)} reset, trying again"
    return "\n".join(
        [same] * rng.randint(3, 9) + [f"{date(rng)} {clock(rng)} INFO {place}: connected after {rng.randint(2, 40)} s"]
    )


def article(rng: Random) -> str:
    """A paragraph."""
    return " ".join(rng.sample(PROSE, rng.randint(3, 6)))


def foreign(rng: Random) -> str:
    """Text in other scripts."""
    return " ".join(rng.sample(FOREIGN, rng.randint(2, 4)))


def readings(rng: Random) -> str:
    """Numbers by place, as JSON."""
    found = [
        {"city": city, "mm": rng.randint(0, 40), "wind": {"from": rng.choice("NESW"), "kmh": rng.randint(2, 90)}}
        for city in rng.sample(CITIES, 4)
    ]
    return as_json(found, rng)


def people(rng: Random) -> str:
    """A table of persons who do not matter."""
    rows = [
        f"| {rng.choice(FIRST)} {rng.choice(LAST)} | {rng.choice(CITIES)} | {rng.randint(2, 60)} |"
        for _ in range(rng.randint(2, 6))
    ]
    return "\n".join(["| who | where | desk |", "|:---|---|---:|", *rows])


OTHERS: tuple[Callable[[Random], str], ...] = (
    code,
    repeated_log,
    article,
    foreign,
    stack_trace,
    readings,
    people,
    lambda rng: diff(path(rng), rng),
)
EMPTY = ("", "[]", "{}", "No results.", '{"items": [], "total": 0}', "null")
ERRORS = (
    '{"error": {"code": 503, "message": "the service is busy, try again"}}',
    "Error: timeout after 30 s",
    "ToolError: connection reset by peer\n  at retry 3 of 3",
)


def other(rng: Random, tokens: int) -> str:
    """A result of about so many tokens that no later call needs: parts of one kind, as one text."""
    form = rng.choice(OTHERS)
    if form is readings:
        return form(rng)
    parts = [form(rng)]
    while sum(map(len, parts)) < 3.5 * tokens:
        parts.append(form(rng))
    return ("\n" if form in (stack_trace, repeated_log, OTHERS[-1]) else "\n\n").join(parts)


def confirmation(tool: str, thing: Thing, rng: Random) -> str:
    """What a tool says when it has done something with a thing."""
    verb = tool.replace("_", " ")
    return rng.choice(
        (
            json.dumps({"ok": True, thing.kind.key: thing.identifier, "action": tool}, ensure_ascii=False),
            json.dumps({"result": "done", "receipt": digits(rng, 8)}),
            f"{verb}: done",
            f"OK. {verb} for {thing.owner} ({thing.subject}) has been carried out.",
        )
    )
