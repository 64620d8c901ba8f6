// The login form, in plain DOM: it stands before the rest of the dashboard is here, and later in a
// dialog above the pages. Nothing is rendered as HTML.
//
// Three ways in: an identity provider (a link), a name with a password and, if the user has one, a
// second factor, and an access token. Whoever has to choose another password does so before the
// pages come.
import { change, enter, NeedsCode, providers, said, type Found, type Proof } from "./ask";
import "./login.css";

interface Options {
  hint?: string | undefined;
  opened: (found: Found) => void | Promise<void>;
}

/** The way in that was used last in this browser. */
const WAY = "holdfast-login";

type Way = "token" | "user";

function make<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string>, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

let number = 0;

/** A field with its label, a word about it, and for a secret a button that shows it. */
function field(label: string, attributes: Record<string, string>, about?: string): { all: HTMLDivElement; input: HTMLInputElement } {
  const id = `hf-in-${++number}`;
  const described: Record<string, string> = about ? { "aria-describedby": `${id}-about` } : {};
  const input = make("input", { id, class: "hf-in-text", spellcheck: "false", required: "", ...described, ...attributes });
  const row = make("div", { class: "hf-in-row" }, input);
  if (attributes.type === "password") {
    const show = make("button", { type: "button", class: "hf-in-show", "aria-label": `Show the ${label === "Access token" ? "token" : label.toLowerCase()}`, "aria-pressed": "false" }, "Show");
    show.onclick = () => {
      const hidden = input.type === "text";
      input.type = hidden ? "password" : "text";
      show.textContent = hidden ? "Show" : "Hide";
      show.setAttribute("aria-pressed", String(!hidden));
    };
    row.append(show);
  }
  const words = about ? [make("p", { id: `${id}-about`, class: "hf-in-about" }, about)] : [];
  return { all: make("div", {}, make("label", { for: id }, label), ...words, row), input };
}

/** A form with fields, a place for its failure and a button. `send` says what failed by rejecting. */
function asking(fields: HTMLElement[], inputs: () => HTMLInputElement[], [word, busyWord]: [string, string], send: () => Promise<void>) {
  const button = make("button", { type: "submit", class: "hf-in-go" }, word);
  const failure = make("div", { class: "hf-in-bad", role: "alert" });
  failure.hidden = true;
  const form = make("form", { class: "hf-in-form" }, ...fields, failure, button);
  let busy = false;
  let clock: ReturnType<typeof setInterval> | undefined;
  const fits = () => (button.disabled = busy || inputs().some((input) => input.value.trim() === ""));
  form.oninput = fits;
  const fail = (title: string, why: string) => {
    failure.replaceChildren(make("strong", {}, title), make("p", {}, why));
    failure.hidden = false;
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    busy = true;
    fits();
    failure.hidden = true;
    const began = Date.now();
    const tell = () => (button.textContent = Date.now() - began < 1_500 ? `${busyWord}…` : `${busyWord}, ${Math.round((Date.now() - began) / 1000)} s…`);
    tell();
    clock = setInterval(tell, 500);
    try {
      await send();
      return;
    } catch (error) {
      fail(`Not ${word === "Log in" ? "logged in" : "changed"}`, error instanceof Error ? error.message : String(error));
    } finally {
      clearInterval(clock);
    }
    busy = false;
    button.textContent = word;
    fits();
  };
  fits();
  return { form, fits, fail, end: () => clearInterval(clock) };
}

/** Builds the form for a new password in `place`; `known` is the present one, if it was just typed in. Gives what takes it away. */
export function changeForm(place: HTMLElement, found: Found, known: string | undefined, done: (found: Found) => void | Promise<void>): () => void {
  const present = field("Present password", { type: "password", autocomplete: "current-password" });
  const next = field("New password", { type: "password", autocomplete: "new-password", minlength: "12" }, "At least 12 characters; several words are easy to keep.");
  const again = field("New password again", { type: "password", autocomplete: "new-password" });
  const fields = known === undefined ? [present, next, again] : [next, again];
  const { form, end } = asking(
    fields.map(({ all }) => all),
    () => fields.map(({ input }) => input),
    ["Change the password", "Changing"],
    async () => {
      if (next.input.value !== again.input.value) throw new Error("The two new passwords differ.");
      await change(found, known ?? present.input.value, next.input.value);
      await done({ ...found, mustChange: false });
    },
  );
  const all = make("div", { class: "hf-in" }, make("p", {}, "Somebody else has set your password. Choose one that only you know."), form);
  place.append(all);
  fields[0]?.input.focus();
  return () => {
    end();
    all.remove();
  };
}

