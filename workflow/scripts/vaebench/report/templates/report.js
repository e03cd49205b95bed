"use strict";
const root = document.documentElement;
const theme = document.getElementById("theme");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${theme.textContent.toLowerCase()} colours`); };
theme.hidden = false;
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
nameTheme();

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const numeric = Number(x) - Number(y);
        return direction * (Number.isNaN(numeric) ? x.localeCompare(y) : numeric);
      });
      table.tBodies[0].append(...rows);
    });
  });
}

const viewer = document.getElementById("viewer");
const title = document.getElementById("viewer-title");
const body = document.getElementById("viewer-body");
let shown = null;

function showColumn(sheet, column) {
  const cells = [...document.querySelectorAll(`button.cell[data-sheet="${sheet}"][data-column="${column}"]`)];
  if (!cells.length) return;
  shown = { sheet, column };
  title.textContent = `Image ${column + 1}`;
  const labels = cells.map((cell) => cell.getAttribute("aria-label").replace(", enlarge", ""));
  const runs = labels.map((label) => label.split(":")[0]);
  const captions = new Set(runs).size === runs.length ? runs : labels;
  body.replaceChildren(...cells.map((cell, number) => {
    const picture = document.createElement("span");
    picture.className = cell.className;
    picture.style.cssText = cell.style.cssText;
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", labels[number]);
    const caption = document.createElement("figcaption");
    caption.textContent = captions[number];
    const figure = document.createElement("figure");
    figure.append(picture, caption);
    return figure;
  }));
  if (!viewer.open) viewer.showModal();
}

document.addEventListener("click", (event) => {
  const cell = event.target.closest("button.cell");
  if (cell) showColumn(cell.dataset.sheet, Number(cell.dataset.column));
  const zoom = event.target.closest("button.zoom");
  if (zoom) {
    const source = zoom.querySelector("img");
    const image = new Image();
    image.src = source.src;
    image.alt = source.alt;
    shown = null;
    title.textContent = zoom.getAttribute("aria-label").replace(", enlarge", "");
    body.replaceChildren(image);
    viewer.showModal();
  }
  if (event.target === viewer) viewer.close();
});
viewer.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (shown && step) { event.preventDefault(); showColumn(shown.sheet, shown.column + step); }
});
