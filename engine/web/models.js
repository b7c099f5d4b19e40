// How the models do: scores with their intervals, value after costs, and how a prediction fades over other horizons.

import { make, setText, showTable } from "/table.js";
import { bare, count, tone } from "/format.js";

const NS = "http://www.w3.org/2000/svg";
const MOST = 6; // curves in the small chart
const minus = (text) => text.replace("-", "−");
const fixed = (value, digits) => (value === null || value === undefined ? "–" : minus(value.toFixed(digits)));
const between = (low, high, digits = 3) => (low === null ? "interval not known yet" : `95 %: ${fixed(low, digits)} to ${fixed(high, digits)}`);

// Beyond doubt only where the whole interval is on one side of 0.
const sureTone = (row) => (row.ic_low > 0 ? "up" : row.ic_high !== null && row.ic_high < 0 ? "down" : "soft");

// What contests say of a model: a star for who is traded on, and how far the evidence for a challenger is.
function standing(name, contests) {
  const words = [];
  let star = "";
  for (const one of contests) {
    if (one.champion === name) {
      star = "★ ";
      words.push(`speaks for the contest ${one.name}, reign ${one.reign}, ${count(one.labels)} labels`);
    }
    const other = one.challengers.find((row) => row.model === name);
    if (other) words.push(`challenges ${one.champion} in ${one.name} by ${one.by}: evidence ${other.wealth.toPrecision(2)} of ${count(Math.round(other.needed))}`);
    const account = one.accounts.find((row) => row.model === name);
    if (account) words.push(`its account in ${one.name} gained ${minus(account.gained)} ${account.currency}, ${minus(account.in_reign)} in this reign${account.out ? `; out: ${account.out}` : ""}`);
  }
  return [star, words.map((each) => `\n${each}`).join("")];
}

// How a model is watched for drift, its last alarm and what that was judged to be, and who always or never fires.
function drifting(told) {
  const lines = [told.state];
  if (told.last) lines.push(`alarm ${told.last.number}: ${told.last.reason}`);
  if (told.last_graded) lines.push(`alarm ${told.last_graded.alarm.number} was ${told.last_graded.grade}: ${told.last_graded.reason}`);
  for (const [who, grades] of Object.entries(told.graded)) {
    lines.push(`${who}: ${Object.entries(grades).map(([grade, number]) => `${number} ${grade}`).join(", ")}`);
  }
  if (told.held.length) lines.push(`now: ${told.held.join(", ")}`);
  return lines.join("\n");
}

export function showModelScores(table, models, contests) {
  showTable(table, [
    { head: "model", left: true, grow: true, cell: (row) => {
      const [star, words] = standing(row.name, contests);
      return [star + row.name, row.stopped ? "down" : "", (row.stopped || `${row.use} on ${row.symbol}, ${row.label}\n${row.version ? `version ${row.version.slice(0, 8)}, its card: papertape models ${row.version.slice(0, 8)}` : "no version"}`) + words];
    } },
    { head: "IC", cell: (row) => (row.pairs ? [fixed(row.ic, 3), sureTone(row), `${between(row.ic_low, row.ic_high)}\nby rank ${fixed(row.spearman, 3)}, ${between(row.spearman_low, row.spearman_high)}`] : "–") },
    { head: "± 95 %", cell: (row) => (row.pairs && row.ic_low !== null ? [fixed((row.ic_high - row.ic_low) / 2, 2), "soft", between(row.ic_low, row.ic_high)] : ["–", "soft"]) },
    { head: "R² %", cell: (row) => (row.pairs ? [fixed(row.r2_pct, 1), tone(row.r2_pct), `${fixed(row.r2_pct, 2)} % against always saying 0\n${fixed(row.r2_last_pct, 2)} % against the last label\nRMSE ${fixed(row.rmse, 2)}, MAE ${fixed(row.mae, 2)} ${row.unit}\nlabel = ${fixed(row.intercept, 3)} + ${fixed(row.slope, 2)} × prediction`] : "–") },
    { head: "hit", cell: (row) => (row.pairs ? [`${(row.hit_rate * 100).toFixed(0)} %`, "", `${(row.hit_rate * 100).toFixed(1)} % of directions right${row.log_loss === null ? "" : `\nlog loss ${row.log_loss.toFixed(3)}, a coin 0.693`}`] : "–") },
    { head: "net bp", cell: (row) => (row.net_bps === null ? ["–", "soft", "no prediction exceeded spread and fees"] : [fixed(row.net_bps, 2), tone(row.net_bps), `${count(row.trades)} of ${count(row.signals)} signals exceeded spread and fees\ngross ${fixed(row.gross_bps, 2)} bp a signal`]) },
    { head: "learned", cell: (row) => [count(row.learned), "", `${row.predictions} predictions, ${row.pending} labels pending, ${row.void} void, ${row.dropped} dropped, ${row.holes} with holes`] },
    { head: "drift", cell: (row) => [count(row.drift_alarms), row.drift_alarms ? "warn" : "soft", drifting(row.drift)] },
    { head: "swaps", cell: (row) => [`${row.swaps}/${row.retrains}`, row.training ? "warn" : "soft", `models taken into use, of trainings asked for${row.training ? "\ntraining now" : ""}`] },
  ], models, "No model in the config.");
}

