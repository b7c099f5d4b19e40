// The page of a running daemon: asks /state each second and shows it. Everything is set as text; nothing is ever parsed as HTML.

import { showBooks } from "/books.js";
import { Chart } from "/chart.js";
import { showMemory } from "/memory.js";
import { showDecay, showModelScores } from "/models.js";
import { make, setText, showTable } from "/table.js";
import { gradeCell, scoreTile, showExecution, showMarkouts, showModels, showTruth, who } from "/truth.js";
import { age, count, fee, micros, money, short, signed, span, stepped, time, tone, trimmed } from "/format.js";

const KEPT = 3600;
const COLUMNS = ["profit", "low", "high", "mid", "ic"];
const $ = (id) => document.getElementById(id);
const chart = new Chart($("chart"));

let state = null;
let heardAt = 0;
let history = emptyHistory();
let tab = "profit";

function emptyHistory() {
  return { ms: [], ...Object.fromEntries(COLUMNS.map((what) => [what, {}])) };
}

// ---- history: columns that grow at the end and stay bounded

function extend(fresh) {
  const before = history.ms.length;
  history.ms.push(...fresh.ms);
  for (const what of COLUMNS) {
    for (const name of new Set([...Object.keys(history[what]), ...Object.keys(fresh[what])])) {
      const column = (history[what][name] ??= new Array(before).fill(null));
      column.push(...(fresh[what][name] ?? new Array(fresh.ms.length).fill(null)));
    }
  }
  const extra = history.ms.length - KEPT;
  if (extra > 0) {
    history.ms.splice(0, extra);
    for (const what of COLUMNS) for (const column of Object.values(history[what])) column.splice(0, extra);
  }
}

// ---- the parts of the page

function showHead() {
  const mood = state.halted ? "is-halted" : state.ready ? "is-ready" : "is-waiting";
  document.body.className = mood;
  setText($("pill"), state.halted ? "halted" : state.ready ? "ready" : "not ready");
  setText($("run"), state.run);
  setText($("uptime"), span(state.uptime_s));
  setText($("digest"), state.digest.slice(0, 10));
  $("digest").title = state.digest;
  setText($("records"), count(state.records));
  setText($("now"), `${time(state.now_ns)} `);
  document.title = `${leading()[1] === undefined ? "" : `${signed(leading()[1])} ${leading()[0]} · `}${state.run} · Papertape`;
  const box = $("profit");
  const profits = Object.entries(state.profit);
  while (box.children.length > profits.length) box.lastChild.remove();
  profits.forEach(([currency, value], at) => {
    const one = box.children[at] ?? make("div", "", undefined, box);
    if (!one.firstChild) {
      make("b", "", "", one);
      make("small", "", "", one);
    }
    setText(one.firstChild, signed(value, Math.abs(Number(value)) >= 0.01));
    one.firstChild.className = tone(value);
    one.title = `${value} ${currency}`;
    setText(one.lastChild, currency);
  });
  const lines = state.halted ? state.why.slice(0, 1) : state.ready ? (state.uptime_s > 30 ? state.why : []) : state.reasons;
  showBanner(lines.slice(0, 4));
  const halt = $("halt");
  if (!halt.classList.contains("sure")) {
    halt.dataset.command = state.halted ? "resume" : "halt";
    setText(halt, state.halted ? "Resume" : "Halt");
    halt.classList.toggle("danger", !state.halted);
  }
}

function showBanner(lines) {
  $("banner").hidden = lines.length === 0;
  setText($("banner"), lines.join("\n"));
}

function leading() {
  return Object.entries(state.profit)[0] ?? [];
}

