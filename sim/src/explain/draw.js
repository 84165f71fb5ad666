// Painting: only what is visible, and no more of it than eyes can tell apart.

const pen = canvas.getContext("2d");
const LETTERS_MAX = 4000, ARROWS_MAX = 900, WORDS_MAX = 70, OPS_ARROWS_MAX = 500;
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "ink", "faint", "line", "panel", "mark", "bad", "good", "cut", "pause", "open", "refused",
    "watch", ...run.kinds];
  colours = Object.fromEntries(names.map((key) => [key, style.getPropertyValue("--" + key).trim()]));
  colours.terms = Array.from({ length: 8 }, (_, k) => style.getPropertyValue("--term" + k).trim());
}

function line(x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function cross(x, y, size) {
  line(x - size, y - size, x + size, y + size);
  line(x - size, y + size, x + size, y - size);
}

function arrowHead(x0, y0, x1, y1) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x1 - 7 * Math.cos(angle - 0.4), y1 - 7 * Math.sin(angle - 0.4));
  pen.lineTo(x1 - 7 * Math.cos(angle + 0.4), y1 - 7 * Math.sin(angle + 0.4));
  pen.closePath();
  pen.fill();
}

// Words stand above all else, and are left out where there are some already.
let said = [];
function words(text, x, y, colour) {
  const width = pen.measureText(text).width;
  if (said.some((box) => Math.abs(box.y - y) < 12 && x < box.x + box.width && box.x < x + width)) return;
  said.push({ text, x, y, width, colour });
}

function drawWords() {
  for (const { text, x, y, width, colour } of said) {
    pen.globalAlpha = 0.85;
    pen.fillStyle = colours.paper;
    pen.fillRect(x - 2, y - 9, width + 4, 13);
    pen.globalAlpha = 1;
    pen.fillStyle = colour;
    pen.fillText(text, x, y + 1);
  }
}

// `shown` are the events that pass the filters, `filter` the lanes and families that do.
function draw(selected, filter) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(view.width * ratio) || canvas.height !== Math.round(view.height * ratio)) {
    canvas.width = Math.round(view.width * ratio);
    canvas.height = Math.round(view.height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, view.width, view.height);
  said = [];
  const low = uAt(HEAD - 30), high = uAt(view.height + 30);
  pen.save();
  pen.beginPath();
  pen.rect(0, HEAD, view.width, view.height - HEAD);
  pen.clip();
  drawSpans(low, high);
  drawAxis(low, high);
  run.members.forEach((_, member) => filter.members[member] && drawLane(member, low, high));
  const thinned = drawLetters(low, high, filter);
  if (filter.clients) drawOps(low, high, filter);
  drawNotes(low, high, filter);
  drawCursor(selected);
  drawWords();
  pen.restore();
  drawHead(filter, thinned);
}

function drawHead(filter, thinned) {
  pen.fillStyle = colours.panel;
  pen.fillRect(0, 0, view.width, HEAD);
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  line(0, HEAD - 0.5, view.width, HEAD - 0.5);
  pen.fillStyle = colours.faint;
  pen.fillText(thinned > 1 ? `1 of ${thinned} drawn` : "seconds", 6, 17);
  if (clientColumns) pen.fillText("clients", clientX(0) - 6, 17);
  if (watchesWidth()) pen.fillText("watch", watchX(0) - 8, 17);
  run.members.forEach((_, member) => {
    const isNamed = run.failure && run.failure.members.includes(member);
    pen.fillStyle = isNamed ? colours.bad : filter.members[member] ? colours.ink : colours.faint;
    pen.textAlign = "center";
    pen.fillText((isNamed ? "! " : "") + name(member), laneX(member), 17);
    pen.textAlign = "left";
  });
}

// Round steps of time on one axis; on the other the time of the event that stands there.
function drawAxis(low, high) {
  pen.fillStyle = colours.faint;
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  const pixels = 56;
  if (!view.byTime) {
    const step = Math.max(1, Math.ceil(pixels * view.perPx));
    for (let i = Math.max(0, Math.ceil(low / step) * step); i <= Math.min(count - 1, high); i += step) {
      pen.fillText(seconds(times[i]), 6, yOf(i) + 4);
      line(AXIS - 8, yOf(i), AXIS - 2, yOf(i));
    }
    return;
  }
  let step = 1000;
  for (let k = 0; step < pixels * view.perPx; k++) step *= k % 2 ? 2 : 5;
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
    pen.fillText(seconds(at), 6, yOf(at) + 4);
    line(AXIS - 8, yOf(at), view.width, yOf(at));
  }
}

