"use strict";
{
  const root = document.documentElement;
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  const boxes = [...document.querySelectorAll(".tools input[type=checkbox]")];
  const events = [...document.querySelectorAll("details.event")];
  const sections = [...document.querySelectorAll(".turn, .facts-of-session")];
  const turns = sections.filter((section) => section.id !== "");

  /** Switches between light and dark, from what is shown now. */
  function theme() {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  }

  /** Hides the events that are not asked for, and the turns that are empty then. */
  function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    const groups = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const isAll = words.length === 0 && groups.size === boxes.length;
    let shown = 0;
    for (const event of events) {
      let fits = groups.has(event.classList[1]);
      if (fits && words.length > 0) {
        const text = event.textContent.toLowerCase();
        fits = words.every((word) => text.includes(word));
      }
      event.hidden = !fits;
      shown += fits;
    }
    for (const section of sections) {
      section.hidden = !isAll && section.querySelector("details.event:not([hidden])") === null;
    }
    const all = events.length.toLocaleString("en");
    count.textContent = isAll ? `${all} events` : `${shown.toLocaleString("en")} of ${all} events`;
  }

  /** Opens what the address names. */
  function open() {
    const named = document.getElementById(location.hash.slice(1));
    if (named?.matches("details.event")) {
      named.open = true;
      named.scrollIntoView({ block: "center" });
    }
  }

  /** Goes to the next or the previous of a list, seen from where the focus is. */
  function go(list, step, focus) {
    const from = document.activeElement?.closest(".event, .turn") ?? null;
    const seen = list.filter((it) => !it.hidden && !it.closest("[hidden]"));
    if (seen.length === 0) return;
    let place = from === null ? -1 : seen.indexOf(from);
    if (place < 0 && from !== null) {
      const isBefore = (it) =>
        it.contains(from) || (it.compareDocumentPosition(from) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0;
      place = seen.findLastIndex(isBefore);
      if (step < 0 && place >= 0 && !seen[place].contains(from)) place += 1;
    }
    const next = seen[Math.min(Math.max(place + step, 0), seen.length - 1)];
    const target = focus(next);
    target?.focus({ preventScroll: true });
    next.scrollIntoView({ block: list === turns ? "start" : "nearest" });
  }

  let waiting = 0;
  filter.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  });
  for (const box of boxes) box.addEventListener("change", show);
  document.getElementById("theme").addEventListener("click", theme);
  addEventListener("hashchange", open);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input[type=search]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const toEvent = (it) => it.querySelector("summary");
    const toTurn = (it) => it.querySelector("details.event:not([hidden]) > summary");
    const actions = {
      j: () => go(events, 1, toEvent),
      k: () => go(events, -1, toEvent),
      n: () => go(turns, 1, toTurn),
      p: () => go(turns, -1, toTurn),
      t: theme,
      "/": () => filter.focus(),
    };
    const action = actions[event.key];
    if (action !== undefined) {
      event.preventDefault();
      action();
    }
  });
  show();
  open();
}
