// Not a module, so that it runs before the first paint: a page that flashes white in a dark room is no tool for the night.
(() => {
  /** @type {string | null} */
  let chosen = null;
  try {
    chosen = localStorage.getItem("qstash.theme");
  } catch {
    // Storage is switched off; the system's choice stands.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
