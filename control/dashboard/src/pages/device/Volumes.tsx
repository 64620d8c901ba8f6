// Volumes of the device's containers: listed when one looks, saved, replaced, deleted. The device
// itself is asked, so it must be connected.
import { Button, FileButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { busy } from "../../api/upload";
import { backUp, deleteVolume, jobOf, jobs, restore, restoreFile, runs, target, volumes, type VolumeId } from "../../api/volumes";
import { useStore } from "../../api/store";
import type { Device, Volume } from "../../api/types";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageLink, workloadAt } from "../../ui/PageLink";
import { ActButton, Shut } from "../../ui/rights";
import { say } from "../../ui/say";
import { Sending } from "../../ui/Sending";
import { State } from "../../ui/State";
import { VolumeJob } from "./VolumeJob";

const IN_USE = "A container uses it: pause or delete the workload first, then ask the device again";

export function Volumes({ device: { metadata: { name }, status } }: { device: Device }) {
  if (status.connection === "online") return <Listed device={name} />;
  // Of a device that is away nothing is known now, whatever it said before.
  return (
    <Card title="Volumes">
      <Notice tone="unknown" title="Its volumes are not known now">Only the device itself knows them, and it is {status.connection.replace("-", " ")}. They are as they were: nothing is deleted while it is away.</Notice>
    </Card>
  );
}

/** As the device says them. It is asked anew when it is back, and when somebody looks again. */
function Listed({ device: name }: { device: string }) {
  const { data, error, isFetching, refetch } = useQuery(volumes(name));
  const items = data?.items ?? [];
  return (
    <Card title="Volumes" aside={<span className="hf-row hf-tight">{data && <span className="hf-kind">{count(items.length, "volume")}</span>}<Button size="xs" variant="default" loading={isFetching} onClick={() => void refetch()}>Ask again</Button></span>}>
      <p className="hf-kind">A volume is made when a container first needs it and outlives revisions, the workload and the agent: it is deleted here, and by nothing else.</p>
      {error && <Failed error={error} what="The device did not say which volumes it has" />}
      {!data && isFetching && <Loading />}
      {data && items.length === 0 && <p>It has no volume.</p>}
      <Sent />
      {items.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Volume</th><th>Workload</th><th className="hf-number">Size</th><th>Use</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
          <tbody>{items.map((of) => <Row key={`${of.workload}/${of.volume}`} device={name} of={of} />)}</tbody>
        </table>
      )}
    </Card>
  );
}

/** The file of a restore, while it is sent. */
function Sent() {
  const now = useStore(restoreFile.now);
  const which = useStore(target);
  if (now.kind === "none" || now.kind === "done" || !which) return null;
  return (
    <section className="hf-stack hf-tight" aria-label="File of a restore">
      <span className="hf-kind">For volume {which.volume} of {which.workload} on {which.device}</span>
      <Sending of={now} not="Not restored" storing="The control plane writes it to its disk; then the device fetches it." />
      {!busy(now) && <div><Button size="xs" variant="default" onClick={restoreFile.forget}>Close</Button></div>}
    </section>
  );
}

function Row({ device, of: { workload, volume, bytes: size, used } }: { device: string; of: Volume }) {
  const which: VolumeId = { device, workload, volume };
  const name = `${workload}/${volume}`;
  const job = jobOf(useStore(jobs), which);
  const sending = busy(useStore(restoreFile.now));
  const [deleting, setDeleting] = useState(false);
  const [file, setFile] = useState<File>();
  // The same file may be chosen again.
  const reset = useRef<() => void>(null);
  return (
    <>
      <tr>
        <td className="hf-mono">{volume}</td>
        <td data-label="Workload"><PageLink to={workloadAt(workload)}>{workload}</PageLink></td>
        <td className="hf-number hf-nowrap" data-label="Size">{size == null ? "not known" : bytes(size)}</td>
        <td data-label="Use">{used ? <State tone="good">in use</State> : <State tone="idle">not in use</State>}</td>
        <td>
          <span className="hf-row hf-tight">
            <ActButton may="volume.backup" device={device} size="compact-xs" variant="default" aria-label={`Back up ${name}`} disabled={runs(job)} onClick={() => void backUp(which)}>Back up</ActButton>
            {used ? <Shut size="compact-xs" variant="default" why={IN_USE} aria-label={`Restore ${name}`}>Restore…</Shut> : (
              <FileButton resetRef={reset} accept=".tar,application/x-tar" onChange={(chosen) => { reset.current?.(); setFile(chosen ?? undefined); }}>
                {(props) => <ActButton may="volume.restore" device={device} {...props} size="compact-xs" variant="default" aria-label={`Restore ${name}`} disabled={runs(job) || sending}>Restore…</ActButton>}
              </FileButton>
            )}
            {used ? <Shut size="compact-xs" variant="outline" color="red" why={IN_USE} aria-label={`Delete ${name}`}>Delete…</Shut> : <ActButton may="volume.delete" device={device} size="compact-xs" variant="outline" color="red" aria-label={`Delete ${name}`} disabled={runs(job)} onClick={() => setDeleting(true)}>Delete…</ActButton>}
          </span>
          {deleting && (
            <Confirm title={`Delete volume ${name}?`} act={`Delete ${name}`} typed={name} run={async () => { await deleteVolume(which); say(`Volume ${name} of ${device} is deleted`); }} close={() => setDeleting(false)}>
              <p>Everything in volume <strong>{name}</strong> of <strong>{device}</strong> is lost, and nothing brings it back but a backup. A container that needs it later begins with an empty one.</p>
            </Confirm>
          )}
          {file && (
            // Sent while the page shows how far it is: the dialog ends with the answer to its question.
            <Confirm title={`Replace volume ${name}?`} act={`Replace ${name}`} typed={name} run={() => { void restore(which, file); return Promise.resolve(); }} close={() => setFile(undefined)}>
              <p>Everything in volume <strong>{name}</strong> of <strong>{device}</strong> is lost, and what is in <span className="hf-mono">{file.name}</span> ({bytes(file.size)}) takes its place: a tar of files, as a backup is one.</p>
            </Confirm>
          )}
        </td>
      </tr>
      {job && <tr><td colSpan={5}><VolumeJob which={which} of={job} /></td></tr>}
    </>
  );
}
