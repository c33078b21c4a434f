"""The kinds of things that agents of the histories work on."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from eval.agents.things import (
    CITIES,
    FIRMS,
    LETTERS,
    Act,
    Kind,
    amount,
    clock,
    date,
    digits,
    email,
    path,
    split,
    uuid,
    word,
)


def _one_of(*values: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(values)


KINDS = (
    Kind(
        "order",
        "orders",
        "order_id",
        lambda rng: f"ORD-{digits(rng, 5)}",
        "customer",
        "item",
        "people",
        split(
            "blue lamp|oak desk|wool blanket|steel kettle|folding bike|garden hose|desk fan|linen curtain|bread maker|"
            "camping stove|record player|hall mirror|yoga mat|paper lantern|cast-iron pan|rain barrel"
        ),
        {
            "total": amount,
            "currency": _one_of("EUR", "SEK", "PLN"),
            "placed": date,
            "state": _one_of("packed", "paid", "on hold", "shipped"),
            "warehouse": _one_of(*CITIES),
        },
        (
            Act(
                "cancel_order",
                (
                    "Cancel {owner}'s order for the {subject}.",
                    "{owner} no longer wants the {subject}, please cancel that order.",
                ),
            ),
            Act(
                "refund_order",
                (
                    "Refund {owner} in full for the {subject}.",
                    "{owner} sent the {subject} back. Pay out the whole sum.",
                ),
                ("total",),
            ),
        ),
    ),
    Kind(
        "invoice",
        "invoices",
        "invoice",
        lambda rng: f"INV-2025-{digits(rng, 6)}",
        "vendor",
        "service",
        "firms",
        split(
            "roof repair|catering|window cleaning|lift inspection|courier runs|tax advice|server hosting|plant care|"
            "fire drill training|translation work|carpet laying|alarm maintenance"
        ),
        {
            "amount": amount,
            "due": date,
            "approved": lambda rng: rng.random() < 0.5,
            "terms": _one_of("30 days net", "14 days net"),
        },
        (
            Act(
                "pay_invoice",
                ("Pay {owner} for the {subject}.", "The bill of {owner} for the {subject} is fine, settle it."),
                ("amount",),
            ),
            Act(
                "dispute_invoice",
                ("Dispute the bill that {owner} sent for the {subject}.",),
                (),
                {"reason": _one_of("charged twice", "not delivered")},
            ),
        ),
    ),
    Kind(
        "ticket",
        "tickets",
        "ticket",
        lambda rng: f"SUP-{digits(rng, 6)}",
        "reporter",
        "title",
        "people",
        split(
            "blank export page|login loop on tablets|wrong totals in March|missing avatars|slow product search|"
            "broken unsubscribe link|double notifications|stuck password reset|garbled umlauts in PDFs|frozen calendar"
        ),
        {
            "priority": _one_of("low", "normal", "high", "urgent"),
            "opened": date,
            "assignee": _one_of("nobody", "tier 1", "tier 2"),
        },
        (
            Act(
                "close_ticket",
                ("Close {owner}'s ticket about the {subject}.",),
                (),
                {"resolution": _one_of("fixed", "duplicate")},
            ),
            Act(
                "escalate_ticket",
                ("{owner} is still waiting on the {subject}, escalate it.",),
                (),
                {"level": lambda rng: rng.randint(2, 3)},
            ),
        ),
    ),
    Kind(
        "commit",
        "commits",
        "sha",
        lambda rng: word(rng, 40),
        "author",
        "message",
        "people",
        split(
            "rounding of VAT per line|retry of failed webhooks|cache for exchange rates|removal of the legacy importer|"
            "stricter address checks|paging of the audit log|new queue for mails|timeout of the card provider"
        ),
        {
            "date": date,
            "files_changed": lambda rng: rng.randint(1, 19),
            "branch": _one_of("main", "release/4.2", "hotfix"),
        },
        (
            Act("revert_commit", ("Revert {owner}'s commit about the {subject}.",)),
            Act(
                "cherry_pick",
                ("Bring {owner}'s work on the {subject} to the release branch.",),
                (),
                {"onto": _one_of("release/4.3", "release/5.0")},
            ),
        ),
    ),
    Kind(
        "file",
        "source files",
        "path",
        path,
        "component",
        "purpose",
        "services",
        split(
            "tax rounding|card retries|address parsing|session expiry|rate limits|mail templates|stock reservation|"
            "currency conversion|feature flags|report scheduling|webhook signatures"
        ),
        {
            "lines": lambda rng: rng.randint(40, 900),
            "owner_team": _one_of("red", "green", "amber"),
            "last_change": date,
        },
        (
            Act(
                "read_file",
                ("Open the file in which {owner} does the {subject}.", "Show me how {owner} handles {subject}."),
            ),
            Act(
                "run_tests",
                ("Run the tests of the {subject} code in {owner}.",),
                (),
                {"verbose": lambda rng: rng.random() < 0.5},
            ),
        ),
    ),
    Kind(
        "booking",
        "bookings",
        "locator",
        lambda rng: f"{word(rng, 3, LETTERS)}{digits(rng, 2)}{word(rng, 2, LETTERS)}",
        "passenger",
        "trip",
        "people",
        tuple(f"{how} to {city}" for how in ("flight", "night train") for city in CITIES),
        {
            "date": date,
            "departs": clock,
            "seat": lambda rng: f"{rng.randint(1, 39)}{rng.choice('ACDF')}",
            "fare": amount,
        },
        (
            Act("cancel_booking", ("{owner} will not take the {subject}, cancel it.",)),
            Act(
                "change_seat",
                ("Put {owner} on an aisle seat for the {subject}.",),
                (),
                {"seat": _one_of("7C", "11C", "23D")},
            ),
        ),
    ),
    Kind(
        "pod",
        "pods",
        "pod",
        lambda rng: f"{rng.choice(['web', 'api', 'job'])}-{word(rng, 9)}-{word(rng, 5, 'bcdfghjklmnpqrstvwxz')}",
        "service",
        "zone",
        "services",
        tuple(f"{city} zone {letter}" for city in CITIES[:6] for letter in "ab"),
        {
            "status": _one_of("Running", "CrashLoopBackOff", "Pending"),
            "restarts": lambda rng: rng.randint(0, 41),
            "age": lambda rng: f"{rng.randint(2, 71)}h",
        },
        (
            Act("restart_pod", ("Restart the pod of {owner} in {subject}.",)),
            Act(
                "get_pod_logs",
                ("What does the {owner} pod in {subject} log?",),
                (),
                {"lines": lambda rng: rng.choice([50, 100, 200])},
            ),
        ),
    ),
    Kind(
        "contact",
        "contacts",
        "email",
        email,
        "person",
        "employer",
        "people",
        FIRMS,
        {"since": date, "language": _one_of("en", "fr", "pl", "fi"), "newsletter": lambda rng: rng.random() < 0.5},
        (
            Act(
                "send_email",
                (
                    "Write to {owner} at {subject} that we are running late.",
                    "Tell {owner} of {subject} that the offer stands.",
                ),
                (),
                {"subject": _one_of("A short delay", "Our offer")},
            ),
        ),
    ),
    Kind(
        "meeting",
        "meetings",
        "event_id",
        uuid,
        "organizer",
        "topic",
        "people",
        split(
            "budget review|hiring plan|office move|summer fair|data retention|supplier audit|launch rehearsal|"
            "incident follow-up|pension scheme"
        ),
        {
            "date": date,
            "start": clock,
            "attendees": lambda rng: rng.randint(2, 14),
            "room": lambda rng: f"{rng.choice('ABCD')}{rng.randint(101, 499)}",
        },
        (
            Act("cancel_meeting", ("Cancel {owner}'s meeting on the {subject}.",)),
            Act(
                "extend_meeting",
                ("Give {owner}'s meeting on the {subject} another half hour.",),
                (),
                {"minutes": lambda rng: 30},
            ),
        ),
    ),
    Kind(
        "build",
        "builds",
        "run_id",
        lambda rng: digits(rng, 11),
        "triggered_by",
        "pipeline",
        "people",
        split("nightly docs|mobile app|staging images|load tests|licence scan|database migration|release notes"),
        {
            "result": _one_of("failed", "passed", "cancelled"),
            "minutes": lambda rng: rng.randint(2, 58),
            "finished": clock,
        },
        (
            Act("rerun_build", ("Run the {subject} build of {owner} again.",)),
            Act("download_artifacts", ("Get me what {owner}'s {subject} build made.",)),
        ),
    ),
    Kind(
        "request",
        "failed requests",
        "request_id",
        lambda rng: f"req_{word(rng, 16)}",
        "user",
        "operation",
        "people",
        split("card payment|photo upload|address change|voucher redemption|invoice download|account merge"),
        {
            "at": clock,
            "status": lambda rng: rng.choice([500, 502, 503, 504]),
            "took_ms": lambda rng: rng.randint(900, 30999),
        },
        (
            Act(
                "get_trace",
                ("What went wrong in the {subject} of {owner}?", "Look into the {subject} that failed for {owner}."),
            ),
            Act("replay_request", ("Replay the {subject} of {owner}.",)),
        ),
    ),
)
