"""A LangChain agent of a furniture shop, whose tools return long JSON: its model reads what it needs, within a budget.

Any chat model of LangChain will do; with one of OpenAI:
    pip install "reet-hf[langchain]" langchain-openai
    python examples/langchain_agent.py "Where is Ann Lee's blue lamp?" --model openai:gpt-4o-mini --budget 1500
"""

from __future__ import annotations

import argparse
import json
import sys

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from transformers.utils import logging

from reet_hf.integrations.langchain import ReetMiddleware

CUSTOMERS = ["Ann Lee", "Bo Chen", "Cy Young", "Di Marsh", "Eva Holm", "Finn Roe", "Gus Palmer", "Ida Berg"]
ITEMS = ["oak chair", "blue lamp", "walnut desk", "wool rug", "coat rack", "bread bin", "linen screen"]
CITIES = ["Oslo", "Bergen", "Malmo", "Aarhus", "Turku"]
ORDERS = [
    {
        "order": f"KX-{4000 + n}",
        "customer": CUSTOMERS[n % 8],
        "item": ITEMS[n * 5 % 7],
        "city": CITIES[n % 5],
        "price": 39 + n * 17 % 260,
        "status": "delivered" if n % 3 else "sent",
    }
    for n in range(56)
]
STOPS = ["sorted", "loaded", "left the depot", "reached the next depot", "waits for the next lorry"]


@tool
def list_orders() -> str:
    """List all orders: number, customer, item, city, price and status."""
    return json.dumps(ORDERS)


@tool
def track_parcel(order: str) -> str:
    """All that the carrier has noted of the parcel of an order, such as KX-4001, the latest at the end."""
    known = next((each for each in ORDERS if each["order"] == order), None)
    if known is None:
        return json.dumps({"error": f"There is no order {order}."})
    events = [{"time": f"day {n // 5 + 1}, {8 + n % 5 * 2}:00", "event": STOPS[n % 5]} for n in range(25)]
    last = {"time": "day 6, 9:40", "event": f"held at {known['city']} harbour, box 7 crushed, sender must decide"}
    return json.dumps({"order": order, "events": [*events, last]})


@tool
def stock(item: str) -> str:
    """How many of an item, such as an oak chair, each warehouse has."""
    return json.dumps([{"warehouse": city, "item": item, "pieces": 3 * place} for place, city in enumerate(CITIES)])


def ask(model: BaseChatModel, question: str, budget: int) -> list[AnyMessage]:
    """All messages of the agent's work on a question, whole; the model was sent at most `budget` tokens of them."""
    agent = create_agent(
        model,
        [list_orders, track_parcel, stock],
        system_prompt="You look after the orders of a furniture shop. Never promise a refund.",
        middleware=[ReetMiddleware(budget=budget)],
    )
    return agent.invoke({"messages": [HumanMessage(question)]})["messages"]


def show(message: AnyMessage) -> None:
    """Print what a message brought: the answer to standard output, the way to it to standard error."""
    if isinstance(message, ToolMessage):
        print(f"[{message.name} returned {len(message.text)} characters]", file=sys.stderr)
    if not isinstance(message, AIMessage):
        return
    if message.usage_metadata:
        print(f"[the model read {message.usage_metadata['input_tokens']} tokens]", file=sys.stderr)
    for call in message.tool_calls:
        print(f"[calls {call['name']} {json.dumps(call['args'])}]", file=sys.stderr)
    if message.text:
        print(message.text)


def main() -> None:
    """Ask the agent one question."""
    parser = argparse.ArgumentParser(description="Ask an agent that looks after the orders of a furniture shop.")
    parser.add_argument("question", nargs="?", default="Where is Ann Lee's blue lamp, and have we another one?")
    parser.add_argument("--model", default="openai:gpt-4o-mini", help="provider:name, as init_chat_model takes it")
    parser.add_argument("--budget", type=int, default=1500, help="most tokens to send, counted by REET's tokenizer")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = init_chat_model(arguments.model)
    except (ImportError, ValueError) as error:
        sys.exit(f"{error}\nOr name another model with --model.")
    for message in ask(model, arguments.question, arguments.budget):
        show(message)


if __name__ == "__main__":
    main()
