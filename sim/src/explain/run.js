"use strict";
// The run as it stands in the page, and questions to it. Times are ns; -1 stands for none.

const run = JSON.parse(document.getElementById("run").textContent);

// Kinds of events, as tables.rs numbers them.
const FIGURES = 0, SENT = 1, ENDED = 2, BEGINS = 3, ENDS = 4, DECIDED = 5, NOTE = 6, GAVE_UP = 7,
  ANSWER_LOST = 8, CALL = 9, TAKEN = 10, ANSWERED = 11, PASSED = 12, BROKEN = 13;
// Columns of the tables.
const F = { at: 0, turn: 1, member: 2, role: 3, term: 4, vote: 5, leader: 6, last: 7, durable: 8, committed: 9,
  applied: 10, revision: 11, compact: 12, leases: 13, deadline: 14 };
const L = { from: 0, to: 1, kind: 2, sent: 3, ended: 4, fate: 5, flags: 6, text: 7 };
const O = { client: 0, member: 1, call: 2, taken: 3, end: 4, outcome: 5, text: 6, answer: 7, revision: 8 };
const P = { at: 0, stream: 1, member: 2, delivery: 3, text: 4 };
const N = { at: 0, turn: 1, member: 2, cls: 3, text: 4 };
const D = { at: 0, turn: 1, member: 2, index: 3, term: 4, text: 5 };
const S = { kind: 0, members: 1, links: 2, text: 3, from: 4, until: 5 };
const ROLES = ["follower", "pre-candidate", "candidate", "leader"];
const ARRIVED = 1, LOST = 2, HELD = 4;

const count = run.events.length / 2;
const kinds = new Uint8Array(count);
const places = new Int32Array(count);
const times = new Float64Array(count);
const turns = new Float64Array(count);
// Events of each letter and request in this page; -1: outside of it.
const letterSent = new Int32Array(run.letters.length).fill(-1);
const letterEnded = new Int32Array(run.letters.length).fill(-1);
const opEvents = run.ops.map(() => ({ call: -1, taken: -1, end: -1 }));
// By member: events that changed its figures, and the rows; the first rows are older than the page.
const seats = run.members.map(() => ({ events: [], rows: [] }));
let brokenAt = -1;

for (let row = 0; row < run.figuresBefore; row++) {
  const seat = seats[run.figures[row][F.member]];
  seat.events.push(-1);
  seat.rows.push(row);
}
for (let i = 0; i < count; i++) {
  const kind = run.events[2 * i], place = run.events[2 * i + 1];
  kinds[i] = kind;
  places[i] = place;
  times[i] = timeOf(kind, place, i ? times[i - 1] : run.window.from);
  turns[i] = turnOf(kind, place, i ? turns[i - 1] : run.window.fromTurn);
  if (kind === SENT) {
    letterSent[place] = i;
    if (isUnsent(run.letters[place])) letterEnded[place] = i;
  }
  if (kind === ENDED) letterEnded[place] = i;
  if (kind === CALL) opEvents[place].call = i;
  if (kind === TAKEN) opEvents[place].taken = i;
  if (kind === ANSWERED || (kind === GAVE_UP && opEvents[place].end < 0)) opEvents[place].end = i;
  if (kind === BROKEN) brokenAt = i;
  if (kind === FIGURES) {
    const seat = seats[run.figures[place][F.member]];
    seat.events.push(i);
    seat.rows.push(place);
  }
}

function timeOf(kind, place, before) {
  switch (kind) {
    case FIGURES: return run.figures[place][F.at];
    case SENT: return run.letters[place][L.sent];
    case ENDED: return run.letters[place][L.ended];
    case BEGINS: return run.spans[place][S.from];
    case ENDS: return run.spans[place][S.until];
    case DECIDED: return run.decided[place][D.at];
    case NOTE: return run.notes[place][N.at];
    case CALL: return run.ops[place][O.call];
    case TAKEN: return run.ops[place][O.taken];
    case ANSWERED: return run.ops[place][O.end];
    case PASSED: return run.passed[place][P.at];
    case BROKEN: return run.failure.at;
    default: return before;
  }
}

