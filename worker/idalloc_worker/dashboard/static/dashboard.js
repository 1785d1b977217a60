// Shows what /fleet.json says, again and again. It keeps nothing and sends nothing.

const SHOWN_ROWS = 200;
const SHOWN_BUFFERS = 8; // of one tag
const AGAIN = 1000; // milliseconds after which a dashboard that does not answer is asked again

const find = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (value) => whole.format(value);
const rate = (value) => (value >= 100 ? whole.format(Math.round(value)) : value.toFixed(1));
const sum = (rows, field) => rows.reduce((all, row) => all + row[field], 0);

function duration(seconds) {
  if (seconds === null) return "–";
  const s = Math.floor(seconds);
  if (s >= 86400) return s < 86400000 ? `${Math.floor(s / 86400)}d` : ">999d";
  if (s >= 3600) return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
  return s >= 60 ? `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s` : `${s}s`;
}

function owner(tag) {
  if (tag.partition === null) return "";
  return `${tag.owner ?? "changing hands"} (partition ${tag.partition})`;
}

const database = (worker) => ({ true: "yes", false: "NO", null: "–" })[worker.database];
const live = (field) => (worker) => (worker.age ? "–" : rate(worker[field]));

// Each column: its head, how a row is sorted by it (if at all), what is shown, and its kind.
const TAGS = {
  table: find("tags"),
  note: find("tags-note"),
  noun: "tags",
  key: (tag) => tag.app_tag,
  trouble: (tag) => !tag.healthy,
  rows: new Map(),
  sort: { column: 0, down: false },
  columns: [
    ["Tag", (t) => t.app_tag, (t) => t.app_tag, "name"],
    ["Buffers", null, drawBuffers, "buffers"],
    ["Ids/s", (t) => t.rate, (t) => rate(t.rate), "number"],
    ["Left", (t) => t.left, (t) => count(t.left), "number"],
    ["Cover", (t) => t.cover ?? Infinity, (t) => duration(t.cover), "number"],
    ["Waiters", (t) => t.waiters, (t) => count(t.waiters), "number"],
    ["Workers", (t) => t.workers, (t) => count(t.workers), "number"],
    ["Refills/s", (t) => t.refills, (t) => rate(t.refills), "number"],
    ["State", (t) => t.state, (t) => t.state, "word"],
    ["Owner", (t) => t.owner ?? "", owner, "words"],
    ["Last error", (t) => t.last_error ?? "", (t) => t.last_error ?? "", "words"],
  ],
};
const WORKERS = {
  table: find("workers"),
  note: find("workers-note"),
  noun: "workers",
  key: (worker) => worker.name,
  trouble: (worker) => worker.gone || worker.database === false,
  rows: new Map(),
  sort: { column: 0, down: false },
  columns: [
    ["Worker", (w) => w.name, (w) => w.name, "name"],
    ["Requests/s", (w) => w.requests, live("requests"), "number"],
    ["Granted/s", (w) => w.granted, live("granted"), "number"],
    ["Errors/s", (w) => w.errors, live("errors"), "number"],
    ["Refills/s", (w) => w.refills, live("refills"), "number"],
    ["Rewinds repaired", (w) => w.rewinds_repaired, (w) => count(w.rewinds_repaired), "number"],
    ["Database", database, (w) => (w.gone ? "–" : database(w)), "word"],
    ["Answered", (w) => w.age, (w) => (w.age ? `${duration(w.age)} ago` : "now"), "word"],
    ["Last error", (w) => w.last_error ?? "", (w) => (w.gone ? "gone: it does not answer any more" : (w.last_error ?? "")), "words"],
  ],
};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A full segment has `step` ids, or more where the step adapts: the largest seen since the last refill.
function drawBuffers(tag, cell) {
  const shown = tag.buffers.slice(0, SHOWN_BUFFERS);
  while (cell.children.length > shown.length) cell.lastElementChild.remove();
  shown.forEach((held, index) => {
    const pair = cell.children[index] ?? cell.appendChild(newPair());
    const old = pair.dataset.worker === held.worker && held.segments.length < 2 ? Number(pair.dataset.full) : 0;
    const full = Math.max(old, held.step, ...held.segments, 1);
    Object.assign(pair.dataset, { worker: held.worker, full });
    [0, 1].forEach((place) => {
      pair.children[place].firstChild.style.width = `${(100 * (held.segments[place] ?? 0)) / full}%`;
    });
    const [used = 0, next = 0] = held.segments;
    const label = `${held.worker}: ${compact.format(used)} left in use, ${compact.format(next)} next, of ${compact.format(full)}`;
    pair.title = label;
    pair.setAttribute("aria-label", label);
  });
  if (tag.buffers.length > shown.length) {
    cell.append(element("span", { className: "note", textContent: `and ${tag.buffers.length - shown.length} more` }));
  }
}

function newPair() {
  const bar = () => element("span", { className: "bar" }, element("span"));
  const pair = element("div", { className: "pair" }, bar(), bar());
  pair.setAttribute("role", "img");
  return pair;
}

