// A copy from another registry: what is asked for, how far it is, and how it ended.
import { Button, Checkbox, PasswordInput, Progress, Select, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { copying, copyImage, forgetCopy, type CopyImage, type Copying } from "../../api/images";
import * as read from "../../api/queries";
import { useStore } from "../../api/store";
import { placeOfImage, platformsOf } from "../../lib/images";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Notice } from "../../ui/Notice";
import { PageLink } from "../../ui/PageLink";
import { ActButton, useCan } from "../../ui/rights";

type By = "nobody" | "user" | "secret";

const BY: { value: By; label: string }[] = [
  { value: "nobody", label: "None: it is public" },
  { value: "user", label: "User and password" },
  { value: "secret", label: "A stored secret" },
];

interface Form {
  from: string;
  to: string;
  platforms: string;
  by: By;
  username: string;
  password: string;
  secret: string;
  ca: string;
  plainHttp: boolean;
}

const EMPTY: Form = { from: "", to: "", platforms: "", by: "nobody", username: "", password: "", secret: "", ca: "", plainHttp: false };

/** What keeps it from being sent; undefined: nothing. */
function lacking({ from, by, username, password, secret }: Form): string | undefined {
  if (from.trim() === "") return "Name the image at the other registry";
  if (by === "user" && (username.trim() === "" || password === "")) return "Give the user and the password";
  if (by === "secret" && secret.trim() === "") return "Name the secret";
  return undefined;
}

function asked({ from, to, platforms, by, username, password, secret, ca, plainHttp }: Form): CopyImage {
  return {
    from: from.trim(),
    platforms: platformsOf(platforms),
    plainHttp,
    ...(to.trim() ? { to: to.trim() } : {}),
    ...(by === "user" ? { username: username.trim(), password } : {}),
    ...(by === "secret" ? { secret: secret.trim() } : {}),
    ...(ca.trim() ? { ca: ca.trim() } : {}),
  };
}

export function Copy({ close }: { close: () => void }) {
  const [form, setForm] = useState(EMPTY);
  const set = (change: Partial<Form>) => setForm({ ...form, ...change });
  const now = useStore(copying);
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => {
    first.current?.focus();
  }, []);
  const lacks = lacking(form);
  const isBusy = now.kind === "copying";
  const go = () => {
    if (lacks || isBusy) return;
    void copyImage(asked(form));
    // It is sent, and is not kept on the page.
    set({ password: "" });
  };
  return (
    <Card title="Copy an image from another registry" aside={<Button size="compact-xs" variant="subtle" onClick={close}>Close</Button>}>
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); go(); }}>
        <p>The control plane itself fetches it: what it has already is not fetched again, and a copy that was cut goes on where it was.</p>
        <div className="hf-grid">
          <TextInput ref={first} className="hf-mono-input" label="Image at the other registry" description="With its host" placeholder="registry.example/app:1.2" value={form.from} onChange={(event) => set({ from: event.currentTarget.value })} required autoComplete="off" spellCheck={false} />
          <TextInput className="hf-mono-input" label="Name here" description="Empty: the same, with the registry" placeholder="app:1.2" value={form.to} onChange={(event) => set({ to: event.currentTarget.value })} autoComplete="off" spellCheck={false} />
          <TextInput className="hf-mono-input" label="Platforms" description="Several with commas between; empty: all that it has" placeholder="linux/arm64, linux/amd64" value={form.platforms} onChange={(event) => set({ platforms: event.currentTarget.value })} autoComplete="off" spellCheck={false} />
          <Select label="Credentials" description="What that registry asks for" data={BY} value={form.by} onChange={(by) => by && set({ by: by as By })} allowDeselect={false} />
          {form.by === "user" && <TextInput label="User" value={form.username} onChange={(event) => set({ username: event.currentTarget.value })} autoComplete="off" spellCheck={false} />}
          {form.by === "user" && <PasswordInput label="Password or token" description="It is used for this copy and stored nowhere" value={form.password} onChange={(event) => set({ password: event.currentTarget.value })} autoComplete="new-password" />}
          {form.by === "secret" && <Secret value={form.secret} set={(secret) => set({ secret })} />}
        </div>
        <details>
          <summary>A registry with a certificate of its own, or without TLS</summary>
          <div className="hf-stack hf-inset">
            <Textarea className="hf-mono-input" label="Certificates of its authority (PEM)" description="Empty: those that the control plane's system trusts" value={form.ca} onChange={(event) => set({ ca: event.currentTarget.value })} rows={4} spellCheck={false} />
            <Checkbox label="It speaks HTTP without TLS: whoever is between can read the credentials" checked={form.plainHttp} onChange={(event) => set({ plainHttp: event.currentTarget.checked })} />
          </div>
        </details>
        <div className="hf-row">
          <ActButton may="image.copy" type="submit" disabled={lacks !== undefined || isBusy} title={lacks}>Copy the image</ActButton>
          {isBusy && <span className="hf-kind">One copy at a time: another one is under way.</span>}
        </div>
      </form>
    </Card>
  );
}

