// On every page: the colour scheme, menus, copying, questions before forms, the live stream.

import { all, copy, one } from "./dom.js";
import { start } from "./live.js";

function themes() {
  const root = document.documentElement;
  const buttons = all("[data-theme-choice]");
  const mark = () => {
    const current = root.dataset.theme ?? "auto";
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.themeChoice === current)));
  };
  buttons.forEach((button) => button.addEventListener("click", () => {
    const choice = button.dataset.themeChoice;
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    try {
      localStorage.setItem("theme", choice);
    } catch {
      // It holds for this page, then.
    }
    mark();
  }));
  mark();
}

function menus() {
  const open = () => all("details[data-menu][open]");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of open()) {
      menu.open = false;
      one("summary", menu).focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
  });
}

function forms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const question = form.dataset.confirm;
    if (question && !confirm(question)) {
      event.preventDefault();
      return;
    }
    // A second press of the same button must not send the form again.
    if (form.method === "post" && !event.defaultPrevented) {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
    }
  });
  addEventListener("pageshow", () => all("form[data-sent]").forEach((form) => { delete form.dataset.sent; }));
}

function copying() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (button) copy(document.getElementById(button.dataset.copy).textContent, button);
  });
}

/** A message that the address carries is told once: reading the page again does not tell it again. */
function toldOnce() {
  const address = new URL(location.href);
  for (const name of ["done", "cancelled"]) address.searchParams.delete(name);
  if (address.href !== location.href) history.replaceState(history.state, "", address);
}

themes();
menus();
forms();
copying();
toldOnce();
start();
