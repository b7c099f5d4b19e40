// How true the fills are: the score, grades as they stand, the band of profit over all queue models, markouts, execution.

import { make, setText, showTable } from "/table.js";
import { bare, count, short, signed, tone } from "/format.js";

const GRADES = ["certain", "likely", "ambiguous"];
export const GRADE_TONE = { certain: "up", likely: "warn", ambiguous: "down", assumed: "soft" };
const percent = (share, digits = 1) => `${(share * 100).toFixed(digits)} %`;

export const REASONS = {
  back: "supported: even the pessimistic model was filled soon after",
  passed: "supported: the other side's quote reached the price soon after",
  left: "unsupported: the market left the price behind",
  gone: "cancelled before the level answered the print: such orders seldom had the fill",
  doubt: "unsure: the book had a gap while the order rested",
};

export function gradeCell(row) {
  if (!row.maker) return ["taker", "soft", `certain: it took what was displayed\n${row.latency_ms} ms on its way`];
  const overtaken = row.graded === "gone" || row.graded === "doubt"; // the chance it came with is no longer what is thought
  const chance = row.grade === "certain" || overtaken ? "" : ` ${Math.round(row.chance * 100)} %`;
  const why = row.graded ? REASONS[row.graded] : `${row.cause.replace("_", " ")}, by ${row.model}`;
  const title = `${why}\nchance of a real order ${percent(row.chance)} when it came\n${row.ahead_now} in front just before it, ${row.queue_ahead} when it came\n${row.latency_ms} ms on its way`;
  return [`${row.grade}${chance}${row.graded ? " ·" : ""}`, GRADE_TONE[row.grade] ?? "", title];
}

export function showTruth(box, state) {
  if (!box.firstChild) {
    make("div", "grades", undefined, box);
    make("div", "grade-words", undefined, box);
    make("div", "strips", undefined, box);
    make("div", "soft", undefined, box);
  }
  const [bar, words, strips, queues] = box.children;
  setText(queues, state.calibration.map((one) => `${bare(one.symbol)}: ${percent(one.share, 0)} of a cancel in front (${percent(one.low, 0)} to ${percent(one.high, 0)})`).join(" · "));
  queues.title = state.calibration.map((one) => `${one.symbol}: ${count(one.told)} of ${count(one.cancels)} cancels told; of ${count(one.ghosts)} ghosts ${count(one.surely)} surely filled, ${count(one.surely_not)} surely not`).join("\n");
  const told = state.truth;
  bar.hidden = words.hidden = told.fills === 0;
  GRADES.forEach((grade, at) => {
    const part = bar.children[at] ?? make("i", `g-${grade}`, undefined, bar);
    part.style.flexGrow = told.final[grade];
    part.hidden = told.final[grade] === 0;
    part.title = `${grade} ${told.final[grade]}, ${told[grade]} when they came`;
    const word = words.children[at] ?? make("span", "", undefined, words);
    if (!word.firstChild) {
      make("i", `g-${grade}`, undefined, word);
      make("b", "", "", word);
      make("span", "soft", ` ${grade}`, word);
    }
    setText(word.children[1], told.fills ? percent(told.final[grade] / told.fills) : "–");
    word.title = `${told[grade]} when they came, ${told.final[grade]} as they stand`;
  });
  const bands = Object.entries(state.band).filter(([, band]) => Number(band.hedged_low) || Number(band.hedged_high));
  while (strips.children.length > bands.length) strips.lastChild.remove();
  bands.forEach(([currency, band], at) => showStrip(strips.children[at] ?? make("div", "strip", undefined, strips), currency, band));
}

// A line from the lowest to the highest profit with a dot for each queue model, the venue's own larger.
function showStrip(strip, currency, band) {
  if (!strip.firstChild) {
    const ends = make("div", "ends", undefined, strip);
    make("span", "", "", ends);
    make("span", "soft", "", ends);
    make("span", "", "", ends);
    make("div", "rail", undefined, strip);
  }
  const [ends, rail] = strip.children;
  const [low, own, high] = ends.children;
  const span = Number(band.hedged_high) - Number(band.hedged_low);
  setText(low, signed(band.hedged_low));
  low.className = tone(band.hedged_low);
  setText(own, `${currency} hedged profit over all queue models`);
  setText(high, signed(band.hedged_high));
  high.className = tone(band.hedged_high);
  const models = Object.entries(band.hedged);
  while (rail.children.length > models.length) rail.lastChild.remove();
  models.forEach(([model, profit], at) => {
    const dot = rail.children[at] ?? make("i", "", undefined, rail);
    dot.style.left = `${span ? ((Number(profit) - Number(band.hedged_low)) / span) * 100 : 50}%`;
    dot.className = model === band.model ? "own" : model === "front" || model === "back" ? "bound" : "";
    dot.title = `${model} ${profit} ${currency}`;
  });
}

