// One device: what is desired beside what it reports, and everything else that is known of it.
import { Button, Menu } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { approve, forget, revoke } from "../../api/actions";
import { Refusal, reason } from "../../api/client";
import { queries } from "../../api/query-client";
import * as read from "../../api/queries";
import { Confirm } from "../../ui/Confirm";
import { Icon } from "../../ui/icons";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { Raw } from "../../ui/Raw";
import { Connection } from "../../ui/State";
import { say } from "../../ui/say";
import { Tabs } from "../../ui/Tabs";
import { Time } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { EditLabels } from "./EditLabels";
import { History } from "./History";
import { Logs } from "./Logs";
import { Overview } from "./Overview";

export default function DevicePage() {
  const name = useName();
  const { data, error, refetch } = useQuery(read.device(name));
  const [open, setOpen] = useState<"revoke" | "forget" | "labels" | undefined>();
  const navigate = useNavigate();
  const gone = error instanceof Refusal && error.status === 404;
  if (!data || gone) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        {gone ? <Notice tone="idle" title={`There is no device ${name}`}><PageLink to="/devices">To the devices</PageLink></Notice> : error ? <Failed error={error} what="The device could not be read" retry={() => void refetch()} /> : <Loading rows={8} />}
      </div>
    );
  }
  const { status, metadata } = data;
  const close = () => setOpen(undefined);
  return (
    <div className="hf-stack">
      <PageHead title={metadata.name} aside={<Connection of={status.connection} everSeen={status.lastSeen != null} />}>
        {status.connection === "pending" && (
          <Button size="xs" onClick={() => void approve(name).then(() => say(`${name} is approved`), (error: unknown) => say(`${name} was not approved: ${reason(error)}`, true))}>Approve</Button>
        )}
        <Menu position="bottom-end">
          <Menu.Target><Button size="xs" variant="default" leftSection={<Icon name="more" />}>Actions</Button></Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => setOpen("labels")}>Edit labels…</Menu.Item>
            {status.connection !== "revoked" && <Menu.Item color="red" onClick={() => setOpen("revoke")}>Revoke…</Menu.Item>}
            <Menu.Item color="red" onClick={() => setOpen("forget")}>Delete…</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </PageHead>
      <div className="hf-row">
        {status.connection !== "online" && <span className="hf-kind">last seen <Time at={status.lastSeen} /></span>}
        <Labels of={metadata.labels} to="/devices" />
        <Button size="compact-xs" variant="subtle" onClick={() => setOpen("labels")}>Edit labels</Button>
      </div>
      <Tabs
        label="Parts of the device"
        parts={[
          { key: "overview", title: "Overview", show: () => <Overview device={data} /> },
          { key: "logs", title: "Logs", show: () => <Logs device={data} /> },
          { key: "history", title: "Presence", show: () => <History name={name} online={status.connection === "online"} /> },
          { key: "raw", title: "Raw document", show: () => <Raw of={data} label={`The document of ${name}`} /> },
        ]}
      />
      {open === "labels" && <EditLabels device={data} close={close} />}
      {open === "revoke" && (
        <Confirm title={`Revoke ${name}?`} act={`Revoke ${name}`} run={async () => { await revoke(name); await queries.invalidateQueries({ queryKey: ["device", name] }); say(`${name} is revoked`); }} close={close}>
          <p><strong>{name}</strong> is shut out at once and cannot connect any more. What it runs, runs on. To bring it back it must be deleted here and enrol anew.</p>
        </Confirm>
      )}
      {open === "forget" && (
        <Confirm title={`Delete ${name}?`} act={`Delete ${name}`} typed={name} run={async () => { await forget(name); say(`${name} is deleted`); void navigate({ to: "/devices" as never }); }} close={close}>
          <p><strong>{name}</strong> is forgotten: its labels, its reports, its history. Its certificate is of no use any more. What it runs, runs on, and nobody can reach it from here.</p>
        </Confirm>
      )}
    </div>
  );
}
