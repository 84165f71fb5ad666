// Beside the diagram: what the selected event is, what each member is at, and the list of events.

const ROW = 20;
const list = document.getElementById("list"), rows = document.getElementById("rows");
const seatTable = document.querySelector("#seats table");

function element(tag, text, classes = "") {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

const SEAT_ROWS = [
  ["role", F.role, (v) => ROLES[v]],
  ["term", F.term],
  ["vote", F.vote, name],
  ["leader", F.leader, name],
  ["last entry", F.last],
  ["on disk", F.durable],
  ["commit", F.committed],
  ["applied", F.applied],
  ["revision", F.revision],
  ["compacted", F.compact],
  ["leases", F.leases],
];

function deadlineText(deadline, at) {
  if (deadline < 0) return "";
  return deadline >= at ? "in " + ((deadline - at) / 1e9).toFixed(2) + " s" : ((at - deadline) / 1e9).toFixed(2) + " s ago";
}

function showSeats(selected) {
  const head = element("tr"), body = [];
  head.append(element("th", ""));
  const states = run.members.map((id, member) => {
    const isNamed = run.failure && run.failure.members.includes(member);
    const th = element("th", name(member), isNamed ? "named" : "");
    th.scope = "col";
    th.title = "member " + id;
    head.append(th);
    return { ...figuresAt(member, selected), isUp: isUp(member, selected) };
  });
  const row = (label, cellOf) => {
    const tr = element("tr");
    const th = element("th", label);
    th.scope = "row";
    tr.append(th, ...states.map(cellOf));
    body.push(tr);
  };
  for (const [label, column, show = String] of SEAT_ROWS) {
    row(label, (state) => {
      if (!state.isUp || !state.now) return element("td", label === "role" ? "down" : "", "down");
      const isChanged = state.changed && state.before && state.before[column] !== state.now[column];
      const isLeader = state.now[F.role] === 3;
      return element("td", show(state.now[column]), (isChanged ? "changed " : "") + (isLeader ? "leader" : ""));
    });
  }
  row("next lease ends", (state) =>
    element("td", state.isUp && state.now ? deadlineText(state.now[F.deadline], times[selected]) : ""));
  seatTable.tHead.replaceChildren(head);
  seatTable.tBodies[0].replaceChildren(...body);
}

function showNow(selected) {
  const place = `event ${(selected + 1).toLocaleString("en")} of ${count.toLocaleString("en")}, turn ${turns[selected]}, ${seconds(times[selected])} s`;
  document.getElementById("now").textContent = place + "\n" + tell(selected);
  document.body.dataset.event = selected;
}

// Only the rows that are visible are in the document.
function showList(shown, position) {
  rows.style.height = shown.length * ROW + "px";
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const made = [];
  for (let k = first; k < last; k++) {
    const event = shown[k];
    const row = element("div", undefined, "row" + (event === brokenAt ? " bad" : ""));
    row.style.top = k * ROW + "px";
    row.id = "row" + k;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", k === position);
    row.setAttribute("aria-posinset", k + 1);
    row.setAttribute("aria-setsize", shown.length);
    row.append(element("span", seconds(times[event]).padStart(11) + "  ", "at"), tell(event, true));
    row.title = tell(event);
    row.dataset.position = k;
    made.push(row);
  }
  rows.replaceChildren(...made);
  list.setAttribute("aria-activedescendant", "row" + position);
}

function revealRow(position) {
  const top = position * ROW;
  if (top < list.scrollTop + ROW || top > list.scrollTop + list.clientHeight - 2 * ROW) {
    list.scrollTop = top - list.clientHeight / 2;
  }
}

function showPart() {
  const { from, to, fromTurn, toTurn, before, behind } = run.window;
  const whole = `${run.run.events.toLocaleString("en")} events, ${run.run.turns.toLocaleString("en")} turns, ${(run.run.end / 1e9).toFixed(1)} s`;
  const part = before || behind
    ? `This page has ${(from / 1e9).toFixed(3)} s to ${(to / 1e9).toFixed(3)} s (turns ${fromTurn} to ${toTurn}) of ${whole}; --from and --to of cargo sim explain choose another part.`
    : `This page has the whole run: ${whole}.`;
  document.getElementById("part").textContent = part;
}
