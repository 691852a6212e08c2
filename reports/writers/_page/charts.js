// Charts: each drawn from its figure in `data.charts` and from `state`, again whenever one of them changes.
const CONFIG = {
  responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  showSendToCloud: false, // that button uploads the chart
};
const INK_ON_PAPER = ["#1a1a1a", "#5c5f63", "#d7dadd", "#fff"];
const isNarrow = matchMedia("(max-width: 40rem)"); // as in the style sheet
const LETTER = 7.5; // pixels, about, of a title

// A title in as many lines as its axis is short.
function wrapped(title, room) {
  const lines = [""];
  for (const word of title.text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length * LETTER > room && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return { text: lines.join("<br>") };
}

function tracesOf(chart, quantity, ink) {
  return chart.data.map((trace) => {
    const { chip, chips, variant, values, quantity: only, legend } = trace.meta;
    const shown = isShown("chip", chip) && isShown("variant", variant) && (only ?? quantity) === quantity;
    const made = { ...trace, visible: shown || (legend ? "legendonly" : false) };
    if (values) made.y = values[quantity];
    if (chips) {
      const kept = (list) => list.filter((_, index) => isShown("chip", chips[index]));
      Object.assign(made, { x: kept(made.x), y: kept(made.y), text: kept(made.text) });
      made.marker = { ...made.marker, symbol: kept(made.marker.symbol) };
    }
    if (only) made.line = { ...trace.line, color: ink };
    if (legend && chip && trace.marker) made.marker = { ...trace.marker, color: ink };
    if (legend && chip && trace.line) made.line = { ...trace.line, color: ink };
    return made;
  });
}

function layoutOf(chart, quantity, plot, print) {
  const style = getComputedStyle(plot);
  const colour = (name) => { plot.style.color = `var(${name})`; return getComputedStyle(plot).color; };
  const [ink, soft, line, panel] = print ? INK_ON_PAPER : ["--ink", "--soft", "--line", "--panel"].map(colour);
  plot.style.color = "";
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line };
  const narrow = isNarrow.matches;
  const names = chart.data.filter((trace) => trace.meta.legend).length;
  return {
    ...chart.layout,
    xaxis: { ...chart.layout.xaxis, ...axis, title: wrapped(chart.layout.xaxis.title, plot.clientWidth - 80) },
    yaxis: { ...chart.axes[quantity], ...axis, title: wrapped(chart.axes[quantity].title, plot.clientHeight - 120) },
    font: { color: ink, family: style.fontFamily, size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
    hoverlabel: { bgcolor: panel, bordercolor: line, align: "left", font: { color: ink, family: style.fontFamily, size: 12 } },
    legend: narrow ? { ...chart.layout.legend, orientation: "h", y: -0.25, yanchor: "top" } : chart.layout.legend,
    showlegend: names > 0 && !(narrow && names > 12),
    uirevision: quantity, // keeps the reader's zoom while names come and go
  };
}

async function drawChart(id, print = false) {
  const chart = data.charts[id];
  const plot = document.getElementById(id);
  const quantity = state.quantity[id] ?? chart.quantity;
  const layout = layoutOf(chart, quantity, plot, print);
  await Plotly.react(plot, tracesOf(chart, quantity, layout.font.color), layout, {
    ...CONFIG, toImageButtonOptions: { format: "svg", filename: chart.file },
  });
  await fitToRange(plot);
}

// Charts are drawn when they come near the screen; `stale` are those that what is shown has changed for since.
const chartIds = Object.keys(data.charts);
const stale = new Set(chartIds);
const near = new Set();
const wired = new Set();

async function drawNear() {
  for (const id of [...near].filter((one) => stale.delete(one))) {
    await drawChart(id);
    if (!wired.has(id)) wireChart(id);
  }
}

function drawCharts() {
  for (const id of chartIds) stale.add(id);
  return drawNear();
}

function watchCharts() {
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? near.add(target.id) : near.delete(target.id);
    drawNear();
  }, { rootMargin: "50%" });
  for (const id of chartIds) observer.observe(document.getElementById(id));
}

function wireChart(id) {
  wired.add(id);
  const plot = document.getElementById(id);
  plot.on("plotly_relayout", (event) => {
    if (!("annotations" in event)) fitToRange(plot); // zoomed
  });
  plot.on("plotly_legendclick", (event) => {
    const { chip, variant } = event.data[event.curveNumber].meta;
    if (chip === undefined) toggle("variant", variant);
    else toggle("chip", chip);
    return false;
  });
  plot.on("plotly_legenddoubleclick", () => false);
}
