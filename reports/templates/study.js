"use strict";
// Charts in the theme of the moment; expressions are interpreted, so the policy needs no eval.
document.documentElement.classList.add("js");
const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const views = {};
async function draw() {
  for (const [id, chart] of Object.entries(data.charts)) {
    const place = document.getElementById(id);
    const config = structuredClone(dark.matches ? data.themes.dark : data.themes.light);
    if (place.clientWidth < 560) {
      Object.assign(config.legend, { columns: 1, labelLimit: place.clientWidth - 60 });
      config.legend.layout.top.direction = "vertical";
    }
    const result = await vegaEmbed(place, chart, {
      actions: false, ast: true, renderer: "svg", config, defaultStyle: false, tooltip: { disableDefaultStyle: true },
    });
    views[id]?.finalize();
    views[id] = result.view;
  }
}
if (typeof vegaEmbed === "function") {
  draw();
  dark.addEventListener("change", draw);
}
