// The table as a file: every device that the filter finds, the columns as they stand, and each label.
// It is read by pages, so that neither the control plane nor this page holds still for it.
import { Button } from "@mantine/core";
import { useState } from "react";
import { ask, client, reason } from "../../api/client";
import type { DeviceFilter } from "../../api/queries";
import type { Device } from "../../api/types";
import { sheet } from "../../lib/csv";
import { count } from "../../lib/words";
import { tally, troubles } from "../../lib/workloads";
import { Icon } from "../../ui/icons";
import { say } from "../../ui/say";
import { type Column } from "./filter";

/** Devices of one request: their reading is no task that one could feel. */
const AT_ONCE = 250;

type Value = string | number | null | undefined;

/** A column may be several in the file: what stands as words in the table is told in full there. */
const FILE: Record<Column, { heads: readonly string[]; values: (device: Device) => Value[] }> = {
  health: { heads: ["state", "state since", "failing workloads"], values: ({ status: { health } }) => [health?.state, health?.since, (health?.failing ?? []).join(" ")] },
  connection: { heads: ["connection", "connection since"], values: ({ status }) => [status.connection, status.connectionSince] },
  heardAt: { heads: ["heard at"], values: ({ status }) => [status.heardAt] },
  workloads: { heads: ["workloads desired", "workloads running or done"], values: (device) => { const { all, good, known } = tally(device); return [all, known ? good : "unknown"]; } },
  problems: { heads: ["problems"], values: (device) => [troubles(device).join("; ")] },
  labels: { heads: [], values: () => [] },
  certificate: { heads: ["certificate ends"], values: ({ status }) => [status.certificateNotAfter] },
  generation: { heads: ["desired state", "applied state"], values: ({ status }) => [status.generation.desired, status.generation.applied] },
  address: { heads: ["address"], values: ({ status }) => [status.address] },
  agent: { heads: ["agent"], values: ({ status }) => [status.agent] },
  createdAt: { heads: ["enrolled"], values: ({ metadata }) => [metadata.createdAt] },
};

interface Row {
  values: Value[];
  labels: Record<string, string>;
}

/** All of them, each once: while pages are read, devices may change their places. */
async function everything(filter: DeviceFilter, shown: readonly Column[], progress: (done: number, of: number) => void, stop: AbortSignal): Promise<Map<string, Row>> {
  const rows = new Map<string, Row>();
  for (let offset = 0, total = 1; offset < total; offset += AT_ONCE) {
    const page = await ask(client.GET("/api/v1/devices", { signal: stop, params: { query: { ...filter, offset, limit: AT_ONCE } as never } }));
    total = page.metadata?.total ?? 0;
    for (const device of page.items) rows.set(device.metadata.name, { values: [device.metadata.name, ...shown.flatMap((column) => FILE[column].values(device))], labels: device.metadata.labels ?? {} });
    if (page.items.length === 0) break;
    progress(Math.min(rows.size, total), total);
  }
  return rows;
}

export function Csv({ filter, shown, total, grouped }: { filter: DeviceFilter; shown: readonly Column[]; total: number; grouped: string | undefined }) {
  const [at, setAt] = useState<{ done: number; of: number; stop: AbortController } | undefined>();
  const go = async () => {
    const stop = new AbortController();
    setAt({ done: 0, of: total, stop });
    try {
      const rows = await everything(filter, shown, (done, of) => setAt({ done, of, stop }), stop.signal);
      // In groups as in the table: a sort keeps equals in their order.
      const inOrder = grouped === undefined ? [...rows.values()] : [...rows.values()].sort((a, b) => (a.labels[grouped] ?? "\uffff").localeCompare(b.labels[grouped] ?? "\uffff"));
      const lines = sheet(["name", ...shown.flatMap((column) => FILE[column].heads)], inOrder);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(lines, { type: "text/csv;charset=utf-8" }));
      link.download = `devices-${new Date().toISOString().slice(0, 16).replace(":", "")}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      say(`${count(rows.size, "device")} written to ${link.download}`);
    } catch (error) {
      if (!stop.signal.aborted) say(`The file was not written: ${reason(error)}`, true);
    } finally {
      setAt(undefined);
    }
  };
  if (at) {
    return (
      <span className="hf-row hf-tight">
        <span role="status" className="hf-kind">{at.done.toLocaleString("en")} of {count(at.of, "device")} read</span>
        <Button size="xs" variant="default" onClick={() => at.stop.abort()}>Stop</Button>
      </span>
    );
  }
  return <Button size="xs" variant="default" leftSection={<Icon name="download" />} disabled={total === 0} onClick={() => void go()}>CSV of {count(total, "device")}</Button>;
}
