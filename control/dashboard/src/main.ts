// The beginning: who is logged in? Nobody: the login form, which needs next to nothing of the link;
// what the pages need comes while the token is pasted. Somebody: the pages.
// See decision 0114.
import { whoami, type Found } from "./login/ask";
import { changeForm, loginForm } from "./login/form";

/** Between attempts to learn who is logged in. */
const AGAIN = 2_000;

/** Somebody was logged in here before: what the pages need is fetched at once. */
const BEFORE = "holdfast-before";

const pages = () => import("./start");

const place = document.getElementById("root");
if (!place) throw new Error("index.html has no #root");
const root = place;

const scheme = localStorage.getItem("holdfast-scheme");
if (scheme === "dark" || scheme === "light") document.documentElement.style.colorScheme = scheme;

function frame(): HTMLElement {
  const inner = document.createElement("div");
  const title = document.createElement("h1");
  title.textContent = "Holdfast";
  inner.append(title);
  const main = document.createElement("main");
  main.className = "hf-first";
  main.append(inner);
  root.replaceChildren(main);
  return inner;
}

function tell(inner: HTMLElement, text: string): void {
  const old = inner.querySelector("[role=status]");
  const line = old ?? document.createElement("p");
  line.setAttribute("role", "status");
  line.textContent = text;
  if (!old) inner.append(line);
}

/** Loads the pages, however long that takes, and shows them. */
async function show(found: Found): Promise<void> {
  localStorage.setItem(BEFORE, "1");
  const began = Date.now();
  const clock = setInterval(() => {
    const inner = root.querySelector<HTMLElement>(".hf-first > div");
    if (inner) tell(inner, `Loading the dashboard, ${Math.round((Date.now() - began) / 1000)} s…`);
  }, 1_000);
  for (;;) {
    try {
      const { start } = await pages();
      clearInterval(clock);
      document.documentElement.style.removeProperty("color-scheme");
      root.replaceChildren();
      start(root, found);
      return;
    } catch {
      await new Promise((go) => setTimeout(go, AGAIN));
    }
  }
}

async function begin(): Promise<void> {
  if (localStorage.getItem(BEFORE)) pages().catch(() => undefined);
  for (;;) {
    try {
      const found = await whoami();
      if (found?.mustChange) return void changeForm(frame(), found, undefined, show);
      if (found) return await show(found);
      break;
    } catch (error) {
      tell(root.querySelector<HTMLElement>(".hf-first > div") ?? frame(), `${error instanceof Error ? error.message : String(error)} Trying again by itself.`);
      await new Promise((go) => setTimeout(go, AGAIN));
    }
  }
  localStorage.removeItem(BEFORE);
  document.title = "Log in · Holdfast";
  loginForm(frame(), { opened: show });
  // The form stands: now what the pages need, while the token is pasted.
  pages().catch(() => undefined);
}

// A login in another tab is one in this.
const channel = new BroadcastChannel("holdfast-events");
channel.onmessage = async ({ data }: MessageEvent<{ wake?: true }>) => {
  if (!data.wake || !root.querySelector(".hf-in")) return;
  const found = await whoami().catch(() => undefined);
  if (found) {
    channel.close();
    await show(found);
  }
};

void begin();
