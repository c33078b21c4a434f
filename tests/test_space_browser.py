"""The demo page in a real browser: what a visitor does with mouse, keyboard and phone, and what it looks like.

Screenshots of every tab go to the folder that `REET_SCREENSHOTS` names, by default to pytest's temporary folder. With
`REET_PICTURES` two of them, made small, are written to that folder, as the documentation has them:

    REET_PICTURES=docs/images pytest tests/test_space_browser.py -k looks
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest
from conftest import ROOT
from serving import free_port
from test_space import pdf_of, word_file

playwright = pytest.importorskip(
    "playwright.sync_api", reason="a browser is driven by Playwright: pip install playwright"
)

SPACE = ROOT / "spaces" / "reet-demo"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
TABS = ("Original", "Result", "Turns", "Ledger", "Compare", "Receipt", "Code")
WORDS = ".reet .original mark[data-why]"
WAIT = 20_000  # milliseconds: machines that test are busy
SECONDS_TO_FIRST_RESULT = 3.0
CONTRAST = 4.5


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Address of the page, started as a user starts it, with the bundled weights."""
    port, log = free_port(), tmp_path_factory.mktemp("space") / "log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    environment.pop("REET_MODEL", None)
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=SPACE, env=environment, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            if process.poll() is not None:
                raise AssertionError(log.read_text())
            with suppress(httpx.TransportError):
                if httpx.get(url).status_code == 200:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser, the system's or one that Playwright installed."""
    with playwright.sync_playwright() as started:
        own = Path(started.chromium.executable_path)
        found = next(filter(None, map(shutil.which, BROWSERS)), str(own) if own.exists() else None)
        if found is None:
            pytest.skip("there is no browser: `make browser` installs one")
        opened = started.chromium.launch(executable_path=found, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def visit(address, browser) -> Iterator[Any]:
    """Opens the page; when the test ends, no request must have left this machine and no script have failed."""
    contexts, asked, failed = [], [], []

    def open_page(size: str = "desktop", theme: str = "light") -> Any:
        context = browser.new_context(
            viewport=SIZES[size], color_scheme=theme, has_touch=size == "phone", reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        page.wait_for_selector(WORDS)
        return page

    yield open_page
    for context in contexts:
        context.close()
    elsewhere = {urlparse(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert elsewhere == {urlparse(address).netloc}
    assert not failed


def open_tab(page: Any, name: str) -> None:
    """Open a tab, from the menu of tabs where the screen has no room for it."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.count() and tab.first.is_visible():
        tab.first.click()
    else:
        page.get_by_label("More tabs").first.click()
        page.locator(".overflow-dropdown button", has_text=name).first.click()
    page.wait_for_selector(f"[role=tab][aria-selected=true]:text-is('{name}')")


def budget_shown(page: Any) -> int:
    """The budget that the figures of the page tell."""
    return int(re.search(r"budget ([\d,]+)", page.locator(".tiles").first.inner_text()).group(1).replace(",", ""))


def wait_for_budget(page: Any, changed_from: int) -> int:
    """The budget after it has changed."""
    told = f"tokens, budget {changed_from:,}"
    page.wait_for_function(f"!document.querySelector('.tiles').innerText.includes({json.dumps(told)})")
    return budget_shown(page)


def wait_for_error(page: Any, words: str) -> None:
    """Wait until the page tells an error in these words."""
    page.wait_for_function(f"document.querySelector('.toast-wrap')?.innerText.includes({json.dumps(words)})")


def saved(page: Any, button: str, folder: Path) -> Path:
    """The file that a button saves."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    target = folder / waiting.value.suggested_filename
    waiting.value.save_as(target)
    return target


# --- what a visitor does


def test_the_first_result_comes_within_three_seconds(visit, record_property):
    visit().context.close()  # a first visit fills the caches of the machine
    page = visit()
    told = page.evaluate(
        """() => { const [visit] = performance.getEntriesByType("navigation");
        return { shown: performance.now() / 1000, loaded: visit.loadEventEnd / 1000 }; }"""
    )
    seconds = told["shown"] - told["loaded"]
    record_property("seconds_from_load_to_first_result", round(seconds, 2))
    print(f"\nfirst result {seconds:.2f} s after load, {told['shown']:.2f} s after the start")
    crowded = max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)
    assert seconds <= SECONDS_TO_FIRST_RESULT * crowded
    assert page.locator(WORDS).count() > 20


def test_controls_change_what_is_kept(visit):
    page = visit()
    first = budget_shown(page)
    slider = page.get_by_label("range slider for Budget (share)")
    slider.focus()
    slider.press("ArrowRight")
    assert wait_for_budget(page, first) == int(first / 0.2 * 0.25 + 0.01) or budget_shown(page) > first
    page.get_by_label("or tokens (0: the share)").fill("300")
    page.get_by_label("or tokens (0: the share)").press("Enter")
    page.wait_for_function("document.querySelector('.tiles').innerText.includes('budget 300')")
    page.get_by_label("Unit: what is kept or dropped as a whole").click()
    page.get_by_role("option", name="message").click()
    page.wait_for_function(f"document.querySelectorAll({json.dumps(WORDS)}).length < 20")
    page.get_by_label("Contract").check()
    page.wait_for_function("document.querySelector('.original').innerText.includes('Halvorsen')")
    assert page.get_by_label("Query (may be empty)").input_value().startswith("How much notice")
    page.get_by_label("or tokens (0: the share)").fill("0")
    page.get_by_label("Questions of this example").click()
    page.get_by_role("option", name="What does a lost sensor cost?").click()
    page.wait_for_function("document.querySelector('.tiles').innerText.includes('£64.00')")


def test_everything_can_be_reached_with_the_keyboard(visit):
    page = visit()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => { const e = document.activeElement;
                return `${e.ariaLabel} ${e.closest("label, button, mark, .form, .block")?.innerText}`; }"""
            )
        )
        if page.evaluate("document.activeElement.matches('mark')"):
            break
    for name in ("Support chat", "Upload", "Query", "Budget", "Unit", "What must stay", "Compress", "Original"):
        assert any(name in told for told in reached), (name, reached)
    first = page.locator("#why").inner_text()
    assert "chance of being needed" in first and "Message" in first
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.querySelector('#why').innerText !== {json.dumps(first)}")
    page.keyboard.press("Escape")
    assert page.locator("#why").is_hidden()
    query = page.get_by_label("Query (may be empty)")
    query.fill("What is Leo allergic to?")
    query.press("Enter")
    page.wait_for_function("document.querySelector('.tiles').innerText.includes('peanuts')")


def test_pointing_and_tapping_say_why(visit):
    page = visit()
    page.locator(WORDS).first.hover()
    page.wait_for_selector("#why")
    page.locator(".reet .turn .dropped[data-why]").first.hover()
    page.wait_for_function("document.querySelector('#why').innerText.startsWith('Left out')")
    phone = visit("phone")
    for number in (0, 20, 60):
        phone.locator(WORDS).nth(number).tap()
        phone.wait_for_selector("#why")
        box = phone.locator("#why").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= SIZES["phone"]["width"]


def test_turns_are_played(visit):
    page = visit()
    open_tab(page, "Turns")
    page.wait_for_selector("text=Question 1 of 7")
    page.get_by_role("button", name="Next").click()
    page.wait_for_selector("text=Question 2 of 7")
    assert page.locator(".sent .badge").count() or "0 of" in page.locator(".reet .note").all_inner_texts()[0]
    page.get_by_role("button", name="Back").click()
    page.wait_for_selector("text=Question 1 of 7")
    page.get_by_role("button", name="Play").click()
    page.wait_for_selector("text=Question 3 of 7")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("button:has-text('Play')")
    assert page.locator(".chart svg").count() == 2
    page.get_by_label("Meeting").check()
    page.wait_for_selector("text=When does Bram inspect the roof?")


def test_what_is_saved_is_the_result_and_the_code_makes_it_again(visit, tmp_path):
    page = visit()
    shown = page.locator(".tiles").first.inner_text()
    open_tab(page, "Result")
    result = json.loads(saved(page, "Download the result", tmp_path).read_text(encoding="utf-8"))
    assert f"{result['tokens']['original']:,} → {result['tokens']['compressed']:,}" in shown
    assert page.get_by_label("Compressed text").input_value() == result["text"]
    receipt = json.loads(saved(page, "Download the receipt", tmp_path).read_text(encoding="utf-8"))
    assert receipt == {name: result[name] for name in ("tokens", "receipt", "omitted")}
    open_tab(page, "Code")
    conversation = json.loads(saved(page, "Download conversation.json", tmp_path).read_text(encoding="utf-8"))
    assert len(conversation["messages"]) == 63
    (tmp_path / "code.py").write_text(page.locator(".cm-content").inner_text(), encoding="utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "code.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{result['text']}\n{result['tokens']}\n"


def test_files_are_uploaded_and_errors_are_told(visit, tmp_path):
    page = visit()
    field = page.locator("input[type=file]").first
    word_file(tmp_path / "visa.docx")
    field.set_input_files(tmp_path / "visa.docx")
    page.wait_for_function("document.querySelector('.original').innerText.includes('The visa expires in June.')")
    assert page.get_by_label("Questions of this example").count() == 0
    (tmp_path / "a.pdf").write_bytes(pdf_of("Order B-77 was sent on Monday. Nobody was at home, as the cat can tell."))
    field.set_input_files(tmp_path / "a.pdf")
    page.wait_for_function("document.querySelector('.original').innerText.includes('B-77')")
    (tmp_path / "scan.pdf").write_bytes(pdf_of(""))
    field.set_input_files(tmp_path / "scan.pdf")
    wait_for_error(page, "run text recognition (OCR) on it first")
    assert "B-77" in page.get_by_label("Conversation: text, or chat messages as JSON").input_value()
    page.get_by_label("Conversation: text, or chat messages as JSON").fill('[{"role": "user",')
    page.get_by_role("button", name="Compress", exact=True).click()
    wait_for_error(page, "The text looks like JSON, but cannot be read")
    page.get_by_label("Conversation: text, or chat messages as JSON").fill("The visa expires. The order came.")
    page.get_by_role("button", name="What must stay").click()
    page.get_by_label("Roles or regular expressions, one a line").fill("The visa expires.")
    page.get_by_role("button", name="Compress", exact=True).click()
    wait_for_error(page, " tokens")
    assert "Traceback" not in page.content()


# --- what it looks like


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of a colour of sRGB by WCAG 2."""
    linear = [c / 12.92 if (c := part / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrasts(page: Any) -> dict[str, float]:
    """The contrast of each kind of text of ours with what is behind it."""
    found = page.evaluate(
        """() => {
        const clear = (e) => /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(e).backgroundColor);
        const behind = (e) => (e.parentElement && clear(e) ? behind(e.parentElement) : e);
        const said = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        return [...document.querySelectorAll(".reet *")].filter((e) => e.offsetParent && said(e)).map((e) =>
          [`${e.tagName}.${e.className}`, getComputedStyle(e).color, getComputedStyle(behind(e)).backgroundColor]);
        }"""
    )
    told: dict[str, float] = {}
    for name, *colours in {tuple(row) for row in found}:
        light, dark = sorted((luminance(tuple(map(float, re.findall(r"[\d.]+", c)))) for c in colours), reverse=True)
        told[f"{name} {colours}"] = (light + 0.05) / (dark + 0.05)
    return told


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_it_looks_right(visit, size, theme, tmp_path):
    page = visit(size, theme)
    folder = Path(os.environ.get("REET_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    for tab in TABS:
        open_tab(page, tab)
        if tab == "Turns":
            page.wait_for_selector("text=Question 1 of 7")
        if tab == "Compare":
            page.wait_for_selector(".reet .column >> nth=3")
        page.screenshot(path=folder / f"{size}-{theme}-{tab.lower()}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size]["width"], f"{tab} is {wide} pixels wide"
        faint = {name: ratio for name, ratio in contrasts(page).items() if ratio < CONTRAST}
        assert not faint, faint
    pictures = os.environ.get("REET_PICTURES")
    if pictures and (size, theme) in (("desktop", "light"), ("phone", "dark")):
        open_tab(page, "Original")
        picture(page, ROOT / pictures / f"space-{size}.png", size)


def picture(page: Any, path: Path, size: str) -> None:
    """A small screenshot for the documentation: the answer with why it was kept, on a phone below the figures."""
    from PIL import Image

    if size == "desktop":
        page.set_viewport_size({"width": SIZES[size]["width"], "height": 1480})
    else:
        page.locator(".tiles").first.evaluate("(e) => window.scrollTo(0, e.getBoundingClientRect().top + scrollY - 12)")
    word = page.locator(WORDS, has_text="20 May 2026")
    word.evaluate("(e) => { const all = e.closest('.original'); all.scrollTop = e.offsetTop - all.offsetTop - 140; }")
    word.evaluate("(e) => e.focus({ preventScroll: true })")
    page.wait_for_selector("#why")
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