function showTiles() {
  const refused = Object.values(state.orders.refused).reduce((sum, value) => sum + value, 0);
  const decision = state.latency_us.tick_to_decision;
  const frames = Object.values(state.venues).reduce((sum, venue) => sum + venue.frames, 0);
  const paid = Object.entries(state.fees)[0];
  const tiles = [
    ["frames", count(frames)],
    ["books ready", `${state.books.ready}/${state.books.total}`, state.books.ready < state.books.total ? "warn" : ""],
    ["orders sent", count(state.orders.sent)],
    ["filled", count(state.orders.filled)],
    ["cancelled", count(state.orders.cancelled)],
    ["refused", count(refused), "", words(state.orders.refused)],
    ["rejected", count(state.orders.rejected), "", words(state.orders.rejections)],
    ["fills", count(state.fills)],
    scoreTile(state.truth),
    [paid ? `fees ${paid[0]}` : "fees", paid ? money(paid[1]) : "–"],
    ["decision p50", micros(decision.p50), "", "from a frame's receipt until the engine was done with it"],
    ["decision p99", micros(decision.p99)],
    ["missed", count(state.missed), state.missed ? "down" : ""],
    ["bus", count(state.bus.depth), state.bus.depth * 2 > state.bus.capacity ? "down" : "", `of ${state.bus.capacity}`],
  ];
  const box = $("tiles");
  tiles.forEach(([name, value, tone_ = "", title = ""], at) => {
    const tile = box.children[at] ?? make("div", "tile", undefined, box);
    if (!tile.firstChild) {
      make("span", "", "", tile);
      make("b", "", "", tile);
    }
    setText(tile.firstChild, name);
    setText(tile.lastChild, value);
    tile.lastChild.className = tone_;
    tile.title = title;
  });
}

const words = (counts) => Object.entries(counts).map(([word, number]) => `${word} ${number}`).join("\n");

const side = (row) => [row.side, row.side === "buy" ? "up" : "down"];

