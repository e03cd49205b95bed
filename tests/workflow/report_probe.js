// Clicks about in the report as a reader would, and leaves what it saw as JSON in an element of the page.
addEventListener("load", async () => {
  const seen = {};
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map(Number).map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!/, 0\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const weakest = () => {
    let worst = 99;
    for (const element of document.querySelectorAll("main p, main a, main td, main th, main small, main h2, main li, summary, .grade")) {
      if (!element.offsetParent || !element.textContent.trim()) continue;
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((x, y) => y - x);
      worst = Math.min(worst, (a + 0.05) / (b + 0.05));
    }
    return worst;
  };
  const runs = () => [...document.querySelectorAll("table.sortable tbody tr")].map((row) => row.cells[0].textContent.trim());
  const heading = document.querySelectorAll("table.sortable thead button")[2];
  try {
    seen.broken = [...document.images].filter((image) => !image.naturalWidth).length;
    seen.pictures = document.images.length;
    seen.requests = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length;
    seen.overflow = document.documentElement.scrollWidth - innerWidth;
    seen.named = Math.max(...[...document.querySelectorAll(".sheet th")].map((cell) => cell.scrollWidth));
    seen.ground = getComputedStyle(document.body).backgroundColor;
    seen.contrast = [weakest()];
    document.getElementById("theme").click();
    seen.other = getComputedStyle(document.body).backgroundColor;
    seen.contrast.push(weakest());
    seen.planned = runs();
    heading.focus();
    seen.focused = document.activeElement === heading;
    heading.click();
    seen.ascending = runs();
    seen.sorted = heading.parentElement.getAttribute("aria-sort");
    heading.click();
    seen.descending = runs();
    const viewer = document.getElementById("viewer");
    document.querySelector('button.cell[data-sheet="r"][data-column="3"]').click();
    seen.compared = viewer.querySelectorAll(".cell").length;
    seen.title = document.getElementById("viewer-title").textContent;
    viewer.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    seen.next = document.getElementById("viewer-title").textContent;
    viewer.close();
    document.querySelector("figure .zoom").click();
    seen.zoomed = viewer.open && viewer.querySelector("img").alt.length > 20;
    viewer.close();
    location.hash = "#run-2";
    await pause();
    seen.page = [...document.querySelectorAll("article")].filter((one) => one.offsetParent).map((one) => one.id);
    seen.overview = document.getElementById("overview").offsetParent !== null;
    location.hash = "#summary";
    await pause();
    seen.back = document.getElementById("overview").offsetParent !== null;
  } catch (error) { window.errors.push(String(error)); }
  seen.errors = window.errors;
  const note = document.createElement("pre");
  note.id = "seen";
  note.textContent = JSON.stringify(seen);
  document.body.append(note);
});