export function showModels(table, state) {
  const currency = Object.keys(state.band).find((name) => Number(state.band[name].hedged_low) || Number(state.band[name].hedged_high)) ?? Object.keys(state.band)[0];
  const band = state.band[currency];
  const rows = band ? Object.entries(band.models).sort((one, other) => Number(other[1]) - Number(one[1])) : [];
  showTable(table, [
    { head: "queue model", left: true, grow: true, cell: ([model]) => [model === band.model ? `${model} (own)` : model, model === band.model ? "" : "soft"] },
    { head: `profit ${currency ?? ""}`, cell: ([, profit]) => [signed(profit), tone(profit), `${profit} ${currency}`] },
    { head: "hedged", cell: ([model]) => [signed(band.hedged[model]), tone(band.hedged[model]), "as if what it filled beyond the run had been closed at the mid after ten seconds"] },
  ], rows, "No account yet.");
}

export const who = (row) => [`${row.strategy} ${bare(row.symbol)}`, "", `${row.strategy} on ${row.symbol}`];
const ticks = (at) => (row) => (row.ticks[at] === null ? ["–", "faint"] : [`${row.ticks[at] > 0 ? "+" : ""}${row.ticks[at].toFixed(2)}`.replace("-", "−"), tone(row.ticks[at]), `${row.counted[at]} fills`]);
const bps = (value) => (value === null ? ["–", "faint"] : [`${value > 0 ? "+" : ""}${value.toFixed(2)}`.replace("-", "−"), ""]);

export function showMarkouts(table, state) {
  const rows = [...state.markouts].sort((one, other) => other.fills - one.fills).slice(0, 40);
  const pairs = new Set(rows.map((row) => `${row.strategy} ${row.symbol}`));
  const one = pairs.size === new Set(rows.map((row) => row.strategy)).size; // each trades one symbol: its name will do
  showTable(table, [
    { head: "strategy", left: true, grow: true, cell: (row) => (one ? [row.strategy, ...who(row).slice(1)] : who(row)) },
    { head: "place", left: true, cell: (row) => [row.place, "", "how much stood in front when the order came, in its own sizes"] },
    { head: "grade", left: true, cell: (row) => [row.grade, GRADE_TONE[row.grade]] },
    { head: "fills", cell: (row) => count(row.fills) },
    ...["at once", "0.1 s", "1 s", "10 s", "60 s"].map((head, at) => ({ head, cell: ticks(at) })),
  ], rows, "No fill to follow yet.");
}

export function showExecution(table, state) {
  showTable(table, [
    { head: "strategy", left: true, grow: true, cell: who },
    { head: "filled", cell: (row) => (row.fill_ratio === null ? "–" : percent(row.fill_ratio)) },
    { head: "maker", cell: (row) => (row.maker_share === null ? "–" : percent(row.maker_share)) },
    { head: "shortfall", cell: (row) => [short(row.shortfall), "", `${row.shortfall} ${row.currency} against the mid at request, fees included`] },
    { head: "bps", cell: (row) => bps(row.shortfall_bps) },
    { head: "unfilled", cell: (row) => count(row.missed) },
    { head: "missed 10 s", cell: (row) => [...bps(row.missed_bps[2]), "basis points the mid went on after orders ended unfilled"] },
  ], state.execution, "No order sent yet.");
}

export function scoreTile(told) {
  if (told.score === null) return ["fill truth", "–", "", "no fill yet"];
  const measured = told.measured ? `\n${told.measured.ghosts} ghost orders: of ${told.measured.said} filled ${percent(told.measured.low)} are beyond doubt` : "";
  return ["fill truth", percent(told.score), told.score >= 0.95 ? "up" : told.score >= 0.85 ? "warn" : "down",
    `expected share of fills that are real; 95 %: ${percent(told.low)} to ${percent(told.high)}\n${told.false_fills.toFixed(1)} of ${told.fills} fills expected to be false${measured}`];
}
