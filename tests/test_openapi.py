"""The OpenAPI document is kept: Schemathesis asks a served application whatever it allows and forbids."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import ROOT
from serving import TOKENS, served
from upstream import Reply, Upstream, completion

EXAMPLES = 15


def asked(address: str, *options: str) -> str:
    """What Schemathesis tells of a server; an error of the test where it finds anything."""
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "--config-file", ROOT / "tests" / "schemathesis.toml", "run", f"{address}/openapi.json"]
    told = subprocess.run(
        [*command, "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color", *options],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout[-6000:]
    return told.stdout


@pytest.mark.parametrize("tokens", [False, True], ids=["open", "tokens"])
def test_schemathesis_finds_nothing(tmp_path, tokens):
    file = tmp_path / "tokens"
    file.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    with Upstream(lambda _: Reply(completion("Yes."))) as upstream:
        options = ["--sessions", str(tmp_path / "sessions"), "--upstream", upstream.url]
        with served(tmp_path, *options, *(["--tokens", str(file)] if tokens else [])) as (address, _):
            document = httpx.get(f"{address}/openapi.json").json()
            assert ("securitySchemes" in document["components"]) is tokens
            found = asked(address, *(["-H", f"Authorization: Bearer {TOKENS['ann']}"] if tokens else []))
    assert "Failures" not in found
    (generated,) = re.findall(r"(\d+) generated", found)
    assert int(generated) > 300
    assert not [line for line in (tmp_path / "log").read_text().splitlines() if '"level": "ERROR"' in line]
