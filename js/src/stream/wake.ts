// The moments at which a page should look whether its connections still stand: rather then than when a timer notices.

/** Call `probe` when the network, the page or the tab comes back; returns how to stop. */
export function onWake(probe: () => void): () => void {
  const visible = () => {
    if (document.visibilityState === "visible") probe();
  };
  window.addEventListener("online", probe);
  window.addEventListener("pageshow", probe);
  document.addEventListener("visibilitychange", visible);
  return () => {
    window.removeEventListener("online", probe);
    window.removeEventListener("pageshow", probe);
    document.removeEventListener("visibilitychange", visible);
  };
}
