// One workload: where it runs, its revisions, its document to edit, and its end.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { deleteWorkload } from "../../api/actions";
import { Refusal } from "../../api/client";
import * as read from "../../api/queries";
import { count } from "../../lib/words";
import { Confirm } from "../../ui/Confirm";
import { Health } from "../../ui/Health";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { Raw } from "../../ui/Raw";
import { say } from "../../ui/say";
import { Tabs } from "../../ui/Tabs";
import { Time } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { Devices } from "./Devices";
import { Edit } from "./Edit";
import { Revisions } from "./Revisions";

/** From so many devices on the name is typed before it is deleted. */
const MANY = 2;

export default function WorkloadPage() {
  const name = useName();
  const { data, error, refetch } = useQuery(read.workload(name));
  const [deleting, setDeleting] = useState(false);
  const navigate = useNavigate();
  const gone = error instanceof Refusal && error.status === 404;
  if (!data || gone) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        {gone ? <Notice tone="idle" title={`There is no workload ${name}`}><PageLink to="/workloads">To the workloads</PageLink></Notice> : error ? <Failed error={error} what="The workload could not be read" retry={() => void refetch()} /> : <Loading rows={8} />}
      </div>
    );
  }
  const { metadata, status } = data;
  return (
    <div className="hf-stack">
      <PageHead title={metadata.name} aside={<Health of={status} />}>
        <Button size="xs" color="red" variant="outline" onClick={() => setDeleting(true)}>Delete…</Button>
      </PageHead>
      <div className="hf-row">
        <span className="hf-kind">revision {status.revision}, changed <Time at={metadata.updatedAt} /></span>
        {Object.keys(metadata.labels ?? {}).length > 0 && <Labels of={metadata.labels} to="/workloads" />}
      </div>
      <Tabs
        label="Parts of the workload"
        parts={[
          { key: "devices", title: "Where it runs", show: () => <Devices workload={data} /> },
          { key: "edit", title: "Edit", show: () => <Edit workload={data} /> },
          { key: "revisions", title: "Revisions", show: () => <Revisions name={name} /> },
          { key: "raw", title: "Raw document", show: () => <Raw of={data} label={`The document of ${name}`} /> },
        ]}
      />
      {deleting && (
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
    </div>
  );
}
