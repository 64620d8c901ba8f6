// One device: what is desired beside what it reports, and everything else that is known of it.
import { Button, Menu } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { approve, forget, revoke } from "../../api/actions";
import { reason } from "../../api/client";
import { useLook } from "../../api/look";
import * as read from "../../api/queries";
import type { Device } from "../../api/types";
import { Confirm } from "../../ui/Confirm";
import { Icon } from "../../ui/icons";
import { Labels } from "../../ui/Labels";
import { PageLink } from "../../ui/PageLink";
import { Raw } from "../../ui/Raw";
import { Resource, type Part } from "../../ui/Resource";
import { Connection, DeviceHealth } from "../../ui/State";
import { say } from "../../ui/say";
import { Heard } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { EditLabels } from "./EditLabels";
import { History } from "./History";
import { Logs } from "./Logs";
import { Overview } from "./Overview";
import { Streams } from "./Streams";
import { Volumes } from "./Volumes";
import { ActButton, ActItem } from "../../ui/rights";

/** The tabs: a further one is a line here and a file beside this one. */
const PARTS: readonly Part<Device>[] = [
  { key: "overview", title: "Overview", show: (device) => <Overview device={device} /> },
  { key: "streams", title: "Streams", needs: "device.streams", show: ({ metadata }) => <Streams name={metadata.name} /> },
  { key: "logs", title: "Logs", needs: "device.log", show: (device) => <Logs device={device} /> },
  { key: "volumes", title: "Volumes", needs: "volume.list", show: (device) => <Volumes device={device} /> },
  { key: "history", title: "History", needs: "device.history", anew: ["workload", "kind"], show: ({ metadata, status }) => <History name={metadata.name} online={status.connection === "online"} workloads={Object.keys(status.workloads)} /> },
  { key: "raw", title: "YAML", show: (device) => <Raw of={device} label={`The document of ${device.metadata.name}`} /> },
];

export default function DevicePage() {
  const name = useName();
  useLook(name);
  const [open, setOpen] = useState<"revoke" | "forget" | "labels" | undefined>();
  const navigate = useNavigate();
  const close = () => setOpen(undefined);
  return (
    <Resource
      kind="device"
      name={name}
      of={useQuery(read.device(name))}
      parts={PARTS}
      state={({ status }) => (
        <span className="hf-row">
          <Connection of={status.connection} since={status.connectionSince} away={status.absence?.state} />
          {status.health?.state !== status.connection && <DeviceHealth of={status.health} />}
        </span>
      )}
      actions={({ status }) => (
        <>
          {status.connection === "pending" && (
            <ActButton may="device.approve" device={name} size="xs" onClick={() => void approve(name).then(() => say(`${name} is approved`), (error: unknown) => say(`${name} was not approved: ${reason(error)}`, true))}>Approve</ActButton>
          )}
          <Menu position="bottom-end">
            <Menu.Target><Button size="xs" variant="default" leftSection={<Icon name="more" />}>Actions</Button></Menu.Target>
            <Menu.Dropdown maw={320}>
              <ActItem may="device.label" device={name} onClick={() => setOpen("labels")}>Edit labels…</ActItem>
              {status.connection !== "revoked" && <ActItem may="device.revoke" device={name} color="red" onClick={() => setOpen("revoke")}>Revoke…</ActItem>}
              <ActItem may="device.delete" device={name} color="red" onClick={() => setOpen("forget")}>Delete…</ActItem>
            </Menu.Dropdown>
          </Menu>
        </>
      )}
      about={({ metadata, status }) => (
        <>
          <span className="hf-kind">{status.heardAt ? <>heard <Heard at={status.heardAt} late={status.overdue} /></> : "never heard"}</span>
          <Labels of={metadata.labels} to="/devices" />
          <ActButton may="device.label" device={name} size="compact-xs" variant="subtle" onClick={() => setOpen("labels")}>Edit labels</ActButton>
          <PageLink to="/compare" search={{ a: name }}>Compare</PageLink>
        </>
      )}
    >
      {(device) => (
        <>
          {open === "labels" && <EditLabels device={device} close={close} />}
          {open === "revoke" && (
            <Confirm title={`Revoke ${name}?`} act={`Revoke ${name}`} run={async () => { await revoke(name); say(`${name} is revoked`); }} close={close}>
              <p><strong>{name}</strong> is disconnected at once and can no longer connect. Its workloads keep running. To bring it back, delete it here and enrol it again.</p>
            </Confirm>
          )}
          {open === "forget" && (
            <Confirm title={`Delete ${name}?`} act={`Delete ${name}`} typed={name} run={async () => { await forget(name); say(`${name} is deleted`); void navigate({ to: "/devices" as never }); }} close={close}>
              <p><strong>{name}</strong> is deleted with its labels, reports and history. Its certificate is no longer valid. Its workloads keep running, and it can no longer be managed from here.</p>
            </Confirm>
          )}
        </>
      )}
    </Resource>
  );
}
