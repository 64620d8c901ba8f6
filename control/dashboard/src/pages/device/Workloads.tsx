// A device's workloads: what fails first. Where there are many, the first stand and the rest is found.
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import * as read from "../../api/queries";
import type { Device } from "../../api/types";
import { count } from "../../lib/words";
import { worst } from "../../lib/workloads";
import { Card } from "../../ui/Card";
import { Icon } from "../../ui/icons";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink, workloadAt } from "../../ui/PageLink";
import { Revision } from "../../ui/Revision";
import { WorkloadState } from "../../ui/State";
import { Words } from "../../ui/Words";
import { WorkloadActions } from "../../ui/WorkloadActions";

/** Rows before one asks for more; what fails is always shown. */
const FIRST = 15;

/** Id of a workload's container, and the ports that the device has assigned. */
function ContainerOf({ of }: { of: NonNullable<Device["status"]["workloads"][string]["container"]> }) {
  const ports = Object.entries(of.ports ?? {}).map(([name, port]) => `${name} ${port}`);
  return <div className="hf-kind">container <span className="hf-mono">{of.id}</span>{ports.length > 0 && <>, {ports.length === 1 ? "port" : "ports"} {ports.join(", ")}</>}</div>;
}

export function Workloads({ device }: { device: Device }) {
  const { metadata, status } = device;
  const { data, error, refetch } = useQuery(read.differences(metadata.name));
  const [q, setQ] = useState("");
  const [all, setAll] = useState(false);
  const sorted = (data?.items ?? []).map((item) => ({ ...item, name: item.workload })).sort(worst);
  const find = q.trim().toLowerCase();
  const found = sorted.filter(({ name, state }) => name.includes(find) || (state ?? "").startsWith(find));
  const failing = found.filter(({ state, lastState }) => state === "failing" || lastState === "failing").length;
  const shown = all || find ? found : found.slice(0, Math.max(FIRST, failing));
  return (
    <Card
      title="Workloads"
      aside={sorted.length > FIRST && <TextInput size="xs" aria-label="Find a workload by name or state" placeholder="Name or state" leftSection={<Icon name="search" />} value={q} onChange={(event) => setQ(event.currentTarget.value)} type="search" spellCheck={false} />}
    >
      {error && !data && <Failed error={error} what="The differences could not be read" retry={() => void refetch()} />}
      {data?.items.length === 0 && <p>Nothing is desired of it, and it reports nothing. Workloads choose devices by their labels.</p>}
      {find && <p role="status" className="hf-kind">{count(found.length, "workload")} of {sorted.length} found</p>}
      {shown.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Workload</th><th>State</th><th className="hf-number">Revision</th><th className="hf-number">Restarts</th><th>Reason</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
          <tbody>
            {shown.map((item) => {
              const said = status.workloads[item.workload];
              return (
                <tr key={item.workload}>
                  <td><PageLink className="hf-cut" to={workloadAt(item.workload)} title={item.workload}>{item.workload}</PageLink>{said?.container && <ContainerOf of={said.container} />}</td>
                  <td data-label="State"><WorkloadState of={item.state} last={item.lastState} heard={status.heardAt} since={item.since} /></td>
                  <td className="hf-number hf-nowrap" data-label="Revision"><Revision desired={item.desiredRevision} reported={item.reportedRevision} /></td>
                  <td className="hf-number" data-label="Restarts">{said?.restarts ?? "–"}</td>
                  <td data-label="Reason" className="hf-reason">{item.asDesired ? "as desired" : <Words>{item.reason}</Words>}</td>
                  <td className="hf-nowrap">{item.desiredRevision != null && <WorkloadActions compact workload={item.workload} device={metadata.name} paused={device.desired?.[item.workload]?.paused != null} />} {said && <PageLink to={deviceAt(metadata.name)} search={{ tab: "logs", workload: item.workload }} aria-label={`Log of ${item.workload}`}>Log</PageLink>}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {shown.length < found.length && <div><Button size="xs" variant="default" onClick={() => setAll(true)}>Show all {found.length}</Button></div>}
    </Card>
  );
}
