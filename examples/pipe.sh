#!/usr/bin/env bash
# The command line in pipes: what a question needs of some notes, and a conversation as JSON messages.
# Results go to standard output, counts of tokens to standard error. READER is any command that reads a prompt from
# standard input, such as a language model's: READER="llm -m gpt-4o-mini" examples/pipe.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
reader=${READER:-cat}

question="When does the trio come and go, and what does it need?"
cat notes.txt | reet compress - --budget 0.3 --query "$question" | { cat; echo; echo "$question"; } | $reader

reet compress agent.json --budget 0.3 --format messages |
    python -m json.tool --no-ensure-ascii --indent 1