function turnOf(kind, place, before) {
  switch (kind) {
    case FIGURES: return run.figures[place][F.turn];
    case DECIDED: return run.decided[place][D.turn];
    case NOTE: return run.notes[place][N.turn];
    case BROKEN: return run.failure.turn;
    default: return before;
  }
}

// First place in a sorted array whose value is not below `value`.
function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

// The figures of a member at an event, and those before them; null where none are known.
function figuresAt(member, event) {
  const seat = seats[member];
  const place = lowerBound(seat.events, event + 1) - 1;
  return {
    now: place < 0 ? null : run.figures[seat.rows[place]],
    before: place < 1 ? null : run.figures[seat.rows[place - 1]],
    changed: place >= 0 && seat.events[place] === event,
  };
}

// Whether a member's process runs at an event.
function isUp(member, event) {
  const at = times[event];
  return run.lives.some((life) => life[0] === member && life[1] <= at && (life[2] < 0 || at < life[2]));
}

const seconds = (ns) => (ns / 1e9).toFixed(6);
const name = (member) => (member < 0 ? "nobody" : "m" + member);
const textOf = (number) => (number < 0 ? "" : run.texts[number]);

function took(ns) {
  if (ns < 1e6) return (ns / 1e3).toFixed(0) + " us";
  return ns < 1e9 ? (ns / 1e6).toFixed(1) + " ms" : (ns / 1e9).toFixed(2) + " s";
}

// Members that an event is about, and whether clients are.
function lanesOf(i) {
  const place = places[i];
  switch (kinds[i]) {
    case FIGURES: return { members: [run.figures[place][F.member]], clients: false };
    case SENT: case ENDED: return { members: [run.letters[place][L.from], run.letters[place][L.to]], clients: false };
    case DECIDED: return { members: [run.decided[place][D.member]], clients: false };
    case NOTE: return { members: run.notes[place][N.member] < 0 ? [] : [run.notes[place][N.member]], clients: false };
    case CALL: case TAKEN: case ANSWERED: case GAVE_UP: case ANSWER_LOST:
      return { members: [run.ops[place][O.member]], clients: true };
    case PASSED: return { members: [run.passed[place][P.member]], clients: true };
    default: return { members: [], clients: false };
  }
}

// The family by which an event is filtered: a kind of message, or one of these.
const FAMILIES = [...run.kinds, "figures", "log", "requests", "watches", "faults and notes"];
function familyOf(i) {
  const messages = run.kinds.length;
  switch (kinds[i]) {
    case SENT: case ENDED: return run.letters[places[i]][L.kind];
    case FIGURES: return messages;
    case DECIDED: return messages + 1;
    case CALL: case TAKEN: case ANSWERED: case GAVE_UP: case ANSWER_LOST: return messages + 2;
    case PASSED: return messages + 3;
    default: return messages + 4;
  }
}

function changesOf(i) {
  const { now, before } = figuresAt(run.figures[places[i]][F.member], i);
  const words = [];
  const say = (word, column, show = (x) => x) => {
    if (!before || before[column] !== now[column]) {
      words.push(before ? `${word} ${show(before[column])} -> ${show(now[column])}` : `${word} ${show(now[column])}`);
    }
  };
  say("role", F.role, (role) => ROLES[role]);
  say("term", F.term);
  say("vote", F.vote, name);
  say("leader", F.leader, name);
  say("last", F.last);
  say("disk", F.durable);
  say("commit", F.committed);
  say("applied", F.applied);
  say("rev", F.revision);
  say("compacted", F.compact);
  say("leases", F.leases);
  if (!words.length) words.push("next lease ends " + (now[F.deadline] < 0 ? "never" : "at " + seconds(now[F.deadline]) + " s"));
  return words.join(", ");
}