function drawSpans(low, high) {
  for (const span of run.spans) {
    const from = uOfTime(span[S.from]), until = span[S.until] < 0 ? uLast() : uOfTime(span[S.until]);
    if (until < low || from > high) continue;
    const top = Math.max(yOf(from), HEAD), bottom = Math.min(yOf(until), view.height);
    const height = Math.max(bottom - top, 1.5);
    pen.globalAlpha = 1;
    if (span[S.kind] === 0) {
      pen.globalAlpha = 0.09;
      pen.fillStyle = colours.cut;
      pen.fillRect(AXIS, top, view.width - AXIS, height);
      pen.globalAlpha = 1;
      words(textOf(span[S.text]), AXIS + clientsWidth() + 4, top + 12, colours.cut);
      pen.fillRect(AXIS, top, 3, height);
    } else if (span[S.kind] === 1) {
      pen.fillStyle = colours.pause;
      const [from, to] = span[S.links][0].map(laneX);
      pen.globalAlpha = 0.08;
      pen.fillRect(Math.min(from, to), top, Math.abs(to - from), height);
      pen.globalAlpha = 1;
      words(textOf(span[S.text]), Math.min(from, to) + 12, top + 12, colours.pause);
    }
    pen.globalAlpha = 1;
  }
}

function drawLane(member, low, high) {
  const x = laneX(member);
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.setLineDash([2, 5]);
  line(x, HEAD, x, view.height);
  pen.setLineDash([]);
  for (const life of run.lives) {
    if (life[0] !== member) continue;
    const born = uOfTime(life[1]), died = life[2] < 0 ? uLast() : uOfTime(life[2]);
    if (died < low || born > high) continue;
    const all = phases[member];
    for (let k = 0; k < all.length; k++) {
      const from = Math.max(born, all[k].event < 0 ? uFirst() : uOf(all[k].event));
      const until = Math.min(died, k + 1 < all.length ? uOf(all[k + 1].event) : uLast());
      if (until <= from || until < low || from > high) continue;
      drawPhase(x, yOf(from), yOf(until), all[k]);
    }
  }
  for (const span of run.spans) {
    if (span[S.kind] !== 2 || span[S.members][0] !== member) continue;
    const from = uOfTime(span[S.from]), until = uOfTime(span[S.until]);
    if (until < low || from > high) continue;
    // A gap: the member does nothing.
    pen.fillStyle = colours.paper;
    pen.fillRect(x - 8, yOf(from), 16, Math.max(yOf(until) - yOf(from), 2));
    pen.strokeStyle = colours.pause;
    pen.lineWidth = 1;
    pen.setLineDash([3, 3]);
    pen.strokeRect(x - 6, yOf(from), 12, Math.max(yOf(until) - yOf(from), 2));
    pen.setLineDash([]);
  }
}

function drawPhase(x, top, bottom, phase) {
  const [from, to] = [Math.max(top, HEAD - 5), Math.min(bottom, view.height + 5)];
  const width = [3, 5, 7, 13][phase.role];
  pen.fillStyle = colours.terms[phase.term % 8];
  pen.fillRect(x - width / 2, from, width, Math.max(to - from, 1));
  if (phase.role === 3) {
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1;
    pen.strokeRect(x - width / 2, from, width, Math.max(to - from, 1));
  }
  if (to - from > 14) {
    const role = phase.role ? " " + ROLES[phase.role] : "";
    words(`term ${phase.term}${role}`, x + 9, Math.max(top, HEAD + 2) + 10, colours.ink);
  }
}

// Messages by kind; the number of which only one is drawn.
function drawLetters(low, high, filter) {
  const isShown = (k) => {
    const row = run.letters[k];
    return filter.families[row[L.kind]] && filter.members[row[L.from]] && filter.members[row[L.to]];
  };
  const visible = lettersIn(low, high).filter(isShown);
  const each = Math.ceil(visible.length / LETTERS_MAX);
  const { begin, end } = letters();
  pen.lineWidth = visible.length > 400 ? 0.7 : 1.2;
  pen.globalAlpha = visible.length > 1500 ? 0.4 : 1;
  const hasArrows = visible.length <= ARROWS_MAX, hasWords = visible.length <= WORDS_MAX;
  visible.forEach((k, nth) => {
    if (nth % each) return;
    const row = run.letters[k];
    const x0 = laneX(row[L.from]), y0 = yOf(begin[k]), y1 = yOf(end[k]);
    const colour = colours[run.kinds[row[L.kind]]];
    pen.strokeStyle = pen.fillStyle = colour;
    let x1 = laneX(row[L.to]), yEnd = y1;
    if (isUnsent(row)) {
      // It goes nowhere: a stub with a cross.
      x1 = x0 + (x1 - x0) * 0.3;
      yEnd = y0 + 6;
    }
    pen.setLineDash(row[L.fate] === ARRIVED ? [] : [4, 3]);
    line(x0, y0, x1, yEnd);
    pen.setLineDash([]);
    if (row[L.fate] > ARRIVED) {
      pen.strokeStyle = colours.bad;
      cross(x1, yEnd, 3);
    } else if (hasArrows && row[L.fate] === ARRIVED) {
      arrowHead(x0, y0, x1, y1);
    }
    if (hasWords && y0 > HEAD) {
      const text = brief(textOf(row[L.text]));
      const width = pen.measureText(text).width;
      words(text, x1 > x0 ? x0 + 12 : x0 - 12 - width, y0 + 4, colour);
    }
  });
  pen.globalAlpha = 1;
  return each;
}

function opColour(row) {
  return [colours.open, colours.good, colours.refused, colours.open][row[O.outcome]];
}

