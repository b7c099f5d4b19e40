// Numbers and times as people read them; exact text stays in the tooltips.

export const count = (value) => Number(value).toLocaleString("en-US");

export const money = (text) => Number(text).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const fee = (text) => Number(text).toLocaleString("en-US", { minimumFractionDigits: 4, maximumFractionDigits: 4 });

export function short(value) {
  const number = Number(value), size = Math.abs(number);
  const most = size >= 1 || size === 0 ? 2 : Math.min(10, 3 - Math.floor(Math.log10(size)));
  return number.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: most });
}

export function signed(text, coarse = false) {
  const shown = (coarse ? money(text) : short(text)).replace("-", "−");
  return Number(text) > 0 ? `+${shown}` : shown;
}

// The venue's own symbol; the whole name belongs into the tooltip.
export const bare = (name) => name.slice(name.indexOf(":") + 1);

export const tone = (value) => (Number(value) > 0 ? "up" : Number(value) < 0 ? "down" : "");

// A number on an axis: as many decimals as its step needs.
export function stepped(value, step) {
  let decimals = 0;
  while (decimals < 8 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) decimals += 1;
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

// Venues send more decimals than their tick needs. Per symbol and quantity the most that were ever used are shown.
const used = {};
const significant = (text) => (text.split(".")[1] ?? "").replace(/0+$/, "").length;

export function see(symbol, what, text) {
  const key = `${symbol} ${what}`;
  used[key] = Math.max(used[key] ?? 0, significant(text));
}

export const decimalsOf = (symbol, what) => used[`${symbol} ${what}`] ?? 0;

// Exact text without the zeros that say nothing; up to `more` decimals beyond the symbol's own may stay.
export function trimmed(symbol, what, text, more = 0) {
  const known = decimalsOf(symbol, what);
  const wanted = Math.max(known, more ? Math.min(significant(text), known + more) : significant(text));
  const [whole, fraction = ""] = text.split(".");
  return wanted ? `${whole}.${fraction.padEnd(wanted, "0").slice(0, wanted)}` : whole;
}

export function micros(value) {
  if (!value) return "–";
  if (value >= 10_000) return `${(value / 1000).toFixed(0)} ms`;
  return value >= 1000 ? `${(value / 1000).toFixed(1)} ms` : `${value.toFixed(0)} µs`;
}

export function span(seconds) {
  const whole = Math.floor(seconds);
  const days = Math.floor(whole / 86_400);
  const clock = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  return `${days ? `${days} d ` : ""}${clock.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":")}`;
}

export const age = (ms) => (ms < 90_000 ? `${Math.round(ms / 1000)} s` : span(ms / 1000));

export const time = (ns) => new Date(ns / 1e6).toLocaleTimeString("en-GB");