/** A secret with the two keys, to be chosen where the reader may see which there are. */
function Secret({ value, set }: { value: string; set: (name: string) => void }) {
  const { allowed } = useCan()("policy.list");
  const { data } = useQuery({ ...read.policies("secrets"), enabled: allowed });
  const fits = (data?.items ?? []).filter(({ spec }) => {
    const keys = Object.keys((spec as { data?: Record<string, unknown> } | undefined)?.data ?? {});
    return keys.includes("username") && keys.includes("password");
  });
  const description = <>With the keys <span className="hf-mono">username</span> and <span className="hf-mono">password</span></>;
  if (fits.length === 0) return <TextInput className="hf-mono-input" label="Secret" description={<>{description}{data && <>; there is none yet: <PageLink to="/policies/new" search={{ kind: "secrets" }}>make one</PageLink></>}</>} value={value} onChange={(event) => set(event.currentTarget.value)} autoComplete="off" spellCheck={false} />;
  return <Select label="Secret" description={description} data={fits.map(({ metadata }) => metadata.name)} value={value || null} onChange={(name) => set(name ?? "")} allowDeselect={false} />;
}

/** The copy of this tab: while it is under way, and how it ended. */
export function CopyState() {
  const now = useStore(copying);
  if (now.kind === "none") return null;
  if (now.kind === "copying") return <UnderWay of={now} />;
  const aside = <div><Button size="xs" variant="default" onClick={forgetCopy}>Close</Button></div>;
  if (now.kind === "cancelled") return <Notice tone="idle" title={`Not copied: ${now.from}`}><p>Cancelled. What was fetched stays for the next copy.</p>{aside}</Notice>;
  if (now.kind === "failed") return <Notice tone="bad" title={`Not copied: ${now.from}`} alert><p>{now.why}</p>{aside}</Notice>;
  return (
    <Notice tone="good" title={`${now.from} is here`}>
      <div className="hf-row hf-spread">
        <span>As <PageLink {...placeOfImage(`${now.image.name}@${now.image.digest}`)}>{now.name}</PageLink>, {bytes(now.image.size)}, for {now.image.platforms.map(({ platform }) => platform).join(", ")}.</span>
        {aside}
      </div>
    </Notice>
  );
}

function UnderWay({ of: { from, progress, stop } }: { of: Extract<Copying, { kind: "copying" }> }) {
  const part = progress && progress.ofBytes > 0 ? Math.floor((100 * progress.bytes) / progress.ofBytes) : 0;
  return (
    <section className="hf-card hf-stack hf-tight" aria-label="Copy under way">
      <span>Copying <strong className="hf-mono">{from}</strong></span>
      <Progress value={part} aria-label={`Copying ${from}`} transitionDuration={0} />
      <div className="hf-row hf-spread">
        <span className="hf-kind">{progress ? `${progress.files.toLocaleString("en")} of ${count(progress.of, "layer")} here, ${bytes(progress.bytes)} of ${bytes(progress.ofBytes)} fetched.` : "Asking the registry."} You may look at other pages meanwhile; closing this tab ends it.</span>
        <Button size="xs" variant="default" onClick={stop}>Cancel</Button>
      </div>
    </section>
  );
}
