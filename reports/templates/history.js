"use strict";
// Tell the run under the pointer: commit, day, median and interval.
const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll(".curve").forEach((panel, index) => {
  const { places, across, medians, intervals } = data.curves[index];
  const svg = panel.querySelector("svg"), told = panel.querySelector(".told"), cursor = panel.querySelector(".cursor");
  const silent = told.textContent, whole = svg.viewBox.baseVal.width;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * whole;
    let low = 0, high = across.length - 1;
    while (low < high) { const middle = (low + high) >> 1; if (across[middle] < wanted) low = middle + 1; else high = middle; }
    if (low > 0 && wanted - across[low - 1] < across[low] - wanted) low -= 1;
    const x = across[low], [commit, day] = data.moments[places[low]];
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.style.visibility = "visible";
    const bounds = intervals[low] ? ` [${intervals[low][0]} … ${intervals[low][1]}]` : ", no interval";
    told.textContent = `${commit}, ${day}: ${medians[low]} ms${bounds}`;
  });
  svg.addEventListener("pointerleave", () => { cursor.style.visibility = "hidden"; told.textContent = silent; });
});
