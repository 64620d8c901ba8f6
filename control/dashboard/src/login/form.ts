// The login form, in plain DOM: it stands before the rest of the dashboard is here, and later in a
// dialog above the pages. Nothing is rendered as HTML.
import { enter, type Found } from "./ask";
import "./login.css";

interface Options {
  hint?: string | undefined;
  opened: (found: Found) => void | Promise<void>;
}

function make<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string>, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

let number = 0;

/** Builds the form in `place`; gives what takes it away. */
export function loginForm(place: HTMLElement, { hint, opened }: Options): () => void {
  const id = `hf-token-${++number}`;
  const input = make("input", { id, type: "password", class: "hf-in-text", autocomplete: "current-password", spellcheck: "false", required: "", "aria-describedby": `${id}-about`, "data-autofocus": "" });
  const show = make("button", { type: "button", class: "hf-in-show", "aria-label": "Show the token", "aria-pressed": "false" }, "Show");
  show.onclick = () => {
    const hidden = input.type === "text";
    input.type = hidden ? "password" : "text";
    show.textContent = hidden ? "Show" : "Hide";
    show.setAttribute("aria-pressed", String(!hidden));
  };
  const button = make("button", { type: "submit", class: "hf-in-go" }, "Log in");
  const failure = make("div", { class: "hf-in-bad", role: "alert" });
  failure.hidden = true;
  const form = make(
    "form",
    { class: "hf-in" },
    ...(hint ? [make("p", {}, hint)] : []),
    make(
      "div",
      {},
      make("label", { for: id }, "Access token"),
      make("p", { id: `${id}-about`, class: "hf-in-about" }, "It begins with hfa1 and was shown when the control plane started for the first time, or when it was made under Settings."),
      make("div", { class: "hf-in-row" }, input, show),
    ),
    failure,
    button,
  );
  let busy = false;
  let clock: ReturnType<typeof setInterval> | undefined;
  const fits = () => (button.disabled = busy || input.value.trim() === "");
  input.oninput = fits;
  form.onsubmit = async (event) => {
    event.preventDefault();
    busy = true;
    fits();
    failure.hidden = true;
    const began = Date.now();
    const said = () => (button.textContent = Date.now() - began < 1_500 ? "Logging in…" : `Logging in, ${Math.round((Date.now() - began) / 1000)} s…`);
    said();
    clock = setInterval(said, 500);
    try {
      await opened(await enter(input.value.trim()));
      return;
    } catch (error) {
      failure.replaceChildren(make("strong", {}, "Not logged in"), make("p", {}, error instanceof Error ? error.message : String(error)));
      failure.hidden = false;
    } finally {
      clearInterval(clock);
    }
    busy = false;
    button.textContent = "Log in";
    fits();
  };
  fits();
  place.append(form);
  input.focus();
  return () => {
    clearInterval(clock);
    form.remove();
  };
}
