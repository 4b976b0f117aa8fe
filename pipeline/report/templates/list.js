"use strict";
// The list: charts behind its rows, sorting, filtering, j and k, and what one takes away from it.
(() => {
  document.documentElement.classList.add("js");
  const table = document.querySelector(".hits"), tools = document.getElementById("tools");
  if (!table) return;
  const groups = [...table.tBodies], rows = [...table.querySelectorAll("tr.hit")];
  const detail = row => row.nextElementSibling;
  const visible = () => rows.filter(row => !row.hidden).sort((a, b) => a.compareDocumentPosition(b) & 4 ? -1 : 1);
  const say = text => { document.getElementById("said").textContent = text; };
  tools.hidden = false;
  charts.ranges(document.getElementById("ranges"));

  function open(row, wanted = !detail(row).classList.contains("open")) {
    detail(row).classList.toggle("open", wanted);
    row.querySelector(".open-chart").setAttribute("aria-expanded", wanted);
    const place = detail(row).querySelector(".narrow");
    if (wanted && !place.querySelector("a")) place.append(" ", ...row.querySelector(".links").cloneNode(true).childNodes);
    if (wanted) charts.draw(detail(row).querySelector(".chart"));
  }

  function choose(row) {
    for (const other of rows) { other.classList.toggle("chosen", other === row); if (other !== row) open(other, false); }
    open(row, true);
    row.querySelector(".open-chart").focus({preventScroll: true});
    row.scrollIntoView({block: "start"});
  }

  for (const row of rows) {
    row.querySelector(".open-chart").addEventListener("click", () => open(row));
    row.addEventListener("click", event => { if (!event.target.closest("a, button")) open(row); });
  }

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input") || !"jk".includes(event.key)) return;
    const list = visible(), at = list.findIndex(row => row.classList.contains("chosen"));
    const next = list[event.key === "j" ? at + 1 : at < 0 ? list.length - 1 : at - 1];
    if (next) choose(next);
  });

  document.getElementById("filter").addEventListener("input", event => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = [row.textContent, row.dataset.sector, row.parentElement.dataset.rule].join(" ").toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      detail(row).hidden = row.hidden;
    }
    say(words.length ? `${visible().length} of ${rows.length} shown` : "");
  });

  const value = (row, column) => {
    const cell = row.querySelector(`[data-column="${column}"]`);
    return cell ? cell.dataset.value : "";
  };
  const compare = (a, b) => a === b ? 0 : a === "" ? 1 : b === "" ? -1 : isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;

  for (const button of table.querySelectorAll("thead button")) button.addEventListener("click", () => {
    const head = button.parentElement, column = button.dataset.sort;
    const next = {none: "descending", descending: "ascending", ascending: "none"}[head.getAttribute("aria-sort") || "none"];
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    if (next !== "none") head.setAttribute("aria-sort", next);
    for (const group of groups) {
      const own = rows.filter(row => row.parentElement === group);
      if (next !== "none") own.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        return x === "" || y === "" ? compare(x, y) : next === "ascending" ? compare(x, y) : compare(y, x);
      });
      for (const row of own) { const more = detail(row); group.append(row, more); }
    }
  });

  document.getElementById("all").addEventListener("click", event => {
    const wanted = event.target.getAttribute("aria-pressed") !== "true";
    event.target.setAttribute("aria-pressed", wanted);
    for (const row of visible()) open(row, wanted);
  });

  document.getElementById("copy").addEventListener("click", async () => {
    const symbols = visible().map(row => row.dataset.symbol).join(" ");
    try { await navigator.clipboard.writeText(symbols); say(`${visible().length} symbols copied`); }
    catch (error) { prompt("Copy the symbols:", symbols); }
  });

  // A spreadsheet takes a text that begins like a formula for one.
  const quoted = text => `"${(/^[=+\-@\t\r]/.test(text) && isNaN(text) ? "'" + text : text).replaceAll('"', '""')}"`;
  document.getElementById("csv").addEventListener("click", () => {
    const columns = ["session", "rule", "symbol", "name", "sector", "close", "change", "volume_ratio", "rsi_14", "bb_position", "market_cap"];
    const facts = row => ({...row.parentElement.dataset, ...row.dataset, session: table.dataset.session});
    const lines = visible().map(row => columns.map(column => facts(row)[column] ?? value(row, column)).map(quoted).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[columns.join(","), ...lines].join("\r\n") + "\r\n"], {type: "text/csv"}));
    link.download = `watchlist-${table.dataset.session}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
