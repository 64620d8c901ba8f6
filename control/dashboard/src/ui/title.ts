// The tab's title: the page's own, with how much is critical before it, so that a tab in the
// background says it.
import { store } from "../api/store";

const page = store("");
const critical = store(0);

function write(): void {
  const count = critical.get();
  document.title = `${count > 0 ? `(${count}) ` : ""}${page.get()} · Holdfast`;
}

page.subscribe(write);
critical.subscribe(write);

export const setTitle = page.set;
export const setCritical = critical.set;
