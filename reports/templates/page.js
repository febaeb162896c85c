"use strict";
document.documentElement.classList.add("js");
const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const views = {};

// Data sets are carried by column, and lists of texts once; charts name the sets they draw.
function rowsOf({ count, columns }) {
  const rows = Array.from({ length: count }, () => ({}));
  for (const [field, column] of Object.entries(columns)) {
    const texts = data.texts[column.texts];
    rows.forEach((row, place) => { row[field] = texts ? texts[column.at[place]] : column[place]; });
  }
  return rows;
}
function withRows(chart) {
  const named = chart.datasets.map(name => [name, rowsOf(data.rows[name])]);
  return { ...chart, datasets: Object.fromEntries(named) };
}

// Charts: one definition, the theme of the moment; expressions are interpreted, so the policy needs no eval.
async function draw() {
  const menu = document.getElementById("case");
  for (const [id, chart] of Object.entries(data.charts)) {
    const place = document.getElementById(id);
    const config = structuredClone(dark.matches ? data.themes.dark : data.themes.light);
    if (place.clientWidth < 560) {
      Object.assign(config.legend, { columns: 1, labelLimit: place.clientWidth - 60 });
      config.legend.layout.top.direction = "vertical";
      config.axisX = { labelOverlap: true, tickCount: 4 };
    }
    const result = await vegaEmbed(place, withRows(chart), {
      actions: false, ast: true, renderer: "svg", config, defaultStyle: false, tooltip: { disableDefaultStyle: true },
    });
    views[id]?.finalize();
    views[id] = result.view;
    if (menu && chart.params?.some(one => one.name === data.shown)) choose(result.view, menu.value);
  }
}
function choose(view, label) {
  view.signal(data.shown, label).runAsync();
}
if (typeof vegaEmbed === "function") {
  draw();
  dark.addEventListener("change", draw);
  let wide = innerWidth > 620;
  addEventListener("resize", () => { if (wide !== innerWidth > 620) { wide = !wide; draw(); } });
  document.getElementById("case")?.addEventListener("change", event => {
    for (const [id, chart] of Object.entries(data.charts))
      if (chart.params?.some(one => one.name === data.shown)) choose(views[id], event.target.value);
  });
}

// Tables: sorted by a click on a head, or on a phone by a menu; rows without figures stay last.
function sort(table, column, ascending) {
  const heads = table.tHead.rows[0].cells, body = table.tBodies[0];
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const text = heads[column].classList.contains("text");
  const value = row => row.cells[column]?.dataset.sort ?? "";
  const compare = (one, other) => text && Number.isNaN(Number(one)) ? one.localeCompare(other) : Number(one) - Number(other);
  const order = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
    return ascending ? compare(a, b) : compare(b, a);
  };
  body.append(...[...body.rows].sort(order));
}
for (const table of document.querySelectorAll("table")) {
  const menu = document.createElement("select");
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") !== "ascending"));
    head.replaceChildren(button);
    menu.append(new Option(head.textContent, column));
  });
  menu.addEventListener("change", () => sort(table, Number(menu.value), true));
  const label = document.createElement("label");
  label.className = "order";
  label.append("Sorted by ", menu);
  menu.prepend(new Option("the report’s order", "", true, true));
  menu.firstChild.disabled = true;
  table.before(label);
}
