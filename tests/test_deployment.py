"""What comes with the server: the image's commands, the compose file, and the handler of Inference Endpoints."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from argparse import Namespace

import pytest
import yaml
from conftest import ROOT

from reet_hf import ReetError
from reet_hf.cli import parser
from reet_hf.hub.bundle import build_bundle
from reet_hf.serving.command import settings_of

DOCKERFILE = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
MESSAGES = [{"role": "user", "content": "My visa expires on 12 June 2027. I like cats. Oslo is cold in spring."}]


def statements(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, flags=re.MULTILINE)


def arguments(*more: str) -> Namespace:
    """What the image's entry point and a command make of a command line."""
    return parser().parse_args([*json.loads(statements("ENTRYPOINT")[0])[1:], *more])


def test_the_image_serves_as_nobody_special_with_its_sessions_on_a_volume():
    assert statements("USER") == ["reet"] and DOCKERFILE.index("\nUSER") < DOCKERFILE.index("\nENTRYPOINT")
    given = arguments("--open")
    assert given.command == "serve" and given.host == "0.0.0.0"
    assert settings_of(given, {}).sessions.is_relative_to(statements("VOLUME")[0])
    assert statements("EXPOSE") == [str(given.port)] and f":{given.port}/health/live" in statements("HEALTHCHECK")[0]
    with pytest.raises(ReetError, match="--tokens"):
        settings_of(arguments(), {})
    extras = re.search(r"\[([\w,]+)\]\"", DOCKERFILE)
    project = (ROOT / "pyproject.toml").read_text()
    assert extras and all(f"\n{name} = [" in project for name in extras.group(1).split(","))


def test_the_image_is_made_of_what_the_wheel_needs_and_no_more():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    assert {"pyproject.toml", "README.md", "LICENSE", "reet", "reet_hf", "constraints.txt"} == kept


def test_the_compose_file_gives_options_that_the_server_takes(tmp_path):
    service = COMPOSE["services"]["reet"]
    command = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in service["command"]]
    tokens = tmp_path / "tokens"
    tokens.write_text("ann 0123456789abcdef\n")
    command = [str(tokens) if word == "/run/secrets/tokens" else word for word in command]
    settings = settings_of(arguments(*command), {name: "key" for name in service["environment"]})
    assert settings.upstream == "https://api.openai.com/v1" and settings.upstream_key == "key" and settings.tenants
    assert service["secrets"] == list(COMPOSE["secrets"]) and service["read_only"] is True
    assert [volume.split(":")[1] for volume in service["volumes"]] == statements("VOLUME")
    assert service["cap_drop"] == ["ALL"]


AS_AN_ENDPOINT = """
import json, sys
from pathlib import Path

folder, request = sys.argv[1:]
sys.path.insert(0, folder)
import handler

answer = handler.EndpointHandler(folder)(json.loads(request))
import onnx, openvino, requests, tiktoken, urllib3

found = {name: Path(module.__file__) for name, module in sys.modules.items() if getattr(module, "__file__", None)}
print(json.dumps([answer["text"], sorted(n for n, path in found.items() if path.is_relative_to(folder))]))
"""  # how huggingface-inference-toolkit starts a handler: the repository is where modules are looked for first


def test_no_file_of_a_repository_hides_a_library_from_its_endpoint(bundled, tmp_path):
    for name in ("onnx", "openvino", "tiktoken"):
        pytest.importorskip(name)
    folder = build_bundle(bundled, tmp_path / "repository")
    request = {"inputs": {"messages": MESSAGES, "query": "When does the visa expire?"}, "parameters": {"budget": 12}}
    done = subprocess.run(
        [sys.executable, "-c", AS_AN_ENDPOINT, str(folder), json.dumps(request)],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text, own = json.loads(done.stdout.splitlines()[-1])
    assert "12 June 2027" in text and own == ["handler"]


def test_an_endpoint_loads_the_handler_from_the_repository(bundled, tmp_path):
    folder = build_bundle(bundled, tmp_path / "repository")
    assert "reet-hf" in (folder / "requirements.txt").read_text().split()
    spec = importlib.util.spec_from_file_location("handler", folder / "handler.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(str(folder))
    out = handler(
        {"inputs": {"messages": MESSAGES, "query": "When does the visa expire?"}, "parameters": {"budget": 12}}
    )
    assert "12 June 2027" in out["text"] and out["tokens"]["compressed"] <= 12
    json.dumps(out)
    assert handler({"inputs": "Ann Lee works for Borealis Bank.", "task": "extract"})["result"]["Ann Lee"]
    for data, words in [
        ({}, "`inputs`"),
        ({"inputs": "x", "stream": True}, "stream"),
        ({"inputs": "x", "parameters": [1]}, "`parameters`"),
        ({"inputs": "x", "parameters": {"colour": 1}}, "colour"),
        ({"inputs": "x", "parameters": {"tokenizer": "/etc"}}, "`tokenizer`"),
        ({"inputs": "x", "parameters": {"budget": 0}}, "`budget`"),
        ({"inputs": "x", "task": "sing"}, "`task`"),
        ({"inputs": "x", "task": "extract", "parameters": {"budget": 3}}, "budget"),
    ]:
        with pytest.raises(ReetError, match=words):
            handler(data)
