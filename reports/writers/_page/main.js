// Tables first, charts as they come near the screen; then again whatever the controls change.
setTheme("auto");
const tables = await makeTables();
watchCharts();

const changed = () => setPanels(() => {
  drawCharts();
  for (const table of tables) table.draw();
});
for (const panel of document.querySelectorAll(".panel")) wirePanel(panel, changed);
for (const select of document.querySelectorAll(".choice select")) {
  select.addEventListener("change", () => {
    for (const id of select.dataset.charts.split(" ")) state.quantity[id] = select.value;
    drawCharts();
  });
}
document.getElementById("theme").addEventListener("click", () => {
  setTheme(nextTheme());
  drawCharts();
});
systemIsDark.addEventListener("change", () => {
  setTheme(state.theme);
  drawCharts();
});
isNarrow.addEventListener("change", drawCharts);
addEventListener("beforeprint", () => chartIds.forEach((id) => drawChart(id, true)));
addEventListener("afterprint", drawCharts);
document.documentElement.dataset.ready = "";
