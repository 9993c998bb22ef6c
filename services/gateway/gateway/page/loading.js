/**
 * Reloads the page if a part of it failed to load: browsers abort requests when a network interface of the machine
 * changes, as happens when containers start and stop. Not a module, so that it runs before all others.
 */
addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLScriptElement || event.target instanceof HTMLLinkElement) {
      setTimeout(() => location.reload(), 1000);
    }
  },
  { capture: true },
);