/** Links to the identity providers, once they are known. */
async function addProviders(all: HTMLElement, tenant: string | undefined, apart: boolean): Promise<void> {
  const names = await providers(tenant);
  if (names.length === 0 || !all.isConnected) return;
  const query = new URLSearchParams({ back: location.pathname + location.search, ...(tenant ? { tenant } : {}) });
  // Above a page with work on it the login goes on in another tab; this one learns of it.
  const elsewhere: Record<string, string> = apart ? { target: "_blank", rel: "noopener" } : {};
  const links = names.map((name) => make("a", { class: "hf-in-by", href: `/api/v1/login/${encodeURIComponent(name)}?${query}`, ...elsewhere }, `Continue with ${name}`));
  all.prepend(make("div", { class: "hf-in-providers", role: "group", "aria-label": "Identity providers" }, ...links));
}

/** Builds the form in `place`; gives what takes it away. */
export function loginForm(place: HTMLElement, { hint, opened }: Options): () => void {
  const tenant = new URLSearchParams(location.search).get("tenant") ?? undefined;
  const token = field("Access token", { type: "password", autocomplete: "current-password", "data-autofocus": "" }, "It begins with hfa1 and was shown when the control plane started for the first time, or when it was made under Settings.");
  const user = field("Name", { autocomplete: "username", autocapitalize: "none" });
  const password = field("Password", { type: "password", autocomplete: "current-password" });
  const code = field("Code", { autocomplete: "one-time-code", inputmode: "numeric", pattern: "[0-9 ]*" }, "Six digits of your authenticator program.");
  code.all.hidden = true;
  let forgetChange: (() => void) | undefined;

  /** Logs in and, where that is asked for, has the password changed first. */
  const go = async (proof: Proof, typed?: string) => {
    const found = await enter(proof);
    if (!found.mustChange) return await opened(found);
    all.hidden = true;
    forgetChange = changeForm(place, found, typed, opened);
  };
  const byToken = asking([token.all], () => [token.input], ["Log in", "Logging in"], () => go({ token: token.input.value.trim() }));
  const byName = asking(
    [user.all, password.all, code.all],
    () => [user.input, password.input, ...(code.all.hidden ? [] : [code.input])],
    ["Log in", "Logging in"],
    async () => {
      const given = code.all.hidden ? {} : { code: code.input.value.replaceAll(" ", "") };
      try {
        await go({ user: user.input.value.trim(), password: password.input.value, ...given, ...(tenant ? { tenant } : {}) }, password.input.value);
      } catch (error) {
        if (!(error instanceof NeedsCode)) throw error;
        const first = code.all.hidden;
        code.all.hidden = false;
        code.input.value = "";
        code.input.focus();
        throw first ? new Error("This user has a second factor: type in its code.") : error;
      }
    },
  );
  code.input.required = false;

  const ways: Record<Way, { title: string; form: HTMLFormElement; first: HTMLInputElement }> = {
    user: { title: "Name and password", form: byName.form, first: user.input },
    token: { title: "Access token", form: byToken.form, first: token.input },
  };
  const group = `hf-in-way-${++number}`;
  const choose = (way: Way, focus: boolean) => {
    for (const [each, { form }] of Object.entries(ways)) form.hidden = each !== way;
    if (focus) ways[way].first.focus();
  };
  const before: Way = localStorage.getItem(WAY) === "user" ? "user" : "token";
  const radios = (["user", "token"] as const).map((way) => {
    const radio = make("input", { type: "radio", name: group, value: way });
    radio.checked = way === before;
    radio.onchange = () => {
      localStorage.setItem(WAY, way);
      choose(way, true);
    };
    return make("label", { class: "hf-in-way" }, radio, ways[way].title);
  });
  const all = make(
    "div",
    { class: "hf-in" },
    ...(hint ? [make("p", {}, hint)] : []),
    make("fieldset", { class: "hf-in-ways" }, make("legend", {}, "Log in with"), ...radios),
    byName.form,
    byToken.form,
  );
  choose(before, false);
  place.append(all);
  ways[before].first.focus();
  const why = said();
  if (why) (before === "user" ? byName : byToken).fail("Not logged in", why);
  void addProviders(all, tenant, hint !== undefined);
  return () => {
    byToken.end();
    byName.end();
    forgetChange?.();
    all.remove();
  };
}
