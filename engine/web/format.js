// Numbers and times as people read them; exact text stays in the tooltips.

export const count = (value) => Number(value).toLocaleString("en-US");

export const money = (text) => Number(text).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export function short(value) {
  const number = Number(value), size = Math.abs(number);
  const most = size >= 1 || size === 0 ? 2 : Math.min(10, 3 - Math.floor(Math.log10(size)));
  return number.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: most });
}

export function signed(text) {
  const shown = short(text).replace("-", "−");
  return Number(text) > 0 ? `+${shown}` : shown;
}

export const tone = (value) => (Number(value) > 0 ? "up" : Number(value) < 0 ? "down" : "");

export const price = (value, decimals) => value.toFixed(decimals);

export const digits = (text) => (text.split(".")[1] ?? "").length;

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
