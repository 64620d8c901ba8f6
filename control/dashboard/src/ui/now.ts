// One clock for all relative times of the page.
import { store, useStore } from "../api/store";

const clock = store(Date.now());
setInterval(() => {
  if (document.visibilityState === "visible") clock.set(Date.now());
}, 5_000);
document.addEventListener("visibilitychange", () => clock.set(Date.now()));

export const useNow = () => useStore(clock);
