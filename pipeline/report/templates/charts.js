"use strict";
// Charts drawn where they are read, on a canvas, from the block of numbers that report/series.py packs.
// A chart is <div class="chart" data-symbol="NVDA">; data-marks="DATE DATE" names the sessions to be marked, instead of
// the last one.
const charts = (() => {
  const PANELS = [["price", 0.47], ["volume", 0.11], ["rsi", 0.24], ["macd", 0.18]];
  const RANGES = {"6 months": 126, "1 year": 252, "All": Infinity};
  const GUTTER = 62, FOOT = 18, GAP = 8;
  const LEGEND = [["band", "Bollinger 20, 2"], ["second", "SMA 50"], ["first", "RSI 14, MACD 12, 26"], ["second", "signal 9, mean volume 30"]];
  let all = null, range = "6 months";
  const shown = new Map();

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  function values(steps, scale) {
    let total = 0;
    return steps.map(step => step === null ? NaN : (total += step) / scale);
  }

  // What is told of the first sessions, then what `compute` makes of the `count` values that end `before` each session.
  function rolled(told, list, count, compute, before = 0) {
    return list.map((_, i) => i < told.length ? told[i] : compute(list.slice(i - before - count + 1, i - before + 1)));
  }
  const mean = list => list.reduce((sum, value) => sum + value, 0) / list.length;
  const deviation = list => { const middle = mean(list); return Math.sqrt(mean(list.map(value => (value - middle) ** 2))); };

  function series(packed, dates) {
    const found = {dates: values(packed.at, 1).map(place => dates[place])};
    for (const name of ["close", "bb_upper", "bb_middle", "sma_50", "macd", "macd_signal"]) found[name] = values(packed[name], packed.tick);
    for (const name of ["volume", "avg_volume_30"]) found[name] = values(packed[name], 1 / packed.unit);
    found.bb_upper = rolled(found.bb_upper, found.close, 20, list => mean(list) + 2 * deviation(list));
    found.bb_middle = rolled(found.bb_middle, found.close, 20, mean);
    found.sma_50 = rolled(found.sma_50, found.close, 50, mean);
    found.avg_volume_30 = rolled(found.avg_volume_30, found.volume, 30, mean, 1);
    const beyond = name => packed[name].map(step => step / packed.tick), close = found.close;
    found.open = beyond("gap").map((gap, i) => close[i && i - 1] + gap);
    found.high = beyond("above").map((more, i) => Math.max(found.open[i], close[i]) + more);
    found.low = beyond("below").map((less, i) => Math.min(found.open[i], close[i]) - less);
    found.rsi = values(packed.rsi_14, 10);
    found.bb_lower = found.bb_middle.map((middle, i) => 2 * middle - found.bb_upper[i]);
    found.hist = found.macd.map((value, i) => value - found.macd_signal[i]);
    found.digits = packed.tick > 1000 ? 4 : 2;
    return found;
  }

  async function load() {
    const packed = await unpack(document.getElementById("bars").textContent);
    const dates = values(packed.dates, 1).map(day => new Date(day * 864e5).toISOString().slice(0, 10));
    return Object.fromEntries(Object.entries(packed.symbols).map(([symbol, one]) => [symbol, series(one, dates)]));
  }

  const finite = lists => lists.flat().filter(Number.isFinite);
  function span(lists, room = 0.04) {
    const found = finite(lists);
    let low = Math.min(...found), high = Math.max(...found);
    if (!found.length) [low, high] = [0, 1];
    if (low === high) [low, high] = [low - 1, high + 1];
    return [low - (high - low) * room, high + (high - low) * room];
  }

  function compact(value) {
    if (!Number.isFinite(value)) return "–";
    for (const [size, unit] of [[1e12, " T"], [1e9, " B"], [1e6, " M"], [1e3, " k"]])
      if (Math.abs(value) >= size) return (value / size).toFixed(1) + unit;
    return value.toFixed(0);
  }
  const fixed = (value, digits) => Number.isFinite(value) ? value.toFixed(digits) : "–";

  function ticks([low, high], count) {
    const rough = (high - low) / count, size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(factor => factor * size).find(one => one >= rough);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(+at.toPrecision(12));
    return found;
  }

  class Chart {
    constructor(box, data) {
      this.box = box; this.data = data; this.cursor = null;
      this.marks = new Set((box.dataset.marks ?? data.dates[data.dates.length - 1]).split(" "));
      this.read = box.appendChild(document.createElement("p"));
      this.read.className = "read";
      this.canvas = box.appendChild(document.createElement("canvas"));
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "img");
      box.append(legend());
      this.canvas.addEventListener("pointermove", event => this.point(event.offsetX));
      this.canvas.addEventListener("pointerleave", () => { this.cursor = null; this.draw(); });
      this.canvas.addEventListener("keydown", event => this.key(event));
      this.draw();
      const dates = data.dates;
      this.canvas.setAttribute("aria-label", `Chart of ${box.dataset.symbol}, ${dates.length} sessions from ${dates[0]}. ${this.read.textContent}`);
    }

    point(x) {
      this.cursor = Math.max(0, Math.min(this.count - 1, Math.floor(x / this.step)));
      this.draw();
    }

    key(event) {
      const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!move) return;
      event.preventDefault();
      this.point(((this.cursor ?? this.count - 1) + move + 0.5) * this.step);
    }

    draw() {
      const style = getComputedStyle(this.box), ratio = devicePixelRatio || 1;
      this.colour = name => style.getPropertyValue("--" + name);
      this.width = this.canvas.clientWidth; this.height = this.canvas.clientHeight;
      if (!this.width) return;
      this.canvas.width = this.width * ratio; this.canvas.height = this.height * ratio;
      const pen = this.pen = this.canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.font = "11px system-ui, sans-serif"; pen.textBaseline = "middle";
      this.first = Math.max(0, this.data.dates.length - RANGES[range]);
      this.count = this.data.dates.length - this.first;
      this.step = (this.width - GUTTER) / this.count;
      let top = 4;
      const room = this.height - FOOT - 4 - GAP * (PANELS.length - 1);
      for (const [name, share] of PANELS) { this[name](top, room * share); top += room * share + GAP; }
      this.months();
      this.cross();
      this.tell();
    }

    part(name) { return this.data[name].slice(this.first); }
    x(i) { return (i + 0.5) * this.step; }

    panel(top, height, [low, high], marks, label, write) {
      const y = value => top + height - (value - low) / (high - low) * height, pen = this.pen;
      pen.strokeStyle = this.colour("grid"); pen.fillStyle = this.colour("muted"); pen.lineWidth = 1; pen.textAlign = "left";
      for (const at of marks) {
        pen.beginPath(); pen.moveTo(0, Math.round(y(at)) + 0.5); pen.lineTo(this.width - GUTTER, Math.round(y(at)) + 0.5); pen.stroke();
        pen.fillText(write(at), this.width - GUTTER + 6, Math.max(top + 6, Math.min(top + height - 6, y(at))));
      }
      pen.fillText(label, 2, top + 7);
      return y;
    }

    line(list, y, colour, width = 1.4, dash = []) {
      const pen = this.pen;
      pen.strokeStyle = this.colour(colour); pen.lineWidth = width; pen.setLineDash(dash); pen.beginPath();
      let open = false;
      list.forEach((value, i) => {
        if (!Number.isFinite(value)) { open = false; return; }
        if (open) pen.lineTo(this.x(i), y(value)); else pen.moveTo(this.x(i), y(value));
        open = true;
      });
      pen.stroke(); pen.setLineDash([]);
    }

    tag(text, y, colour) {
      const pen = this.pen;
      pen.fillStyle = this.colour(colour); pen.fillRect(this.width - GUTTER + 2, y - 8, GUTTER - 2, 16);
      pen.fillStyle = this.colour("page"); pen.textAlign = "left"; pen.fillText(text, this.width - GUTTER + 6, y + 0.5);
    }

    bars(list, y, colours, base) {
      const wide = Math.max(1, this.step * 0.7);
      list.forEach((value, i) => {
        if (!Number.isFinite(value)) return;
        this.pen.fillStyle = this.colour(colours(i));
        const from = y(base), to = y(value);
        this.pen.fillRect(this.x(i) - wide / 2, Math.min(from, to), wide, Math.max(1, Math.abs(to - from)));
      });
    }

    price(top, height) {
      const [open, high, low, close] = ["open", "high", "low", "close"].map(name => this.part(name));
      const [upper, middle, lower, average] = ["bb_upper", "bb_middle", "bb_lower", "sma_50"].map(name => this.part(name));
      const limits = span([high, low, upper, lower]), digits = this.data.digits, pen = this.pen;
      const y = this.panel(top, height, limits, ticks(limits, 5), "", at => fixed(at, digits));
      for (const list of [upper, lower]) this.line(list, y, "band", 1.2);
      this.line(middle, y, "band", 1, [3, 3]);
      this.line(average, y, "second", 1.6);
      const wide = Math.max(1, this.step * 0.7);
      close.forEach((value, i) => {
        pen.fillStyle = pen.strokeStyle = this.colour(value >= open[i] ? "up" : "down");
        pen.lineWidth = 1; pen.beginPath(); pen.moveTo(this.x(i), y(high[i])); pen.lineTo(this.x(i), y(low[i])); pen.stroke();
        const [from, to] = [y(open[i]), y(value)];
        pen.fillRect(this.x(i) - wide / 2, Math.min(from, to), wide, Math.max(1, Math.abs(to - from)));
        if (this.marks.has(this.data.dates[this.first + i])) this.mark(this.x(i), y(low[i]));
      });
      const last = close.length - 1;
      if (Number.isFinite(average[last]) && Math.abs(y(average[last]) - y(close[last])) > 16) this.tag(fixed(average[last], digits), y(average[last]), "second");
      this.tag(fixed(close[last], digits), y(close[last]), close[last] >= open[last] ? "up" : "down");
    }

    mark(x, y) {
      const pen = this.pen;
      pen.fillStyle = this.colour("link"); pen.beginPath();
      pen.moveTo(x, y + 4); pen.lineTo(x - 5, y + 12); pen.lineTo(x + 5, y + 12); pen.fill();
    }

    volume(top, height) {
      const [list, average, open, close] = ["volume", "avg_volume_30", "open", "close"].map(name => this.part(name));
      const most = Math.max(...finite([list, average]), 1);
      const y = this.panel(top, height, [0, most * 1.15], [most], "Volume", compact);
      this.bars(list, y, i => close[i] >= open[i] ? "up" : "down", 0);
      this.line(average, y, "second");
    }

    rsi(top, height) {
      const list = this.part("rsi"), found = finite([list]);
      const limits = [Math.min(25, ...found) - 5, Math.max(75, ...found) + 5], last = list[list.length - 1];
      const y = this.panel(top, height, limits, [30, 50, 70], "RSI 14", at => at.toFixed(0));
      this.pen.fillStyle = this.colour("zone"); this.pen.fillRect(0, y(70), this.width - GUTTER, y(30) - y(70));
      this.line(list, y, "first", 1.6);
      if (Number.isFinite(last)) this.tag(fixed(last, 1), Math.max(top + 8, Math.min(top + height - 8, y(last))), "first");
    }

    macd(top, height) {
      const [hist, line, signal] = ["hist", "macd", "macd_signal"].map(name => this.part(name));
      const limits = span([hist, line, signal, [0]], 0.1), digits = this.data.digits;
      const y = this.panel(top, height, limits, [0], "MACD 12, 26, 9", at => fixed(at, digits));
      this.bars(hist, y, i => hist[i] >= 0 ? "up" : "down", 0);
      this.line(line, y, "first"); this.line(signal, y, "second");
    }

    months() {
      const pen = this.pen, dates = this.data.dates.slice(this.first);
      pen.fillStyle = this.colour("muted"); pen.textAlign = "left";
      let free = 0;
      dates.forEach((day, i) => {
        if (!i || day.slice(0, 7) === dates[i - 1].slice(0, 7)) return;
        const text = day.slice(5, 7) === "01" ? day.slice(0, 4) : new Date(day).toLocaleDateString("en", {month: "short", timeZone: "UTC"});
        if (this.x(i) < free || this.x(i) > this.width - GUTTER - 24) return;
        pen.fillText(text, this.x(i), this.height - FOOT / 2);
        free = this.x(i) + 34;
      });
    }

    cross() {
      if (this.cursor === null) return;
      const pen = this.pen, x = Math.round(this.x(this.cursor)) + 0.5;
      pen.strokeStyle = this.colour("wick"); pen.lineWidth = 1; pen.setLineDash([4, 3]);
      pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, this.height - FOOT); pen.stroke(); pen.setLineDash([]);
    }

    tell() {
      const s = this.data, i = this.first + (this.cursor === null ? this.count - 1 : this.cursor), d = s.digits;
      const change = i ? (s.close[i] / s.close[i - 1] - 1) * 100 : NaN;
      this.read.textContent = `${s.dates[i]}  O ${fixed(s.open[i], d)}  H ${fixed(s.high[i], d)}  L ${fixed(s.low[i], d)}  C ${fixed(s.close[i], d)}` +
        (Number.isFinite(change) ? ` (${change >= 0 ? "+" : ""}${change.toFixed(1)} %)` : "") +
        `  volume ${compact(s.volume[i])}  RSI ${fixed(s.rsi[i], 1)}  MACD ${fixed(s.macd[i], d)} / ${fixed(s.macd_signal[i], d)}` +
        `  SMA 50 ${fixed(s.sma_50[i], d)}  bands ${fixed(s.bb_lower[i], d)} to ${fixed(s.bb_upper[i], d)}`;
    }
  }

  function legend() {
    const list = document.createElement("p");
    list.className = "legend";
    for (const [colour, text] of LEGEND) {
      const item = list.appendChild(document.createElement("span"));
      item.className = "key " + colour;
      item.textContent = text;
    }
    const mark = list.appendChild(document.createElement("span"));
    mark.textContent = "▲ on the watchlist";
    return list;
  }

  async function draw(box) {
    if (shown.has(box)) { shown.get(box).draw(); return; }
    all ||= load();
    const data = (await all)[box.dataset.symbol];
    if (data && !shown.has(box)) shown.set(box, new Chart(box, data));
  }

  function redraw() { for (const chart of shown.values()) chart.draw(); }

  function ranges(place) {
    for (const name of Object.keys(RANGES)) {
      const button = place.appendChild(document.createElement("button"));
      button.type = "button"; button.textContent = name; button.setAttribute("aria-pressed", name === range);
      button.addEventListener("click", () => {
        range = name;
        for (const other of place.children) other.setAttribute("aria-pressed", other === button);
        redraw();
      });
    }
  }

  addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  return {draw, ranges, load};
})();
