// Runs before the first paint, so that the chosen theme does not flash. "auto" follows the system.
(() => {
  try {
    const theme = localStorage.getItem("crwedge-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is closed to this page: the system's theme is used.
  }
})();
