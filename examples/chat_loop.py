"""Chat with a model behind any OpenAI-compatible server, within one token budget however long the conversation gets.

The `openai` client reads OPENAI_BASE_URL and OPENAI_API_KEY:
    python examples/chat_loop.py --model gpt-4o-mini --budget 4000 --session my-chat
A line is a message, Ctrl-D ends. Started again with the same --session, the conversation goes on.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import openai
from transformers import pipeline
from transformers.utils import logging

import reet_hf
from reet_hf.recall import RecallLimits

RECALLS = 5  # before the model has to answer
TOOLS = [reet_hf.recall_tool()]


def to_send(session: reet_hf.Session, budget: int) -> list[dict[str, Any]]:
    """What is sent of the conversation: while the budget has room, what was sent before and all that is new."""
    out = session.compress(budget=budget, stable_prefix=True, markers=True, tools=TOOLS, ask_last=True)
    print(f"[sent {out['tokens']['compressed']} of {out['tokens']['original']} tokens]", file=sys.stderr)
    return out["messages"]


def recalled(session: reet_hf.Session, call: Any) -> dict[str, Any]:
    """The result of a call of the model: what was left out, word for word, or why it gets no more of it."""
    print(f"[recall {call.function.arguments}]", file=sys.stderr)
    return {"role": "tool", "tool_call_id": call.id, "content": session.answer_recall(call.function.arguments)}


def answer(client: openai.OpenAI, session: reet_hf.Session, model: str, budget: int) -> str:
    """The model's answer to the last message, before which it may recall a few times what was left out."""
    for choice in ["auto"] * RECALLS + ["none"]:
        made = client.chat.completions.create(
            model=model, messages=to_send(session, budget), tools=TOOLS, tool_choice=choice
        )
        said = made.choices[0].message
        if choice == "none" or not said.tool_calls:
            break
        calls = [call.model_dump() for call in said.tool_calls]
        results = [recalled(session, call) for call in said.tool_calls]
        session.append([{"role": "assistant", "content": said.content, "tool_calls": calls}, *results])
    text = said.content or said.refusal or ""
    session.append({"role": "assistant", "content": text})
    return text


def main() -> None:
    """Read lines, send what the budget has room for, print the answers."""
    parser = argparse.ArgumentParser(description="Chat within a token budget; the session goes on when started again.")
    parser.add_argument("--model", default="gpt-4o-mini", help="as the server calls it")
    parser.add_argument("--budget", type=int, default=4000, help="most tokens to send, counted by REET's tokenizer")
    parser.add_argument("--session", default="chat-session", metavar="FOLDER", help="where the conversation is kept")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    client, prompt = openai.OpenAI(), "> " if sys.stdin.isatty() else ""
    limits = RecallLimits(recalls=RECALLS, tokens=arguments.budget // 4, budget=arguments.budget // 8)
    with reet_hf.Session.open(arguments.session, pipeline("reet-compression"), limits=limits) as session:
        print(f"[{session.message_count} messages so far]", file=sys.stderr)
        while True:
            try:
                if line := input(prompt).strip():
                    session.append({"role": "user", "content": line})
                    print(answer(client, session, arguments.model, arguments.budget), flush=True)
            except EOFError:
                break
            except (openai.APIError, reet_hf.ReetError) as error:
                print(f"[no answer: {error}]", file=sys.stderr)


if __name__ == "__main__":
    main()
