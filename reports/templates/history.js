"use strict";
// Tell the run under the pointer: commit, day, median and interval.
const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll(".curve").forEach((panel, index) => {
  const { places, medians, intervals } = data.curves[index];
  const svg = panel.querySelector("svg"), told = panel.querySelector(".told"), cursor = panel.querySelector(".cursor");
  const silent = told.textContent, runs = Math.max(1, data.moments.length - 1);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * runs;
    let low = 0, high = places.length - 1;
    while (low < high) { const middle = (low + high) >> 1; if (places[middle] < wanted) low = middle + 1; else high = middle; }
    if (low > 0 && wanted - places[low - 1] < places[low] - wanted) low -= 1;
    const x = (places[low] / runs) * svg.viewBox.baseVal.width, [commit, day] = data.moments[places[low]];
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.style.visibility = "visible";
    const bounds = intervals[low] ? ` [${intervals[low][0]} … ${intervals[low][1]}]` : "";
    told.textContent = `${commit}, ${day}: ${medians[low]} ms${bounds}`;
  });
  svg.addEventListener("pointerleave", () => { cursor.style.visibility = "hidden"; told.textContent = silent; });
});