// An event as a line; `isShort` for a list that has little room.
function tell(i, isShort = false) {
  const place = places[i];
  switch (kinds[i]) {
    case FIGURES: return `${name(run.figures[place][F.member])}: ${changesOf(i)}`;
    case SENT: case ENDED: 
      return tellLetter(run.letters[place], kinds[i] === SENT, isShort ? brief : String);
    case BEGINS: return textOf(run.spans[place][S.text]) + (run.spans[place][S.kind] === 0 ? " begins" : "");
    case ENDS: return textOf(run.spans[place][S.text]) + " ends";
    case DECIDED: {
      const row = run.decided[place];
      if (isShort) return `entry ${row[D.index]} is decided: ${textOf(row[D.text])}`;
      return `entry ${row[D.index]} of term ${row[D.term]} is decided (${name(row[D.member])} applies it first): ${textOf(row[D.text])}`;
    }
    case NOTE: return textOf(run.notes[place][N.text]);
    case PASSED: {
      const row = run.passed[place];
      const arrow = row[P.delivery] ? "=>" : "<=";
      return `${name(row[P.member])} ${arrow} stream ${row[P.stream]}: ${textOf(row[P.text])}`;
    }
    case BROKEN: return "BROKEN HERE: " + run.failure.text.split("\n")[0];
    default: return tellOp(kinds[i], run.ops[place]);
  }
}

// Lost, cut off or held as it was sent: there is no second event of it.
function isUnsent(row) {
  return row[L.fate] >= LOST && row[L.fate] <= HELD;
}

// A message of raft's in a few words; what else there is as it is.
function brief(text) {
  const mail = /^Msg(\w+) term (\d+) index (\d+) log term \d+ commit (\d+) entries (\d+)( refused)?$/.exec(text);
  const question = /^(Ask|Answer) \{ epoch: \d+, number: (\d+), (?:question|answer): (.*) \}$/.exec(text);
  if (question) return `${question[1]} ${question[2]}: ${question[3]}`;
  if (!mail) return text.length > 40 ? text.slice(0, 38) + ".." : text;
  const [, kind, term, index, commit, entries, refused] = mail;
  const more = entries !== "0" ? ` +${entries}` : "";
  return `${kind} t${term}${index !== "0" ? " i" + index : ""}${more}${commit !== "0" ? " c" + commit : ""}${refused ?? ""}`;
}

function tellLetter(row, isSent, show) {
  const how = (row[L.flags] & 2 ? " (late copy)" : "") + (row[L.flags] === 1 ? " (copy)" : "");
  const line = `${name(row[L.from])} => ${name(row[L.to])} ${show(textOf(row[L.text]))}${how}`;
  if (!isSent) {
    const age = took(row[L.ended] - row[L.sent]);
    return row[L.fate] === ARRIVED ? `${line}: arrives after ${age}` : `${line}: ${run.fates[row[L.fate]]}`;
  }
  return isUnsent(row) ? `${line}: ${run.fates[row[L.fate]]}` : line + ": sent";
}

function tellOp(kind, row) {
  const who = `client ${row[O.client]}`, asked = textOf(row[O.text]);
  const at = row[O.revision] < 0 ? "" : ` (rev ${row[O.revision]})`;
  switch (kind) {
    case CALL: return `${who} asks ${name(row[O.member])}: ${asked}`;
    case TAKEN: return `${name(row[O.member])} takes of ${who}: ${asked}`;
    case ANSWERED: {
      const verdict = ["", "answered", "refused", "left open"][row[O.outcome]];
      return `${name(row[O.member])} to ${who}: ${asked}: ${verdict}: ${textOf(row[O.answer])}${at}`;
    }
    case GAVE_UP: return `${who} waits no longer for ${name(row[O.member])}: ${asked}`;
    default: return `the answer to ${who} is lost on its way: ${asked}`;
  }
}
