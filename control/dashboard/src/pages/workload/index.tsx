// One workload: where it runs, its revisions, its document to edit, and its end.
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { deleteWorkload } from "../../api/actions";
import * as read from "../../api/queries";
import type { Workload } from "../../api/types";
import { who } from "../../lib/activity";
import { count, some } from "../../lib/words";
import { Confirm } from "../../ui/Confirm";
import { Health } from "../../ui/Health";
import { Labels } from "../../ui/Labels";
import { PageLink, deviceAt } from "../../ui/PageLink";
import { Raw } from "../../ui/Raw";
import { Resource, type Part } from "../../ui/Resource";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { WorkloadActions } from "../../ui/WorkloadActions";
import { Devices } from "./Devices";
import { Edit } from "./Edit";
import { Logs } from "./Logs";
import { Revisions } from "./Revisions";
import { ActButton } from "../../ui/rights";

/** From so many devices on the name is typed before it is deleted. */
const MANY = 2;

/** The tabs: a further one is a line here and a file beside this one. */
const PARTS: readonly Part<Workload>[] = [
  { key: "devices", title: "Where it runs", show: (workload) => <Devices workload={workload} /> },
  { key: "logs", title: "Logs", needs: "device.log", show: (workload) => <Logs workload={workload} /> },
  { key: "edit", title: "Edit", needs: "document.apply", show: (workload) => <Edit workload={workload} /> },
  { key: "revisions", title: "Revisions", needs: "workload.revisions", show: (workload) => <Revisions workload={workload} /> },
  { key: "raw", title: "YAML", show: (workload) => <Raw of={workload} label={`The document of ${workload.metadata.name}`} /> },
];

export default function WorkloadPage() {
  const name = useName();
  const [deleting, setDeleting] = useState(false);
  const navigate = useNavigate();
  return (
    <Resource
      kind="workload"
      name={name}
      of={useQuery(read.workload(name))}
      parts={PARTS}
      state={({ status }) => <Health of={status} />}
      actions={({ paused }) => (
        <>
          <WorkloadActions workload={name} paused={paused ? (paused.everywhere && !paused.exceptCount ? true : undefined) : false} />
          <ActButton may="workload.delete" size="xs" color="red" variant="outline" onClick={() => setDeleting(true)}>Delete…</ActButton>
        </>
      )}
      about={({ metadata, status, paused }) => (
        <>
          <span className="hf-kind">revision {status.revision}, changed <Time at={metadata.updatedAt} /></span>
          {paused && <Pauses of={paused} />}
          {Object.keys(metadata.labels ?? {}).length > 0 && <Labels of={metadata.labels} to="/workloads" />}
        </>
      )}
    >
      {({ metadata, status }) => deleting && (
        <Confirm
          title={`Delete ${name}?`}
          act={`Delete ${name}`}
          typed={status.desired >= MANY ? name : undefined}
          run={async () => {
            await deleteWorkload(name, metadata.resourceVersion ?? 0);
            say(`${name} is deleted`);
            void navigate({ to: "/workloads" as never });
          }}
          close={() => setDeleting(false)}
        >
          <p><strong>{name}</strong> ends on {count(status.desired, "device")}: its processes are stopped and its folders there are deleted. Its revisions are gone as well. Devices that are offline follow when they are back.</p>
        </Confirm>
      )}
    </Resource>
  );
}

/** Devices that are named where it is paused on some. */
const NAMED = 5;

/** Where it is paused, by whom and since when. */
function Pauses({ of: { everywhere, devices = [], deviceCount = 0, except = [], exceptCount = 0 } }: { of: NonNullable<Workload["paused"]> }) {
  return (
    <span className="hf-row hf-tight">
      {everywhere && (
        <span className="hf-row hf-tight">
          <State tone="warn">paused everywhere</State>
          <span className="hf-kind">by {who(everywhere.by, everywhere.byName)}, <Time at={everywhere.at} />{exceptCount > 0 ? `; not on ${some(except, exceptCount)}` : ""}</span>
        </span>
      )}
      {!everywhere && deviceCount > 0 && <State tone="warn">paused on {count(deviceCount, "device")}</State>}
      {!everywhere && devices.slice(0, NAMED).map(({ device, by, byName, at }) => <span key={device} className="hf-kind"><PageLink to={deviceAt(device)}>{device}</PageLink> by {who(by, byName)}, <Time at={at} /></span>)}
    </span>
  );
}
