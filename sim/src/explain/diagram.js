// Geometry of the diagram: lanes across, time downwards; by event (an even step each) or by true time.

const canvas = document.getElementById("canvas");
const HEAD = 26, AXIS = 92, CLIENTS_MAX = 12;
const view = { byTime: false, top: 0, perPx: 1 / 14, width: 0, height: 0 };

const clientColumns = Math.min(run.clients, CLIENTS_MAX);
const clientsWidth = () => (clientColumns ? clientColumns * 9 + 26 : 0);
const watchesWidth = () => (run.passed.length ? 46 : 0);

function laneX(member) {
  const left = AXIS + clientsWidth(), right = view.width - watchesWidth();
  return left + ((right - left) * (member + 0.5)) / run.members.length;
}

function clientX(client) {
  return AXIS + 14 + (client % CLIENTS_MAX) * 9;
}

const watchX = (stream) => view.width - watchesWidth() + 14 + (stream % 3) * 11;

// Along the axis an event stands at its time, or at its number. `u` is either.
const uOf = (event) => (view.byTime ? times[event] : event);
const uOfTime = (ns) => (view.byTime ? ns : lowerBound(times, ns));
const yOf = (u) => HEAD + (u - view.top) / view.perPx;
const uAt = (y) => view.top + (y - HEAD) * view.perPx;
const uFirst = () => (view.byTime ? run.window.from : -1);
const uLast = () => (view.byTime ? Math.max(run.window.to, times[count - 1]) : count);

// Beginning and end of each message on both axes, and an order in which a stretch is found quickly: the latest
// end of each block of messages says whether one of them reaches into it.
const BLOCK = 256;
function indexLetters(byTime) {
  const n = run.letters.length;
  const begin = new Float64Array(n), end = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    const row = run.letters[k];
    const ended = row[L.ended] < 0 ? run.run.end : row[L.ended];
    if (byTime) {
      begin[k] = row[L.sent];
      end[k] = ended;
    } else {
      begin[k] = letterSent[k] >= 0 ? letterSent[k] : lowerBound(times, row[L.sent]) - 0.5;
      end[k] = letterEnded[k] >= 0 ? letterEnded[k] : Math.max(begin[k], lowerBound(times, ended));
    }
  }
  const order = Array.from({ length: n }, (_, k) => k).sort((a, b) => begin[a] - begin[b]);
  const latest = [];
  for (let k = 0; k < n; k++) {
    const block = Math.floor(k / BLOCK);
    latest[block] = Math.max(latest[block] ?? -Infinity, end[order[k]]);
  }
  return { begin, end, order, latest };
}
const letterIndex = [indexLetters(false), indexLetters(true)];
const letters = () => letterIndex[view.byTime ? 1 : 0];

// Messages that touch a stretch of the axis.
function lettersIn(low, high) {
  const { begin, end, order, latest } = letters();
  const found = [];
  for (let block = 0; block < latest.length; block++) {
    if (begin[order[block * BLOCK]] > high) break;
    if (latest[block] < low) continue;
    const stop = Math.min(order.length, (block + 1) * BLOCK);
    for (let k = block * BLOCK; k < stop; k++) {
      const letter = order[k];
      if (begin[letter] > high) break;
      if (end[letter] >= low) found.push(letter);
    }
  }
  return found;
}

// Stretches of a member's lane in which role and term stay the same, while it runs.
const phases = run.members.map((_, member) => {
  const all = [];
  const seat = seats[member];
  seat.events.forEach((event, place) => {
    const row = run.figures[seat.rows[place]];
    const before = all[all.length - 1];
    if (!before || before.role !== row[F.role] || before.term !== row[F.term]) {
      all.push({ event, at: Math.max(row[F.at], run.window.from), role: row[F.role], term: row[F.term] });
    }
  });
  return all;
});

// Where an event has its point.
function xOf(i) {
  const place = places[i];
  switch (kinds[i]) {
    case FIGURES: return laneX(run.figures[place][F.member]);
    case SENT: return laneX(run.letters[place][L.from]);
    case ENDED: return laneX(run.letters[place][L.to]);
    case DECIDED: return laneX(run.decided[place][D.member]);
    case NOTE: return run.notes[place][N.member] < 0 ? AXIS : laneX(run.notes[place][N.member]);
    case CALL: case GAVE_UP: case ANSWER_LOST: return clientX(run.ops[place][O.client]);
    case TAKEN: case ANSWERED: return laneX(run.ops[place][O.member]);
    case PASSED: return watchX(run.passed[place][P.stream]);
    default: return AXIS;
  }
}

// The event nearest to a point, of those that pass the filters.
function eventAt(x, y, shown) {
  const reach = 14 * view.perPx;
  const u = uAt(y);
  const isBelow = (event) => uOf(event) < u - reach;
  let low = 0, high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBelow(shown[middle])) low = middle + 1; else high = middle;
  }
  let best = -1, least = Infinity;
  for (let k = low; k < shown.length && uOf(shown[k]) <= u + reach && k < low + 5000; k++) {
    const distance = Math.hypot(xOf(shown[k]) - x, (yOf(uOf(shown[k])) - y) * 2);
    if (distance < least) [best, least] = [k, distance];
  }
  return best;
}

function clampView() {
  const length = uLast() - uFirst();
  const most = length / Math.max(1, view.height - HEAD - 20);
  const least = view.byTime ? 20 : 1 / 60;
  view.perPx = Math.min(Math.max(view.perPx, least), Math.max(most, least));
  const bottom = uLast() - (view.height - HEAD - 20) * view.perPx;
  view.top = Math.max(Math.min(view.top, bottom), uFirst());
}

function zoom(factor, y) {
  const fixed = uAt(y);
  view.perPx *= factor;
  clampView();
  view.top = fixed - (y - HEAD) * view.perPx;
  clampView();
}

// Brings an event into sight, moving no more than needed.
function reveal(event) {
  const y = yOf(uOf(event));
  const low = HEAD + 30, high = view.height - 40;
  if (y < low || y > high) {
    const isFar = y < low - view.height || y > high + view.height;
    const wanted = isFar ? view.height / 2 : y < low ? low + 40 : high - 40;
    view.top = uOf(event) - (wanted - HEAD) * view.perPx;
  }
  clampView();
}

// The other axis, with the same event in the same place.
function switchAxis(event) {
  const y = event < 0 ? view.height / 2 : yOf(uOf(event));
  const visible = (view.height - HEAD) * view.perPx;
  const low = view.top, high = view.top + visible;
  if (view.byTime) {
    const events = lowerBound(times, high) - lowerBound(times, low);
    view.perPx = Math.max(events, 20) / (view.height - HEAD);
  } else {
    const clip = (u) => times[Math.min(count - 1, Math.max(0, Math.round(u)))];
    view.perPx = Math.max(clip(high) - clip(low), 1000) / (view.height - HEAD);
  }
  view.byTime = !view.byTime;
  if (event >= 0) view.top = uOf(event) - (y - HEAD) * view.perPx;
  clampView();
}