function element(name, attributes, parent) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

// The correlation of each model's prediction with the return over 0.1 to 4 of its horizons, on a logarithmic axis.
export function showDecay(box, models) {
  const curves = models.filter((row) => row.decay.filter((point) => point.ic !== null).length > 1).slice(0, MOST);
  box.hidden = curves.length === 0;
  if (box.hidden) return;
  if (!box.firstChild) {
    make("div", "names", undefined, box);
    box.append(document.createElementNS(NS, "svg"));
  }
  const [legend, svg] = box.children;
  while (legend.children.length > curves.length) legend.lastChild.remove();
  curves.forEach((row, at) => {
    const one = legend.children[at] ?? make("span", "", undefined, legend);
    if (!one.firstChild) {
      make("i", `c${at}`, undefined, one);
      make("span", "", "", one);
    }
    setText(one.lastChild, bare(row.name));
    one.title = row.entry.map((point) => `IC ${fixed(point.ic, 3)} when entered ${point.begins_s} s later`).join("\n");
  });
  const width = box.clientWidth || 360, height = 84, left = 12, right = 44, top = 8, bottom = 18;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const known = curves.flatMap((row) => row.decay.map((point) => point.ic).filter((ic) => ic !== null));
  const low = Math.min(0, ...known), high = Math.max(0, ...known), span = high - low || 1;
  const factor = (row, point) => point.ends_s / row.horizon_s;
  const x = (value) => left + (Math.log(value / 0.1) / Math.log(40)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / span) * (height - top - bottom);
  element("line", { x1: left, x2: width - right, y1: y(0), y2: y(0), class: "zero" }, svg);
  for (const value of new Set([low, high])) element("text", { x: width - right + 6, y: y(value) + 3.5, class: "tick" }, svg).textContent = fixed(value, 2);
  for (const value of [0.1, 0.25, 0.5, 1, 2, 4]) element("text", { x: x(value), y: height - 5, class: "tick middle" }, svg).textContent = `${value}×`;
  curves.forEach((row, at) => {
    const points = row.decay.filter((point) => point.ic !== null);
    const path = points.map((point) => `${x(factor(row, point)).toFixed(1)} ${y(point.ic).toFixed(1)}`).join("L");
    element("path", { d: `M${path}`, class: `line c${at}` }, svg);
    for (const point of points) {
      const dot = element("circle", { cx: x(factor(row, point)), cy: y(point.ic), r: 2.4, class: `dot c${at}` }, svg);
      element("title", {}, dot).textContent = `${row.name}: IC ${fixed(point.ic, 3)} over ${point.ends_s} s, ${count(point.pairs)} pairs`;
    }
  });
}
