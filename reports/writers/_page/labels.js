// What depends on the range that is seen, set again when a reader zooms: ticks of log axes, and names beside lines,
// each where nothing else stands. Where there is no room for a name, hovering tells.
const MOST_NAMES = 24;
const NAME = { size: 11, letter: 6.2, height: 14, gap: 3, step: 6 };

// Where a trace stands in pixels: [x, y] of its points within the axes, and every few pixels along its lines.
function pixelsOf(plot, trace) {
  const { xaxis, yaxis } = plot._fullLayout;
  const ends = trace.x.map((x, i) => [xaxis.d2p(x), yaxis.d2p(trace.y[i])]);
  const along = trace.mode?.includes("lines") ? ends.slice(1).flatMap(([x, y], i) => {
    const [x0, y0] = ends[i];
    const steps = Math.min(Math.ceil(Math.hypot(x - x0, y - y0) / NAME.step), 400) || 1;
    return Array.from({ length: steps }, (_, step) => [x0 + ((x - x0) * step) / steps, y0 + ((y - y0) * step) / steps]);
  }) : [];
  return [...along, ...ends].filter(([x, y]) => x >= 0 && y >= 0 && x <= xaxis._length && y <= yaxis._length);
}

const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

// A free place for a name along a line, above it or below, neither on nor beside anything else; or undefined.
function placeOf(line, text, obstacles, boxes, room) {
  const length = text.length * NAME.letter;
  for (const [x, y] of line) {
    for (const left of [x - length, x - length / 2, x]) {
      for (const top of [y - NAME.gap - NAME.height, y + NAME.gap]) {
        const box = { left, right: left + length, top, bottom: top + NAME.height };
        if (left < 2 || box.right > room.width - 2 || top < 2 || box.bottom > room.height - 2) continue;
        if (boxes.some((other) => meet(box, other))) continue;
        const hides = (points, more) => points.some(([px, py]) =>
          px > box.left && px < box.right && py > top - more && py < box.bottom + more);
        if (!hides(line, 0) && !hides(obstacles, 2 * NAME.gap)) return box;
      }
    }
  }
  return undefined;
}

function namesOfLines(plot) {
  const { xaxis, yaxis, font } = plot._fullLayout;
  const shown = plot.data.filter((trace) => trace.visible === true && !trace.meta.legend);
  const lines = shown.filter((trace) => trace.meta.quantity);
  if (lines.length === 0 || lines.length > MOST_NAMES) return [];
  const manyChips = new Set(lines.map((trace) => trace.meta.chip)).size > 1;
  const pixels = new Map(shown.map((trace) => [trace, pixelsOf(plot, trace)]));
  const room = { width: xaxis._length, height: yaxis._length };
  const [boxes, annotations] = [[], []];
  for (const trace of lines) {
    const text = manyChips ? trace.name : trace.meta.label;
    const others = shown.filter((other) => other !== trace).flatMap((other) => pixels.get(other));
    const box = placeOf(pixels.get(trace), text, others, boxes, room);
    if (!box) continue;
    boxes.push(box);
    annotations.push({
      text, showarrow: false, x: xaxis.p2l(box.left), y: yaxis.p2l(box.bottom), xanchor: "left", yanchor: "bottom",
      borderpad: 0, font: { size: NAME.size, color: font.color },
    });
  }
  return annotations;
}

// Of a log axis: every decade, or 1, 2, 5 of each, or as plotly sees fit within one.
function ticksOf(axis) {
  const decades = Math.abs(axis.range[1] - axis.range[0]);
  if (decades < 1) return [undefined, "auto"];
  return [decades < 2.5 ? "D2" : Math.ceil(decades / 10), "linear"];
}

function fitToRange(plot) {
  const { xaxis, yaxis } = plot._fullLayout;
  const update = { annotations: namesOfLines(plot) };
  for (const [name, axis] of [["xaxis", xaxis], ["yaxis", yaxis]]) {
    if (axis.type !== "log") continue;
    const [dtick, mode] = ticksOf(axis);
    if (mode !== (plot.layout[name].tickmode ?? "auto") || dtick !== plot.layout[name].dtick) {
      Object.assign(update, { [`${name}.dtick`]: dtick, [`${name}.tickmode`]: mode });
    }
  }
  const same = Object.keys(update).length === 1 && !update.annotations.length && !plot.layout.annotations?.length;
  return same || Plotly.relayout(plot, update);
}
