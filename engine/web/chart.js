// A line chart over time as SVG: nice ticks, one series with an area or several lines, a crosshair that reads values.

const NS = "http://www.w3.org/2000/svg";
const PAD = { left: 8, right: 74, top: 12, bottom: 22 };

function element(name, attributes, parent) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

export function niceTicks(low, high, wanted) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? 10 * power;
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) ticks.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return { ticks, step };
}

const TIME_STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((s) => s * 1000);

const clock = (ms, seconds) =>
  new Date(ms).toLocaleTimeString("en-GB", seconds ? undefined : { hour: "2-digit", minute: "2-digit" });

export class Chart {
  constructor(box) {
    this.box = box;
    this.svg = element("svg", { class: "chart-svg" }, box);
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    box.append(this.tip);
    this.data = null;
    this.pointer = null;
    box.addEventListener("pointermove", (event) => {
      this.pointer = event.clientX - box.getBoundingClientRect().left;
      this.drawPointer();
    });
    box.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.drawPointer();
    });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  // times: ms; series: [{name, values (number or null), tone}]; format(value) gives text.
  show(times, series, options) {
    this.data = { times, series, ...options };
    this.draw();
  }

  draw() {
    const { svg, box, data } = this;
    const width = box.clientWidth, height = box.clientHeight;
    if (!data || width < 50 || height < 40) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const edges = data.band ? [data.band.low, data.band.high] : [];
    const known = [...data.series.map((one) => one.values), ...edges].flatMap((values) => values.filter((value) => value !== null));
    if (data.times.length < 2 || known.length === 0) {
      element("text", { x: width / 2, y: height / 2, class: "empty-chart" }, svg).textContent = data.empty;
      this.scale = null;
      return;
    }
    let low = known[0], high = known[0];
    for (const value of known) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (data.zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    const margin = (high - low) * 0.08 || Math.abs(high) * 0.001 || 1;
    [low, high] = [low - margin, high + margin];
    const first = data.times[0], last = data.times[data.times.length - 1];
    const x = (ms) => PAD.left + ((ms - first) / (last - first || 1)) * (width - PAD.left - PAD.right);
    const y = (value) => height - PAD.bottom - ((value - low) / (high - low)) * (height - PAD.top - PAD.bottom);
    this.scale = { x, y, width, height, first, last };
    this.axes(low, high, data);
    if (data.band) this.band(data);
    data.series.forEach((one, index) => this.line(one, index, data));
    for (const mark of data.marks ?? []) this.mark(mark);
    this.marker = element("g", { class: "marker" }, svg);
    this.drawPointer();
  }

  axes(low, high, data) {
    const { svg } = this, { x, y, width, height, first, last } = this.scale;
    const { ticks, step } = niceTicks(low, high, Math.max(2, Math.round(height / 46)));
    for (const tick of ticks) {
      const at = y(tick);
      if (at < PAD.top - 4 || at > height - PAD.bottom + 1) continue;
      const isZero = data.zero && tick === 0;
      element("line", { x1: PAD.left, x2: width - PAD.right, y1: at, y2: at, class: isZero ? "zero" : "grid" }, svg);
      element("text", { x: width - PAD.right + 8, y: at + 3.5, class: "tick" }, svg).textContent = data.format(tick, step);
    }
    const wanted = Math.max(2, Math.round(width / 110));
    const timeStep = TIME_STEPS.find((s) => (last - first) / s <= wanted) ?? TIME_STEPS.at(-1);
    for (let at = Math.ceil(first / timeStep) * timeStep; at <= last; at += timeStep) {
      if (x(at) < 26 || x(at) > width - PAD.right + 4) continue;
      const text = element("text", { x: x(at), y: height - 6, class: "tick middle" }, svg);
      text.textContent = clock(at, timeStep < 60_000);
    }
  }

  // A shaded area between two columns, behind the lines.
  band({ times, band }) {
    const { x, y } = this.scale;
    const known = times.map((_, at) => at).filter((at) => band.low[at] !== null && band.high[at] !== null);
    if (known.length < 2) return;
    const edge = (values, order) => order.map((at) => `${x(times[at]).toFixed(1)} ${y(values[at]).toFixed(1)}`).join("L");
    element("path", { d: `M${edge(band.high, known)}L${edge(band.low, known.toReversed())}Z`, class: "band" }, this.svg);
  }

  line(one, index, data) {
    const { svg } = this, { x, y, height } = this.scale;
    const runs = [];
    let run = [];
    one.values.forEach((value, at) => {
      if (value === null) {
        if (run.length) runs.push(run);
        run = [];
      } else run.push([x(data.times[at]), y(value)]);
    });
    if (run.length) runs.push(run);
    const tone = one.tone ?? `c${index % 6}`;
    const point = ([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`;
    for (const points of runs) {
      const path = `M${points.map(point).join("L")}`;
      if (data.series.length === 1 && !data.band) {
        const base = data.zero ? y(0) : height - PAD.bottom;
        const area = `${path}L${points.at(-1)[0].toFixed(1)} ${base}L${points[0][0].toFixed(1)} ${base}Z`;
        element("path", { d: area, class: `area ${tone}` }, svg);
      }
      element("path", { d: path, class: `line ${tone}` }, svg);
    }
    const end = runs.at(-1)?.at(-1);
    if (end) {
      element("circle", { cx: end[0], cy: end[1], r: 6, class: `halo ${tone}` }, svg);
      element("circle", { cx: end[0], cy: end[1], r: 2.6, class: `dot ${tone}` }, svg);
    }
  }

  // A fill: a triangle that points up for a buy, down for a sell.
  mark({ ms, value, tone, name }) {
    const { x, y, first, last, height } = this.scale;
    if (ms < first || ms > last) return;
    const px = x(ms), py = Math.min(Math.max(y(value), PAD.top), height - PAD.bottom), d = tone === "up" ? 1 : -1;
    const at = `${px.toFixed(1)} ${py.toFixed(1)}l4.5 ${7 * d}h-9z`;
    element("title", {}, element("path", { d: `M${at}`, class: `mark ${tone}` }, this.svg)).textContent = name;
  }

  drawPointer() {
    const { data, scale, marker } = this;
    if (!marker) return;
    marker.replaceChildren();
    this.tip.hidden = true;
    if (this.pointer === null || !scale || !data) return;
    const share = (this.pointer - PAD.left) / (scale.width - PAD.left - PAD.right);
    const wanted = scale.first + Math.min(1, Math.max(0, share)) * (scale.last - scale.first);
    let at = 0;
    data.times.forEach((ms, index) => {
      if (Math.abs(ms - wanted) < Math.abs(data.times[at] - wanted)) at = index;
    });
    const px = scale.x(data.times[at]);
    element("line", { x1: px, x2: px, y1: PAD.top, y2: scale.height - PAD.bottom, class: "cross" }, marker);
    const words = [clock(data.times[at], true)];
    data.series.forEach((one, index) => {
      const value = one.values[at];
      if (value === null || value === undefined) return;
      const tone = one.tone ?? `c${index % 6}`;
      element("circle", { cx: px, cy: scale.y(value), r: 3.2, class: `dot ${tone}` }, marker);
      words.push(`${data.series.length > 1 ? `${one.name}  ` : ""}${data.format(value, 0)}`);
    });
    if (data.band && data.band.low[at] !== null) words.push(`${data.band.name}  ${data.format(data.band.low[at], 0)} … ${data.format(data.band.high[at], 0)}`);
    this.tip.textContent = words.join("\n");
    this.tip.hidden = false;
    const left = px + 14 + this.tip.offsetWidth > scale.width ? px - 14 - this.tip.offsetWidth : px + 14;
    this.tip.style.transform = `translate(${left.toFixed(0)}px, 16px)`;
  }
}