function showTables() {
  const strategies = Object.entries(state.by_strategy).map(([name, about]) => ({ name, ...about, ...state.strategies[name] }));
  showTable($("strategies"), [
    { head: "strategy", left: true, grow: true, cell: (row) => [row.name, "", row.name] },
    { head: "asked", cell: (row) => count(row.requests) },
    { head: "refused", cell: (row) => [count(Object.values(row.refused).reduce((a, b) => a + b, 0)), "soft", row.last_refusal] },
    { head: "fills", cell: (row) => count(row.fills) },
    { head: "profit", cell: (row) => profitCell(row.profit) },
    { head: "", cell: (row) => (row.stopped ? ["stopped", "down", row.stopped] : row.blocked.length ? ["blocked", "warn", row.blocked.join(", ")] : ["active", "up"]) },
  ], strategies, "No strategy in the config.");
  showTable($("positions"), [
    { head: "strategy", left: true, cell: (row) => row.strategy },
    { head: "symbol", left: true, grow: true, cell: (row) => [row.symbol, "soft", row.symbol] },
    { head: "size", cell: (row) => [trimmed(row.symbol, "size", row.size), tone(row.size)] },
    { head: "average", cell: (row) => trimmed(row.symbol, "price", row.average, 1) },
    { head: "mark", cell: (row) => (row.mark === null ? "–" : [trimmed(row.symbol, "price", row.mark, 1), "soft"]) },
    { head: "open profit", cell: (row) => [signed(row.unrealised), tone(row.unrealised), `${row.unrealised} ${row.currency}`] },
  ], state.positions, "Flat.");
  setText($("orders-count"), state.working_orders.length || "");
  showTable($("orders"), [
    { head: "id", left: true, cell: (row) => [row.id, "faint"] },
    { head: "strategy", left: true, grow: true, cell: who },
    { head: "side", left: true, cell: side },
    { head: "kind", left: true, cell: (row) => [row.kind.replaceAll("_", " "), row.kind === "limit" ? "soft" : "", row.time_in_force] },
    { head: "price", cell: (row) => (row.price ?? row.trigger) === null ? "–" : [trimmed(row.symbol, "price", row.price ?? row.trigger), row.state === "armed" ? "soft" : "", row.trigger === null ? "" : `wakes at ${row.trigger}`] },
    { head: "size", cell: (row) => trimmed(row.symbol, "size", row.size) },
    { head: "filled", cell: (row) => [trimmed(row.symbol, "size", row.filled), Number(row.filled) ? "" : "faint"] },
    { head: "state", cell: (row) => [row.state, row.state === "open" ? "" : "soft"] },
  ], state.working_orders.toReversed(), "No order works.");
  showTable($("fills"), [
    { head: "time", left: true, cell: (row) => [time(row.ns), "faint mono"] },
    { head: "strategy", left: true, grow: true, cell: who },
    { head: "side", left: true, cell: side },
    { head: "price", cell: (row) => trimmed(row.symbol, "price", row.price) },
    { head: "size", cell: (row) => trimmed(row.symbol, "size", row.size) },
    { head: "grade", left: true, cell: gradeCell },
    { head: "fee", cell: (row) => [fee(row.fee), "soft", `${row.fee} ${row.fee_currency}`] },
  ], state.recent_fills.toReversed(), "No fill yet.");
  const told = state.truth;
  setText($("truth-count"), told.fills ? `${told.false_fills.toFixed(1)} of ${count(told.fills)} expected false${told.unsure ? `, ${count(told.unsure)} unsure` : ""}` : "");
  showTruth($("truth"), state);
  showModels($("twins"), state);
  showMarkouts($("markouts"), state);
  showExecution($("execution"), state);
  const training = state.training;
  setText($("training"), training.running ? `${training.running} training` : training.failed ? `${training.failed} failed` : "");
  showModelScores($("models"), state.models, state.contests);
  showDecay($("decay"), state.models);
  showTable($("latency"), [
    { head: "from receipt", left: true, grow: true, cell: (row) => row.name },
    { head: "p50", cell: (row) => micros(row.p50) },
    { head: "p99", cell: (row) => micros(row.p99) },
    { head: "p99.9", cell: (row) => micros(row.p999) },
    { head: "samples", cell: (row) => [count(row.samples), "soft"] },
  ], Object.entries(state.latency_us).map(([name, row]) => ({ name: name.replaceAll("_", " "), ...row })), "");
  showTable($("paths"), [
    { head: "paper latency to", left: true, grow: true, cell: (row) => [row.venue, "", row.kind] },
    { head: "out ms", cell: (row) => row.out_ms.toFixed(2) },
    { head: "back ms", cell: (row) => row.back_ms.toFixed(2) },
    { head: "feed ms", cell: (row) => row.feed_ms.toFixed(2) },
    { head: "ping ms", cell: (row) => (row.round_trip_ms ? row.round_trip_ms.toFixed(2) : ["–", "soft"]) },
    { head: "late ms", cell: (row) => (row.round_trip_ms ? [row.feed_delay_ms.toFixed(2), "", "what market data came later than at best"] : ["–", "soft"]) },
  ], state.venue_latency || [], "");
  showTable($("venues"), [
    { head: "venue", left: true, grow: true, cell: (row) => row.name },
    { head: "frames", cell: (row) => count(row.frames) },
    { head: "gaps", cell: (row) => [count(row.gaps), row.gaps ? "warn" : "soft"] },
    { head: "reconnects", cell: (row) => [count(row.reconnects), row.reconnects ? "warn" : "soft"] },
    { head: "malformed", cell: (row) => [count(row.malformed), row.malformed ? "warn" : "soft"] },
    { head: "", cell: (row) => (row.open ? ["open", "up"] : ["lost", "down"]) },
  ], Object.entries(state.venues).map(([name, venue]) => ({ name, ...venue })), "No venue.");
  $("side-box").hidden = state.side.length === 0;
  showTable($("side"), [
    { head: "stream", left: true, grow: true, cell: (row) => [row.stream, "", JSON.stringify(row.values)] },
    { head: "accepted", cell: (row) => count(row.accepted ?? row.observations) },
    { head: "refused", cell: (row) => [count(Object.values(row.rejected ?? {}).reduce((a, b) => a + b, 0)), "soft", row.last_refusal ?? ""] },
    { head: "quality", cell: (row) => row.quality.toFixed(2) },
    { head: "age", cell: (row) => (row.age_s === null ? "–" : age(row.age_s * 1000)) },
    { head: "", cell: (row) => (row.state === "good" ? ["good", "up"] : [row.state || "silent", "warn", row.reason || row.failure || ""]) },
  ], state.side, "");
  showTable($("cash"), [
    { head: "currency", left: true, grow: true, cell: (row) => row[0] },
    { head: "balance", cell: (row) => [short(row[1]), "", row[1]] },
  ], Object.entries(state.cash), "No cash.");
  showTable($("notable"), [
    { head: "time", left: true, cell: (row) => [time(row.ns), "faint mono"] },
    { head: "what", left: true, cell: (row) => [spaced(row.what), toneOf(row)] },
    { head: "", left: true, grow: true, cell: (row) => [sentence(row), "soft", sentence(row)] },
  ], state.notable.toReversed(), "Nothing notable yet.");
}

