// The page at work: filters, keys, pointer, and one cursor that everything follows.

const filter = { members: run.members.map(() => true), clients: true, families: FAMILIES.map(() => true) };
let shown = Int32Array.from({ length: count }, (_, i) => i);
let position = 0;
let isDrawing = false;

const selectedEvent = () => (shown.length ? shown[position] : -1);

function refresh() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    draw(selectedEvent(), filter);
  });
}

function select(wanted) {
  if (!shown.length) return;
  position = Math.min(Math.max(wanted, 0), shown.length - 1);
  const event = shown[position];
  reveal(event);
  showNow(event);
  showSeats(event);
  revealRow(position);
  showList(shown, position);
  refresh();
}

// The nearest event at or behind this one that passes the filters.
const positionOf = (event) => Math.min(lowerBound(shown, event), shown.length - 1);

function toFailure() {
  if (brokenAt >= 0) select(positionOf(brokenAt));
}

function applyFilter() {
  const before = selectedEvent();
  const kept = [];
  for (let i = 0; i < count; i++) {
    const { members, clients } = lanesOf(i);
    const isKept = filter.families[familyOf(i)] && members.every((m) => filter.members[m]) && (!clients || filter.clients);
    if (isKept || i === brokenAt) kept.push(i);
  }
  shown = Int32Array.from(kept);
  if (!shown.length) {
    document.getElementById("now").textContent = "Nothing passes the filters.";
    showList(shown, 0);
    return refresh();
  }
  select(positionOf(Math.max(before, 0)));
}

function find(text) {
  const wanted = text.toLowerCase();
  for (let step = 1; wanted && step <= shown.length; step++) {
    const candidate = (position + step) % shown.length;
    if (tell(shown[candidate]).toLowerCase().includes(wanted)) return select(candidate);
  }
  document.getElementById("now").textContent = `No event says "${text}".`;
}

function changeAxis() {
  switchAxis(selectedEvent());
  document.getElementById("axis").textContent = view.byTime ? "By event" : "By time";
  refresh();
}

function showAll() {
  view.perPx = Infinity;
  clampView();
  refresh();
}

function zoomAtCursor(factor) {
  const y = selectedEvent() < 0 ? view.height / 2 : yOf(uOf(selectedEvent()));
  zoom(factor, y > HEAD && y < view.height ? y : view.height / 2);
  refresh();
}

const page = () => Math.max(5, Math.floor(list.clientHeight / ROW) - 2);
const KEYS = {
  ArrowRight: () => select(position + 1), ArrowDown: () => select(position + 1), j: () => select(position + 1),
  ArrowLeft: () => select(position - 1), ArrowUp: () => select(position - 1), k: () => select(position - 1),
  PageDown: () => select(position + page()), PageUp: () => select(position - page()),
  Home: () => select(0), End: () => select(shown.length - 1), f: toFailure, t: changeAxis, 0: showAll,
  "+": () => zoomAtCursor(1 / 1.5), "=": () => zoomAtCursor(1 / 1.5), "-": () => zoomAtCursor(1.5),
  "/": () => document.getElementById("find").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof HTMLInputElement && event.target.type === "search") return;
  if (event.target.id === "failure" && event.key.startsWith("Arrow")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

const buttons = {
  first: KEYS.Home, back: KEYS.ArrowLeft, forward: KEYS.ArrowRight, last: KEYS.End, broken: toFailure,
  closer: KEYS["+"], farther: KEYS["-"], all: showAll, axis: changeAxis,
};
for (const [id, act] of Object.entries(buttons)) document.getElementById(id).addEventListener("click", act);
document.getElementById("broken").disabled = brokenAt < 0;

document.getElementById("find").addEventListener("keydown", (event) => {
  if (event.key === "Enter") find(event.target.value);
  if (event.key === "Escape") canvas.focus();
});

document.getElementById("copy").addEventListener("click", async (event) => {
  try {
    await navigator.clipboard.writeText(run.replay);
    event.target.textContent = "Copied";
  } catch {
    // A page that was opened from a file may not write the clipboard: the line can be selected instead.
    const range = document.createRange();
    range.selectNodeContents(document.getElementById("failure"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    event.target.textContent = "Selected: press ctrl C";
  }
});

let dragged = null;
canvas.addEventListener("pointerdown", (event) => {
  dragged = { y: event.clientY, top: view.top, hasMoved: false };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const moved = event.clientY - dragged.y;
  dragged.hasMoved ||= Math.abs(moved) > 4;
  if (!dragged.hasMoved) return;
  view.top = dragged.top - moved * view.perPx;
  clampView();
  refresh();
});
canvas.addEventListener("pointerup", (event) => {
  const wasDrag = dragged?.hasMoved;
  dragged = null;
  if (wasDrag) return;
  const box = canvas.getBoundingClientRect();
  const found = eventAt(event.clientX - box.left, event.clientY - box.top, shown);
  if (found >= 0) select(found);
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 300), event.clientY - box.top);
  else {
    view.top += event.deltaY * view.perPx;
    clampView();
  }
  refresh();
}, { passive: false });

list.addEventListener("scroll", () => showList(shown, position));
list.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row) select(Number(row.dataset.position));
});

function checkbox(into, label, colour, change) {
  const box = element("input");
  box.type = "checkbox";
  box.checked = true;
  box.addEventListener("change", () => {
    change(box.checked);
    applyFilter();
  });
  const around = element("label");
  around.append(box);
  if (colour) {
    const swatch = element("span", undefined, "swatch");
    swatch.style.background = `var(--${colour})`;
    around.append(swatch);
  }
  around.append(label);
  document.getElementById(into).append(around);
}
run.members.forEach((_, member) => checkbox("members", name(member), "", (on) => (filter.members[member] = on)));
checkbox("members", "clients", "", (on) => (filter.clients = on));
FAMILIES.forEach((family, k) =>
  checkbox("kinds", family, k < run.kinds.length ? family : "", (on) => (filter.families[k] = on)));

function resize() {
  const box = document.getElementById("diagram").getBoundingClientRect();
  [view.width, view.height] = [box.width, box.height];
  clampView();
  showList(shown, position);
  refresh();
}
new ResizeObserver(resize).observe(document.getElementById("diagram"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  refresh();
});

readColours();
showPart();
resize();
select(brokenAt >= 0 ? positionOf(brokenAt) : 0);
