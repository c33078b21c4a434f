() => {
  // Why a word was kept or left out: shown beside it when it is pointed at, tapped or reached with the keyboard.
  const card = document.createElement("div");
  card.id = "why";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  document.body.append(card);

  let current = null;
  const explain = (word) => {
    current = word;
    const lines = word.dataset.why.split("\n");
    card.replaceChildren(...lines.map((line, number) => {
      const row = document.createElement(number ? "div" : "b");
      row.textContent = line;
      return row;
    }));
    card.hidden = false;
    place(word);
    word.setAttribute("aria-describedby", "why");
  };
  const place = (word) => {
    const [first, last] = [word.getClientRects()[0], [...word.getClientRects()].pop()];
    if (!first) return hide();
    const left = Math.max(12, Math.min(first.left, window.innerWidth - card.offsetWidth - 12));
    const below = last.bottom + 8 + card.offsetHeight < window.innerHeight;
    card.style.left = `${left}px`;
    card.style.top = `${below ? last.bottom + 8 : Math.max(8, first.top - card.offsetHeight - 8)}px`;
  };
  const hide = () => {
    card.hidden = true;
    current?.removeAttribute("aria-describedby");
    current = null;
  };
  const wordAt = (event) => event.target.closest?.(".reet [data-why]");

  document.addEventListener("mouseover", (event) => wordAt(event) && explain(wordAt(event)));
  document.addEventListener("mouseout", (event) => wordAt(event) && hide());
  document.addEventListener("focusin", (event) => wordAt(event) && explain(wordAt(event)));
  document.addEventListener("focusout", (event) => wordAt(event) && hide());
  document.addEventListener("click", (event) => (wordAt(event) ? explain(wordAt(event)) : hide()));
  document.addEventListener("scroll", () => current && (current.isConnected ? place(current) : hide()), true);

  // One stop of the Tab key for all kept pieces; arrow keys move between them.
  const moves = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const word = event.target.closest?.(".reet mark[tabindex]");
    if (!word) return;
    const words = [...word.closest(".original").querySelectorAll("mark[tabindex]")];
    const place = words.indexOf(word);
    const next = { Home: 0, End: words.length - 1 }[event.key] ?? place + (moves[event.key] ?? NaN);
    if (!words[next]) return;
    event.preventDefault();
    word.tabIndex = -1;
    words[next].tabIndex = 0;
    words[next].focus({ preventScroll: true });
    words[next].scrollIntoView({ block: "nearest" });
  });
}