function profitCell(profit) {
  const [currency, value] = Object.entries(profit).find(([, one]) => Number(one)) ?? Object.entries(profit)[0] ?? ["", "0"];
  return [signed(value), tone(value), Object.entries(profit).map(([name, one]) => `${one} ${name}`).join("\n") || currency];
}

const spaced = (name) => name.replace(/([a-z])([A-Z])/g, (_, before, after) => `${before} ${after.toLowerCase()}`);

const BAD = new Set(["StrategyStopped", "ModelRefused", "RiskAction", "MarginCall", "Liquidated"]);
const toneOf = (row) => (row.rule === "resume" ? "" : BAD.has(row.what) ? "down" : row.what === "DriftAlarm" || (row.what === "FeedState" && !row.ready) ? "warn" : row.what === "FeedState" || row.what === "ModelSwapped" ? "up" : "");

function sentence(row) {
  const { ns, what, ...rest } = row;
  if (what === "FeedState") return `${rest.symbol} ${rest.ready ? "ready" : `not ready: ${rest.reason}`}`;
  if (what === "MarginCall") return `${rest.scope}: margin balance ${rest.balance}, maintenance ${rest.maintenance} ${rest.currency}`;
  if (what === "Liquidated") return `${rest.strategy} on ${rest.symbol} at ${rest.mark}: realised ${rest.realised}, fee ${rest.fee}, insurance ${rest.insurance} ${rest.currency}`;
  if (what === "Split") return `${rest.strategy}: ${rest.symbol} split ${rest.ratio} for 1, cash ${rest.cash} ${rest.currency}`;
  if (["Funding", "Interest", "Dividend", "ShortFee", "Settled"].includes(what)) return `${[rest.strategy, rest.symbol].filter(Boolean).join(" on ")} ${rest.amount} ${rest.currency}`.trim();
  if (what === "RiskAction") return `${rest.rule.replaceAll("_", " ")} for ${rest.scope}: ${rest.detail}`;
  if (what === "Commanded") {
    const { name, ...args } = rest;
    return [name, ...Object.entries(args).map(([key, value]) => `${key} ${value}`)].join(" · ");
  }
  return Object.entries(rest).map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : key === "version" ? String(value).slice(0, 8) : value}`).join(" · ");
}

// ---- chart and its tabs

function tabs() {
  const names = ["profit", ...Object.keys(history.mid).map((name) => `mid ${name}`)];
  if (Object.keys(history.ic).length) names.push("ic");
  const box = $("tabs");
  while (box.children.length > names.length) box.lastChild.remove();
  names.forEach((name, at) => {
    const button = box.children[at] ?? make("button", "", "", box);
    button.type = "button";
    setText(button, name === "profit" ? "profit" : name === "ic" ? "model IC" : name.slice(4));
    button.setAttribute("aria-pressed", String(name === tab));
    button.onclick = () => {
      tab = name;
      showChart();
    };
  });
}

function showChart() {
  tabs();
  const label = tab === "profit" ? "Profit" : tab === "ic" ? "Information coefficient" : `Mid of ${tab.slice(4)}`;
  setText($("chart-title"), label);
  const format = (value, step) => (step ? stepped(value, step) : short(value));
  let series, band = null, zero = true;
  if (tab === "profit") {
    const moving = Object.entries(history.profit).filter(([, values]) => values.some((value) => value));
    series = (moving.length ? moving : Object.entries(history.profit).slice(0, 1)).map(([name, values]) => ({ name, values }));
    if (series.length === 1) series[0].tone = (series[0].values.at(-1) ?? 0) < 0 ? "down" : "up";
    const name = series[0]?.name;
    if (name && history.low[name]) band = { low: history.low[name], high: history.high[name], name: "all queue models" };
  } else if (tab === "ic") series = Object.entries(history.ic).map(([name, values]) => ({ name, values }));
  else {
    zero = false;
    series = [{ name: tab.slice(4), values: history.mid[tab.slice(4)] ?? [], tone: "c1" }];
  }
  const legend = document.querySelector(".legend") ?? make("span", "legend");
  legend.replaceChildren();
  if (series.length > 1) {
    series.forEach((one, index) => {
      const item = make("span", "", undefined, legend);
      make("i", `c${index % 6}`, undefined, item);
      item.append(one.name);
    });
  }
  $("chart-title").after(legend);
  const marks = state.recent_fills
    .filter((fill) => tab === `mid ${fill.symbol}`)
    .map((fill) => ({ ms: fill.ns / 1e6, value: Number(fill.price), tone: fill.side === "buy" ? "up" : "down", name: fill.strategy }));
  chart.show(history.ms, series, { zero, format, marks, band, empty: "Waiting for the first samples" });
}

// ---- commands: a second click within three seconds confirms

for (const button of document.querySelectorAll(".controls button")) {
  let timer = 0;
  const calm = () => {
    clearTimeout(timer);
    button.classList.remove("sure");
    if (button.dataset.calm) setText(button, button.dataset.calm);
  };
  button.addEventListener("click", async () => {
    if (!button.classList.contains("sure")) {
      button.dataset.calm = button.textContent;
      button.classList.add("sure");
      setText(button, `Sure: ${button.dataset.calm.toLowerCase()}?`);
      timer = setTimeout(calm, 3000);
      return;
    }
    calm();
    const body = button.dataset.command === "halt" ? { reason: "page" } : {};
    try {
      const answer = await fetch(`/command/${button.dataset.command}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      if (!answer.ok) showBanner([`The daemon refused: ${(await answer.json()).error}`]);
    } catch {
      gone();
    }
  });
}

// ---- the loop

function gone() {
  document.body.className = "is-gone";
  setText($("pill"), "gone");
  showBanner([heardAt ? `The daemon has not answered for ${age(Date.now() - heardAt)}. What you see is the last it said.` : "The daemon does not answer."]);
}

async function poll() {
  try {
    const since = history.ms.at(-1) ?? 0;
    const answer = await fetch(`/state?since=${since}`, { signal: AbortSignal.timeout(4000), cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = await answer.json();
    if (state && fresh.started_ns !== state.started_ns) {
      history = emptyHistory(); // another daemon: its whole history comes with the next answer
      state = null;
      return;
    }
    state = fresh;
    heardAt = Date.now();
    extend(fresh.history);
  } catch {
    gone();
    return;
  }
  showHead();
  showTiles();
  showBooks($("books"), state);
  showTables();
  showMemory($("memory"), state);
  showChart();
}

async function forever() {
  await poll();
  setTimeout(forever, 1000);
}

forever();
