"""What users and agents of the histories say, and the values that change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from eval.agents.things import CITIES, STREETS, amount, clock, date, digits, word


@dataclass(frozen=True)
class Slot:
    """Something that has one value at a time: how it is called, whose it can be, how a value is drawn."""

    name: str
    owners: str
    draw: Callable[[Random], str]


SLOTS = (
    Slot(
        "delivery address",
        "people",
        lambda rng: f"{rng.randint(11, 398)} {rng.choice(STREETS)} Lane, {rng.choice(CITIES)}",
    ),
    Slot("callback number", "people", lambda rng: f"+{rng.randint(31, 49)} {digits(rng, 3)} {digits(rng, 4)}"),
    Slot("pickup appointment", "people", lambda rng: f"{date(rng)} at {clock(rng)}"),
    Slot("hourly price", "firms", amount),
    Slot("seat quota", "firms", lambda rng: f"{rng.randint(113, 9871)} seats"),
    Slot(
        "image tag",
        "services",
        lambda rng: f"v{rng.randint(2, 9)}.{rng.randint(0, 40)}.{rng.randint(11, 99)}-{word(rng, 4)}",
    ),
)
MOST_VALUES = 4

SYSTEM = (
    "You are a support agent. Use the tools; never guess an identifier.",
    "You help the operations desk. Look things up before you change them, and say briefly what you did.",
    "You are an assistant with tools.\n\n## Rules\n\n- Ask before anything is deleted.\n- You must not share addresses "
    "with third parties.\n- Amounts are always given with their currency.\n- Answer in the user's language.",
)
DEVELOPER = ("Keep answers under 80 words.", "The user is staff and has been authenticated.")
LOOKUPS = (
    "Which {plural} do we have at the moment?",
    "Show me the latest {plural}.",
    "I need an overview of our {plural}, please.",
    "Pull up the {plural} of this week and tell me whether anything looks odd.",
)
TOLD = (
    "For your notes: {owner}'s {name} ({subject}) is {identifier}.",
    "I have it on paper here, the {name} of {owner} for {subject} has the number {identifier}.",
)
SAID = (
    "The {slot} of {owner} is {value}.",
    "Please enter {value} as the {slot} of {owner}.",
)
CHANGED = (
    "Correction: the {slot} of {owner} is {value}.",
    "{owner} called, the {slot} is {value} from now on.",
    "Change the {slot} of {owner} to {value}, please.",
)
ASKED = ("What is the {slot} of {owner} now?", "Check the {slot} of {owner} again, it should have changed.")
WORK = (
    ("run_command", "command", "make check", "Run the checks once more and tell me what you see."),
    ("search_web", "query", "opening hours of the archive", "Find out what others write about this."),
    ("read_page", "url", "https://wiki.example/handbook", "Read the handbook page and sum it up."),
    ("get_readings", "station", "north", "How was the weather at our sites?"),
    ("review_change", "branch", "hotfix", "Have a look at the open change."),
)
CHATS = (
    ("Thanks, that was quick.", "You are welcome. Is there anything else?"),
    (
        "How would you phrase an apology to a customer?",
        "Short and without excuses: say what happened and what follows.",
    ),
    ("Give me a minute, I have a call.", "Of course, take your time."),
    ("What can you do for me?", "I can look things up, change them and run checks with the tools that I have."),
)
LEADS = (None, "", None, "", "Let me look that up.", "One moment, I am on it.", "I will do both at once.")
ANSWERS = (
    "Here is what I found; {owner} ({subject}) stands out.",
    "There are {count} of them. The first one belongs to {owner}.",
    "Done looking: nothing unusual, the entry of {owner} is the most recent.",
    "I have the list now. Tell me which one you want to work on.",
)
DONE = ("Done.", "That is taken care of.", "Both the request and its confirmation are on file.", "It went through.")
