"""What was pasted or uploaded, as inputs of the pipeline: text, chat messages as JSON, PDF and Word documents."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reet_hf import ReetError
from reet_hf.conversation import is_batch

MAX_CHARACTERS = 400_000
MAX_FILE_BYTES = 10_000_000
MAX_UNPACKED_BYTES = 100_000_000  # of a Word document, which is an archive
MAX_PAGES = 500
SPEAKER = re.compile(r"^(system|user|assistant):[ \t]*", re.IGNORECASE | re.MULTILINE)
LOOKS_LIKE_JSON = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")


def parse_input(text: str, query: str = "") -> dict[str, Any]:
    """What the pipeline takes: messages or a context, each with a query.

    Text that begins as JSON does is read as JSON: messages, texts or `{"messages" | "context", "query", "history"}`
    (an `answer` beside them is ignored). Lines that begin with `user:`, `assistant:` or `system:` become messages,
    anything else is one document. A query typed on the page goes before one in the JSON.

    Raises:
        ReetError: If there is no text, too much of it, or JSON that cannot be read.
    """
    if not text.strip():
        raise ReetError("There is nothing to compress; paste a conversation or pick an example.")
    if len(text) > MAX_CHARACTERS:
        raise ReetError(f"This page takes {MAX_CHARACTERS:,} characters at most, got {len(text):,}; use the library.")
    asked = {"query": query} if query.strip() else {}
    if not LOOKS_LIKE_JSON.match(text):
        messages = split_speakers(text)
        return {"messages": messages, **asked} if messages else {"context": text, **asked}
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReetError(f"The text looks like JSON, but cannot be read: {error}.") from None
    if isinstance(data, list):
        if is_batch(data) and not all(isinstance(item, str) for item in data):
            raise ReetError("This page compresses one conversation at a time; paste one list of messages.")
        data = {"context" if is_batch(data) else "messages": data}
    return {**{name: value for name, value in data.items() if name != "answer"}, **asked}


def split_speakers(text: str) -> list[dict[str, str]]:
    """Messages of a text whose first line names a speaker (`user: …`), nothing for any other text."""
    before, *parts = SPEAKER.split(text.lstrip())
    if before or not parts:
        return []
    return [
        {"role": role.lower(), "content": said.strip("\n")} for role, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def read_file(path: str | Path) -> str:
    """The text of an uploaded file, as it is shown in the text field.

    Raises:
        ReetError: If the file is too large, of another kind, damaged or locked, or holds no text.
    """
    file = Path(path)
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise ReetError(f"This page reads {', '.join(READERS)}, got {file.name}; save it as one of them.")
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ReetError(
            f"A file may have {MAX_FILE_BYTES // 1_000_000} MB at most, {file.name} has {size / 1e6:.1f} MB; "
            "upload a part of it, or use the library."
        )
    text = reader(file)
    if not text.strip():
        raise ReetError(f"{file.name} holds no text.")
    if len(text) > MAX_CHARACTERS:
        raise ReetError(
            f"This page takes {MAX_CHARACTERS:,} characters at most, {file.name} has {len(text):,}; use the library."
        )
    return text


def read_plain(file: Path) -> str:
    """A text file in UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReetError(
            f"{file.name} must be text in UTF-8, but byte {error.start} is not; save it as UTF-8."
        ) from None


def read_json_lines(file: Path) -> str:
    """A file with a message or a text on each line, as one JSON list."""
    rows = []
    for number, line in enumerate(read_plain(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ReetError(f"Line {number} of {file.name} is no JSON: {error}.") from None
    if len(rows) == 1 and isinstance(rows[0], dict) and "role" not in rows[0]:
        return json.dumps(rows[0], ensure_ascii=False, indent=1)  # one conversation on one line
    return json.dumps(rows, ensure_ascii=False, indent=1) if rows else ""


def read_pdf(file: Path) -> str:
    """The text of a PDF, a blank line between pages."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise ReetError("PDF files need a library: pip install pypdf") from error
    try:
        document = PdfReader(file)
        if document.is_encrypted and not document.decrypt(""):
            raise ReetError(f"{file.name} is locked with a password; save a copy without one.")
        if len(document.pages) > MAX_PAGES:
            raise ReetError(f"A PDF may have {MAX_PAGES} pages at most, {file.name} has {len(document.pages)}.")
        pages = [page.extract_text().strip() for page in document.pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        if isinstance(error, ReetError):
            raise
        raise ReetError(f"{file.name} cannot be read as a PDF ({type(error).__name__}); it may be damaged.") from error
    if not any(pages):
        raise ReetError(f"{file.name} has pictures and no text; run text recognition (OCR) on it first.")
    return "\n\n".join(filter(None, pages))


def read_word(file: Path) -> str:
    """The paragraphs and tables of a Word document in order: a line a paragraph, a line a row."""
    try:
        from docx import Document
        from docx.table import Table
    except ImportError as error:
        raise ReetError("Word documents need a library: pip install python-docx") from error
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise ReetError(f"{file.name} would unpack to {unpacked / 1e6:,.0f} MB, which is too much for this page.")
        lines: list[str] = []
        for block in Document(str(file)).iter_inner_content():
            if isinstance(block, Table):
                lines.extend(" | ".join(cell.text.strip() for cell in row.cells) for row in block.rows)
            else:
                lines.append(block.text)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        if isinstance(error, ReetError):
            raise
        raise ReetError(f"{file.name} cannot be read as a Word document; save it as .docx again.") from error
    return "\n".join(lines).strip()


READERS: dict[str, Callable[[Path], str]] = {
    ".txt": read_plain,
    ".md": read_plain,
    ".json": read_plain,
    ".jsonl": read_json_lines,
    ".pdf": read_pdf,
    ".docx": read_word,
}
