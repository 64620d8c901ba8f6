// What can be done to many devices at once: approve, label, revoke, delete. One request each, some
// at a time, as the command line does; whatever fails is told by name and can be tried again.
import { Button, Progress, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { bare, setLabels } from "../../api/actions";
import { ask, client, reason } from "../../api/client";
import { queries } from "../../api/query-client";
import type { DeviceFilter } from "../../api/queries";
import { pool } from "../../lib/pool";
import { labelChanges } from "../../lib/selector";
import { count, some } from "../../lib/words";
import { Dialog } from "../../ui/Dialog";
import { Notice } from "../../ui/Notice";
import { say } from "../../ui/say";
import { ActButton } from "../../ui/rights";

/** Requests under way at once: the server groups commits, a browser has six connections. */
const WIDTH = 4;
/** Names that one request reads. */
const NAMES = 5_000;

type Kind = "approve" | "label" | "revoke" | "forget";

/** What each does, in words; what destroys wants to be typed. */
const KINDS: Record<Kind, { act: string; done: string; destroys?: string }> = {
  approve: { act: "Approve", done: "approved" },
  label: { act: "Label", done: "labelled" },
  revoke: { act: "Revoke", done: "revoked", destroys: "They are disconnected at once and can no longer connect. Their workloads keep running. To bring one back, delete it here and enrol it again." },
  forget: { act: "Delete", done: "deleted", destroys: "They are deleted with their labels, reports and history. Their certificates are no longer valid. Their workloads keep running, and can no longer be managed from here." },
};

interface Props {
  selected: ReadonlySet<string>;
  setSelected: (selected: ReadonlySet<string>) => void;
  filter: DeviceFilter;
  total: number;
}

export function Bulk({ selected, setSelected, filter, total }: Props) {
  const [open, setOpen] = useState<Kind | undefined>();
  const [reading, setReading] = useState(false);
  const all = async () => {
    setReading(true);
    try {
      const names = new Set<string>();
      for (let offset = 0; offset < total; offset += NAMES) {
        const page = await ask(client.GET("/api/v1/devices", { params: { query: { ...filter, offset, limit: NAMES } as never } }));
        for (const device of page.items) names.add(device.metadata.name);
      }
      setSelected(names);
    } catch (error) {
      say(`Not all could be selected: ${reason(error)}`, true);
    } finally {
      setReading(false);
    }
  };
  return (
    <div className="hf-card hf-row hf-spread" role="region" aria-label="Selected devices">
      <div className="hf-row">
        <strong role="status">{count(selected.size, "device")} selected</strong>
        {selected.size < total && <Button size="xs" variant="default" loading={reading} onClick={() => void all()}>Select all {total.toLocaleString("en")}</Button>}
        <Button size="xs" variant="subtle" onClick={() => setSelected(new Set())}>Select none</Button>
        <Compare names={[...selected].sort()} />
        <ActButton may="device.label" size="xs" variant="default" onClick={() => setOpen("label")}>Label…</ActButton>
        <ActButton may="device.approve" size="xs" variant="default" onClick={() => setOpen("approve")}>Approve…</ActButton>
      </div>
      <div className="hf-row hf-apart" role="group" aria-label="Shut out or forget">
        <ActButton may="device.revoke" size="xs" color="red" variant="outline" onClick={() => setOpen("revoke")}>Revoke {selected.size.toLocaleString("en")}…</ActButton>
        <ActButton may="device.delete" size="xs" color="red" variant="outline" onClick={() => setOpen("forget")}>Delete {selected.size.toLocaleString("en")}…</ActButton>
      </div>
      {open && <Work kind={open} names={[...selected].sort()} close={(left) => { setOpen(undefined); setSelected(new Set(left)); }} cancel={() => setOpen(undefined)} />}
    </div>
  );
}

/** Two are compared; with another number the button says what it wants. */
function Compare({ names }: { names: readonly string[] }) {
  const navigate = useNavigate();
  const ready = names.length === 2;
  return (
    <Button size="xs" variant="default" disabled={!ready} onClick={() => void navigate({ to: "/compare" as never, search: { a: names[0], b: names[1] } as never })}>
      {ready ? "Compare" : "Compare (select two)"}
    </Button>
  );
}

function Work({ kind, names, close, cancel }: { kind: Kind; names: string[]; close: (left: string[]) => void; cancel: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState<{ done: number; failed: number } | undefined>();
  const [stop] = useState(() => new AbortController());
  const [failed, setFailed] = useState<{ item: string; reason: string }[]>();
  const changes = labelChanges(text);
  const phrase = names.length === 1 ? (names[0] ?? "") : count(names.length, "device");
  const { act, done: verb, destroys } = KINDS[kind];
  const ready = kind === "label" ? Object.keys(changes.labels).length > 0 && !changes.fault : !destroys || text.trim() === phrase;
  const go = async () => {
    if (!ready || at) return;
    setAt({ done: 0, failed: 0 });
    const each = async (name: string) => {
      if (kind === "label") await setLabels(name, changes.labels);
      else await bare[kind](name);
    };
    const outcome = await pool(names, WIDTH, each, (done, failed) => setAt({ done, failed }), stop.signal);
    await queries.invalidateQueries({ queryKey: ["devices"] });
    if (outcome.failed.length === 0) {
      say(`${count(outcome.done.length, "device")} ${verb}${outcome.done.length < names.length ? `; stopped before ${names.length - outcome.done.length}` : ""}`);
      const done = new Set(outcome.done);
      close(names.filter((name) => !done.has(name)));
    } else setFailed(outcome.failed);
  };
  return (
    <Dialog title={`${act} ${count(names.length, "device")}`} close={at ? undefined : cancel}>
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <p className="hf-names">{some(names, names.length, 8)}</p>
        {kind === "label" ? (
          <TextInput label="Labels" description="key=value sets, key- removes; several with spaces between. Workloads that choose by these labels follow." value={text} onChange={(event) => setText(event.currentTarget.value)} error={text && changes.fault} placeholder="role=gateway old-" className="hf-mono-input" data-autofocus spellCheck={false} />
        ) : destroys && (
          <>
            <p>{destroys}</p>
            <TextInput label={<>Type <span className="hf-mono">{phrase}</span> to confirm</>} value={text} onChange={(event) => setText(event.currentTarget.value)} data-autofocus autoComplete="off" spellCheck={false} />
          </>
        )}
        {at && (
          <div>
            <Progress value={((at.done + at.failed) / names.length) * 100} aria-label="Progress" transitionDuration={0} />
            <p role="status" className="hf-kind">{at.done} of {names.length} done{at.failed > 0 ? `, ${at.failed} failed` : ""}</p>
          </div>
        )}
        {failed && (
          <Notice tone="bad" title={`${count(failed.length, "device")} could not be changed`} alert>
            <ul>{failed.slice(0, 10).map(({ item, reason }) => <li key={item}>{item}: {reason}</li>)}</ul>
            {failed.length > 10 && <p>and {failed.length - 10} more</p>}
          </Notice>
        )}
        <div className="hf-row">
          {!at && <Button type="submit" disabled={!ready} {...(destroys ? { color: "red" } : {})} {...(kind === "approve" ? { "data-autofocus": true } : {})}>{act} {count(names.length, "device")}</Button>}
          {!at && <Button variant="default" onClick={cancel}>Cancel</Button>}
          {at && !failed && <Button variant="default" onClick={() => stop.abort()}>Stop</Button>}
          {failed && <Button variant="default" onClick={() => close(failed.map(({ item }) => item))}>Close, keep the failed ones selected</Button>}
        </div>
      </form>
    </Dialog>
  );
}
