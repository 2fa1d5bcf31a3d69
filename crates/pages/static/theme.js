// Runs before the first paint, so that a chosen colour scheme does not flash.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const choice = localStorage.getItem("theme");
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
  } catch {
    // Storage is switched off: the system's scheme it is.
  }
})();
