// A device's labels, edited one by one. Somebody else was faster: shown, and rebased on request.
import { ActionIcon, Button, TextInput } from "@mantine/core";
import { useState } from "react";
import { setLabels } from "../../api/actions";
import { ask, client, reason, Refusal } from "../../api/client";
import { queries } from "../../api/query-client";
import type { Device } from "../../api/types";
import { merge } from "../../lib/merge";
import { Dialog } from "../../ui/Dialog";
import { Diff } from "../../ui/Diff";
import { Notice } from "../../ui/Notice";
import { say } from "../../ui/say";

type Pairs = Record<string, string>;

interface Row {
  key: string;
  value: string;
}

const rows = (labels: Pairs): Row[] => Object.entries(labels).map(([key, value]) => ({ key, value }));
const pairs = (of: readonly Row[]): Pairs => Object.fromEntries(of.filter(({ key }) => key.trim() !== "").map(({ key, value }) => [key.trim(), value.trim()]));
const text = (labels: Pairs) => Object.entries(labels).sort().map(([key, value]) => `${key}=${value}\n`).join("");

export function EditLabels({ device, close }: { device: Device; close: () => void }) {
  const name = device.metadata.name;
  const [base, setBase] = useState({ labels: device.metadata.labels ?? {}, version: device.metadata.resourceVersion });
  const [now, setNow] = useState(() => rows(base.labels));
  const [theirs, setTheirs] = useState<{ labels: Pairs; version: number | undefined }>();
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const change = (index: number, part: Partial<Row>) => setNow(now.map((row, at) => (at === index ? { ...row, ...part } : row)));
  const save = async () => {
    const wanted = pairs(now);
    const patch: Record<string, string | null> = {};
    for (const key of Object.keys(base.labels)) if (!(key in wanted)) patch[key] = null;
    for (const [key, value] of Object.entries(wanted)) if (base.labels[key] !== value) patch[key] = value;
    setBusy(true);
    setFailure("");
    try {
      await setLabels(name, patch, base.version);
      await Promise.all([queries.invalidateQueries({ queryKey: ["device", name] }), queries.invalidateQueries({ queryKey: ["devices"] })]);
      say(`${name} has its new labels`);
      close();
    } catch (error) {
      if (error instanceof Refusal && error.code === "conflict") {
        const fresh = await ask(client.GET("/api/v1/devices/{name}", { params: { path: { name } } })).catch(() => undefined);
        if (fresh) setTheirs({ labels: fresh.metadata.labels ?? {}, version: fresh.metadata.resourceVersion });
      }
      setFailure(reason(error));
      setBusy(false);
    }
  };
  const rebase = () => {
    if (!theirs) return;
    const { value } = merge(base.labels, pairs(now), theirs.labels);
    setNow(rows(value as Pairs));
    setBase(theirs);
    setTheirs(undefined);
    setFailure("");
  };
  return (
    <Dialog title={`Labels of ${name}`} close={close}>
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void save(); }}>
        <p>Workloads choose devices by labels: a change may start and stop some here.</p>
        {now.map((row, index) => (
          <div key={index} className="hf-row hf-pair">
            <TextInput aria-label={`Key ${index + 1}`} value={row.key} onChange={(event) => change(index, { key: event.currentTarget.value })} placeholder="key" spellCheck={false} />
            <TextInput aria-label={`Value ${index + 1}`} value={row.value} onChange={(event) => change(index, { value: event.currentTarget.value })} placeholder="value" spellCheck={false} />
            <ActionIcon variant="default" size={34} aria-label={`Remove ${row.key || "the empty line"}`} onClick={() => setNow(now.filter((_, at) => at !== index))}>✕</ActionIcon>
          </div>
        ))}
        <div><Button size="xs" variant="default" onClick={() => setNow([...now, { key: "", value: "" }])}>Add a label</Button></div>
        {theirs ? (
          <Notice tone="warn" title="Somebody changed these labels meanwhile; yours were not written" alert>
            <Diff before={text(base.labels)} after={text(theirs.labels)} label="What changed meanwhile" />
            <div className="hf-row"><Button size="xs" onClick={rebase}>Put mine onto theirs</Button></div>
          </Notice>
        ) : failure && <Notice tone="bad" title="Not saved" alert>{failure}</Notice>}
        <div className="hf-row">
          <Button type="submit" loading={busy} disabled={theirs !== undefined}>Save</Button>
          <Button variant="default" onClick={close}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}
