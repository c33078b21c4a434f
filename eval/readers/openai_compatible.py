"""Any model behind an OpenAI-compatible address as a reader: a hosted API, vLLM, llama.cpp, Ollama."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from eval.readers.base import Answer, Prompt, Reader
from eval.readers.prompt import PROMPT, ended, heard, prompt, thought
from reet_hf.errors import ReetError

try:
    import openai
except ImportError as missing:
    raise ImportError("the reader openai_compatible needs the package openai: pip install openai") from missing

LONGEST_ERROR = 300


class OpenAiCompatible(Reader):
    """A served model, asked through the chat completions API.

    What the client tries again (status 408, 409, 429, 5xx, a lost connection, a timeout) it tries after a pause that
    doubles each time, or after the pause that the server asks for.

    Args:
        client: Knows address, key, timeout and retries.
        model: Its name at the server.
        body: Fields of each request beside model and messages.
        concurrency: Calls that run at the same time.
    """

    generates = True

    def __init__(self, client: openai.OpenAI, model: str, body: Mapping[str, Any], concurrency: int) -> None:
        self.client, self.model, self.body = client, model, dict(body)
        self.name = model
        self.revision = f"{model} at {client.base_url}"
        self.options = {"prompt": PROMPT, **self.body}
        self.batch_size = concurrency

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[Answer]:
        messages = [[{"role": "user", "content": prompt(*pair)}] for pair in asked]
        return self._all([(each, self.body) for each in messages], heard)

    def said(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """As `Reader.said`; a text that is `plain` is sent as a user's message, since the API knows nothing else, and
        how an answer `begins` is left to the model."""
        asked = [([dict(each) for each in one.messages], self._body(one)) for one in prompts]
        said = zip(self._all(asked, thought), prompts, strict=True)
        return [replace(answer, text=ended(answer.text, one.stop)) for answer, one in said]

    def _body(self, asked: Prompt) -> dict[str, Any]:
        """Fields of a request with the length of the benchmark's answer, unless `max_tokens` was taken away."""
        return {**self.body, "max_tokens": asked.max_new_tokens} if "max_tokens" in self.body else self.body

    def _all(self, asked: Sequence[tuple[Any, dict[str, Any]]], hear: Callable[[str], Answer]) -> list[Answer]:
        with ThreadPoolExecutor(self.batch_size) as workers:
            return list(workers.map(lambda one: self.reply(one[0], one[1], hear), asked))

    def reply(self, messages: Any, body: dict[str, Any], hear: Callable[[str], Answer]) -> Answer:
        """What a request comes to.

        Args:
            messages: Of the chat.
            body: Fields of the request beside model and messages.
            hear: Makes an answer of what the model said.
        """
        try:
            completion = self.client.chat.completions.create(model=self.model, messages=messages, extra_body=body)
        except (openai.OpenAIError, ValueError) as error:  # the second for a body that is no JSON
            return Answer(error=self._reason(error))
        return _answered(completion, hear)

    def _reason(self, error: Exception) -> str:
        """The error in one line without the key, which servers that refuse it like to repeat."""
        status = getattr(error, "status_code", None)
        told = f"status {status}, the key was refused" if status in (401, 403) else " ".join(str(error).split())
        told = told.replace(self.client.api_key, "***")
        told = told if len(told) <= LONGEST_ERROR else told[:LONGEST_ERROR] + " [...]"
        return f"{type(error).__name__}: {told}"


def _answered(completion: Any, hear: Callable[[str], Answer]) -> Answer:
    """The answer in a completion; one that was withheld, or cut before it began, is a failure."""
    choices = getattr(completion, "choices", None)  # a server may send any JSON, which the client does not check
    choice = choices[0] if isinstance(choices, list) and choices else None
    message, reason = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
    text = getattr(message, "content", None) or ""
    if message is None or not isinstance(text, str):
        return Answer(error="the server sent no chat completion: is this the address of the API, often ending in /v1?")
    if reason == "content_filter" or (not text.strip() and reason != "stop"):
        return Answer(error=f"the server sent no answer, finish_reason {reason!r}")
    return hear(text)


def _key(variable: str | None, url: str) -> str:
    """The key in an environment variable."""
    if not variable:
        return "no-key-needed"  # the client wants one even where the server does not
    key = os.environ.get(variable)
    if not key:
        raise ReetError(
            f"`api_key_env` must name an environment variable that holds the key for {url}, got {variable!r}, which is "
            "not set; set it, or pass an empty name for a server that needs no key."
        )
    return key


def build(
    url: str,
    model: str,
    api_key_env: str | None = "OPENAI_API_KEY",
    timeout: float = 60,
    retries: int = 4,
    concurrency: int = 4,
    max_new_tokens: int = 32,
    body: Mapping[str, Any] | None = None,
) -> OpenAiCompatible:
    """The reader.

    Args:
        url: Address of the API, such as `http://localhost:8000/v1`; it gets the key and the texts.
        model: Name of the model at the server.
        api_key_env: Environment variable that holds the key; empty for a server that needs none.
        timeout: Seconds to wait for a connection, and for the next byte of an answer.
        retries: How often a failed call is tried again.
        concurrency: Calls that run at the same time.
        max_new_tokens: Most tokens of an answer, sent as `max_tokens`.
        body: Further fields of each request; `None` as a value takes a field away. A model that thinks before it
            answers may need `{"max_tokens": None, "temperature": None, "max_completion_tokens": 2048}`.
            It is written into results, so no secrets here.

    Raises:
        ReetError: If the key is missing, or the address has a user, a password or parameters in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ReetError(
            "`url` must begin with http:// or https://, name a host and have neither user nor password nor parameters "
            f"in it, since it is written into results, got one with scheme {parts.scheme!r} and host "
            f"{parts.hostname!r}; put a secret into the variable of `api_key_env`."
        )
    client = openai.OpenAI(base_url=url, api_key=_key(api_key_env, url), timeout=timeout, max_retries=retries)
    fields = {"max_tokens": max_new_tokens, "temperature": 0, **(body or {})}
    return OpenAiCompatible(client, model, {k: v for k, v in fields.items() if v is not None}, concurrency)