// Requests as bars in their client's column, with the way to the member and back when there is room.
function drawOps(low, high, filter) {
  if (!filter.families[run.kinds.length + 2]) return;
  const visible = [];
  run.ops.forEach((row, k) => {
    const { call, end } = opEvents[k];
    const from = call >= 0 ? uOf(call) : uOfTime(row[O.call]);
    const until = end >= 0 ? uOf(end) : row[O.end] < 0 ? uLast() : Math.max(from, uOfTime(row[O.end]));
    if (until >= low && from <= high && filter.members[row[O.member]]) visible.push([k, from, until]);
  });
  for (const [k, from, until] of visible) {
    const row = run.ops[k];
    const x = clientX(row[O.client]), lane = laneX(row[O.member]), arrival = opEvents[k].taken;
    const top = yOf(from), bottom = yOf(until);
    pen.strokeStyle = pen.fillStyle = opColour(row);
    const isAnswered = row[O.outcome] > 0;
    pen.globalAlpha = isAnswered ? 0.9 : 0.6;
    if (isAnswered) pen.fillRect(x - 2, top, 4, Math.max(bottom - top, 2));
    else {
      pen.lineWidth = 1.5;
      pen.setLineDash([3, 2]);
      pen.strokeRect(x - 2, top, 4, Math.max(bottom - top, 2));
      pen.setLineDash([]);
    }
    pen.globalAlpha = 1;
    if (run.failure && run.failure.op === k) {
      pen.strokeStyle = colours.bad;
      pen.lineWidth = 2.5;
      pen.strokeRect(x - 5, top - 3, 10, Math.max(bottom - top, 2) + 6);
    }
    if (visible.length > OPS_ARROWS_MAX) continue;
    pen.strokeStyle = pen.fillStyle = opColour(row);
    pen.lineWidth = 0.8;
    pen.globalAlpha = 0.55;
    if (arrival >= 0) line(x + 3, top, lane, yOf(uOf(arrival)));
    if (isAnswered) {
      line(lane, bottom, x + 3, bottom);
      arrowHead(lane, bottom, x + 3, bottom);
    }
    pen.globalAlpha = 1;
  }
}

// Points: ends and beginnings of processes, notes, watch traffic, decided entries.
function drawNotes(low, high, filter) {
  const first = lowerBoundBy(low), most = 4000;
  let drawn = 0;
  for (let i = first; i < count && uOf(i) <= high && drawn < most; i++) {
    const kind = kinds[i], y = yOf(uOf(i));
    const { members } = lanesOf(i);
    if (!filter.families[familyOf(i)] || members.some((member) => !filter.members[member])) continue;
    if (kind === NOTE) {
      drawn++;
      const row = run.notes[places[i]], x = xOf(i);
      pen.strokeStyle = pen.fillStyle = row[N.cls] === 0 ? colours.bad : row[N.cls] === 1 ? colours.good : colours.faint;
      pen.lineWidth = row[N.cls] === 5 ? 1 : 2.5;
      if (row[N.cls] === 0) cross(x, y, 6);
      else if (row[N.member] < 0) line(AXIS, y, view.width, y);
      else pen.fillRect(x - 3, y - 3, 6, 6);
      if (view.perPx * 13 < (view.byTime ? 2e7 : 4)) words(textOf(row[N.text]), x + 10, y + 4, pen.fillStyle);
    } else if (kind === PASSED && filter.clients) {
      drawn++;
      pen.fillStyle = colours.watch;
      pen.fillRect(watchX(run.passed[places[i]][P.stream]) - 3, y - 1.5, 6, 3);
    } else if (kind === DECIDED && view.perPx < (view.byTime ? 1e6 : 1)) {
      drawn++;
      pen.fillStyle = colours.ink;
      pen.fillRect(xOf(i) - 9, y - 1, 18, 2);
    }
  }
}

function lowerBoundBy(low) {
  return view.byTime ? lowerBound(times, low) : Math.max(0, Math.floor(low));
}

function drawCursor(selected) {
  if (brokenAt >= 0) {
    const y = yOf(uOf(brokenAt));
    pen.strokeStyle = colours.bad;
    pen.lineWidth = 2;
    line(AXIS, y, view.width, y);
    words("broken here: " + run.failure.check, AXIS + clientsWidth() + 4, y - 6, colours.bad);
  }
  if (selected < 0) return;
  const y = yOf(uOf(selected));
  pen.strokeStyle = colours.ink;
  pen.lineWidth = 1;
  pen.setLineDash([6, 3]);
  line(0, y, view.width, y);
  pen.setLineDash([]);
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(xOf(selected), y, 7, 0, 2 * Math.PI);
  pen.stroke();
  const kind = kinds[selected], place = places[selected];
  if (kind === SENT || kind === ENDED) {
    const { begin, end } = letters(), row = run.letters[place];
    pen.lineWidth = 3;
    pen.strokeStyle = colours[run.kinds[row[L.kind]]];
    if (!isUnsent(row)) line(laneX(row[L.from]), yOf(begin[place]), laneX(row[L.to]), yOf(end[place]));
  }
}
