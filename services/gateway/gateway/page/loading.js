/**
 * Loads the page again where a part of it did not come: browsers break off what they load when any network interface
 * of the machine comes or goes, as those of containers do. No module, so that it is there before all others.
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