function build(kind) {
  const heads = kind.columns.map(([head, value, , style], index) => {
    const cell = element("th", { scope: "col", className: value ? style : `${style} still` });
    cell.setAttribute("role", "columnheader");
    if (value) {
      cell.append(element("button", { type: "button", textContent: head, onclick: () => sortBy(kind, index) }));
    } else {
      cell.textContent = head;
    }
    return cell;
  });
  const row = element("tr", {}, ...heads);
  row.setAttribute("role", "row");
  kind.body = element("tbody");
  kind.table.append(element("thead", {}, row), kind.body);
  kind.heads = heads;
  markSort(kind);
}

function sortBy(kind, column) {
  kind.sort = { column, down: kind.sort.column === column ? !kind.sort.down : kind.columns[column][3] === "number" };
  markSort(kind);
  draw();
}

function markSort(kind) {
  kind.heads.forEach((head, index) => {
    if (index === kind.sort.column) head.setAttribute("aria-sort", kind.sort.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function newRow(kind) {
  const cells = kind.columns.map(([head, , , style]) => {
    const cell = element("td", { className: style });
    cell.dataset.head = head;
    cell.setAttribute("role", "cell");
    return cell;
  });
  const row = element("tr", {}, ...cells);
  row.setAttribute("role", "row");
  return row;
}

function drawTable(kind, rows, unlisted) {
  const { column, down } = kind.sort;
  const value = kind.columns[column][1];
  const compare = (a, b) => {
    const [one, other] = [value(a), value(b)];
    const order = one < other ? -1 : one > other ? 1 : 0;
    return (down ? -order : order) || (kind.key(a) < kind.key(b) ? -1 : 1);
  };
  const wanted = find("filter").value.trim().toLowerCase();
  const found = rows.filter((row) => kind.key(row).toLowerCase().includes(wanted)).sort(compare);
  const shown = found.slice(0, SHOWN_ROWS);
  const kept = new Map();
  shown.forEach((data, index) => {
    const key = kind.key(data);
    const row = kind.rows.get(key) ?? newRow(kind);
    kept.set(key, row);
    row.className = kind.trouble(data) ? "trouble" : "";
    kind.columns.forEach(([, , show, style], place) => {
      const cell = row.children[place];
      const text = show(data, cell);
      if (text !== undefined) write(cell, text);
      if (style === "words") cell.classList.toggle("empty", !text);
    });
    if (kind.body.children[index] !== row) kind.body.insertBefore(row, kind.body.children[index] ?? null);
  });
  kind.rows.forEach((row, key) => kept.has(key) || row.remove());
  kind.rows = kept;
  const hidden = found.length - shown.length + unlisted;
  write(kind.note, hidden ? `and ${count(hidden)} more ${kind.noun}` : shown.length ? "" : `no ${kind.noun}`);
}

function drawTotals({ tags, workers, tags_unlisted: unlisted }) {
  const present = workers.filter((worker) => !worker.gone);
  const totals = {
    Workers: count(present.length),
    Tags: count(tags.length + unlisted),
    "Ids/s": rate(sum(tags, "rate")),
    "Requests/s": rate(sum(present, "requests")),
    "Errors/s": rate(sum(present, "errors")),
    "Refills/s": rate(sum(present, "refills")),
    "Ids left": compact.format(sum(tags, "left")),
    Waiters: count(sum(tags, "waiters")),
    "Rewinds repaired": count(sum(present, "rewinds_repaired")),
  };
  Object.entries(totals).forEach(([name, text], index) => {
    const list = find("totals");
    const box = list.children[index] ?? list.appendChild(element("div", {}, element("dt", { textContent: name }), element("dd")));
    write(box.lastElementChild, text);
  });
}

// Written only when it changes: a screen reader reads out what is new here.
let alarmed = "";
function drawAlarms(alarms) {
  if (alarmed === alarms.join("\n")) return;
  alarmed = alarms.join("\n");
  find("alarms").replaceChildren(...alarms.map((textContent) => element("p", { textContent })));
}

let latest = null;
let drawnAt = null;
function draw() {
  if (latest === null) return;
  drawAlarms(latest.alarms);
  drawTotals(latest);
  drawTable(TAGS, latest.tags, latest.tags_unlisted);
  drawTable(WORKERS, latest.workers, 0);
}

function say(style, text) {
  find("state").className = style;
  write(find("state"), text);
  document.querySelector("main").classList.toggle("stale", style === "lost");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const visible = () => new Promise((resolve) => {
  if (!document.hidden) resolve();
  else document.addEventListener("visibilitychange", resolve, { once: true });
});

async function ask() {
  const limit = AbortSignal.timeout(latest ? 2000 * latest.interval + 10_000 : 3_600_000);
  const reply = await fetch(`/fleet.json?after=${latest?.number ?? 0}`, { signal: limit });
  if (!reply.ok) throw new Error(`it says ${reply.status}`);
  return reply.json();
}

async function follow() {
  for (;;) {
    await visible();
    try {
      latest = await ask();
      drawnAt = new Date().toLocaleTimeString();
      draw();
      say("live", `Live, every ${latest.interval} s.`);
    } catch {
      say("lost", `The dashboard itself does not answer, trying on.${drawnAt ? ` This is from ${drawnAt}.` : ""}`);
      await pause(AGAIN);
    }
  }
}

build(TAGS);
build(WORKERS);
find("filter").addEventListener("input", draw);
follow();
