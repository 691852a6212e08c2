// What is shown, and the controls that change it. `state` is read by charts and tables alike.
const data = JSON.parse(document.getElementById("data").textContent);
const state = { hidden: { chip: new Set(), variant: new Set() }, quantity: {}, theme: "auto" };
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

const isShown = (facet, name) => name === undefined || !state.hidden[facet].has(name);
const boxes = (panel) => [...panel.querySelectorAll("input[type=checkbox]")];

function setPanels(changed) {
  for (const panel of document.querySelectorAll(".panel")) {
    const all = boxes(panel);
    state.hidden[panel.dataset.facet] = new Set(all.filter((box) => !box.checked).map((box) => box.value));
    panel.querySelector(".count").textContent = `${all.filter((box) => box.checked).length} of ${all.length}`;
  }
  changed();
}

function wirePanel(panel, changed) {
  for (const box of boxes(panel)) box.addEventListener("change", changed);
  for (const button of panel.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      // Of long lists, those that the reader has found.
      for (const box of boxes(panel)) if (!box.parentElement.hidden) box.checked = Boolean(button.dataset.all);
      changed();
    });
  }
  const find = panel.querySelector("input[type=search]");
  find?.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const box of boxes(panel)) box.parentElement.hidden = !box.value.toLowerCase().includes(wanted);
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    panel.open = false;
    panel.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    if (!panel.contains(event.target)) panel.open = false;
  });
}

// A name of the legend was clicked: as if its box were.
function toggle(facet, name) {
  const panel = document.querySelector(`.panel[data-facet=${facet}]`);
  boxes(panel).find((box) => box.value === name).click();
}

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function setTheme(theme) {
  state.theme = theme;
  const root = document.documentElement;
  root.dataset.theme = theme;
  root.classList.toggle("dark", theme === "dark" || (theme === "auto" && systemIsDark.matches)); // DataTables looks here
  const button = document.getElementById("theme");
  button.querySelector(".theme").textContent = theme;
  button.setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}

const nextTheme = () => Object.keys(THEMES)[(Object.keys(THEMES).indexOf(state.theme) + 1) % 3];
