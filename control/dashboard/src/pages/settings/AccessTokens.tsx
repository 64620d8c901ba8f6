// Access tokens: who (and which script) may use the API.
import { Button, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { createAccess, revokeAccess } from "../../api/actions";
import { reason } from "../../api/client";
import * as read from "../../api/queries";
import { session } from "../../api/state";
import { useStore } from "../../api/store";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { CopyButton } from "../../ui/Copy";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { State } from "../../ui/State";
import { say } from "../../ui/say";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

const ROLES = [
  { value: "viewer", label: "Viewer", text: "Reads devices, workloads, logs, streams and alarms: monitoring, a screen on the wall, readers by MQTT" },
  { value: "operator", label: "Operator", text: "Also changes workloads, streams, devices and enrolment tokens, and asks devices" },
  { value: "admin", label: "Admin", text: "Everything: also people, access tokens, secrets, backups and restores" },
  { value: "device-provisioner", label: "Device provisioner", text: "Makes enrolment tokens and admits devices, and sees nothing else" },
  { value: "auditor", label: "Auditor", text: "Reads and verifies the audit log, and who may do what" },
  { value: "metrics", label: "Metrics", text: "Reads figures for Prometheus, and nothing else" },
] as const;

type Role = (typeof ROLES)[number]["value"];

export function AccessTokens() {
  const { data, error, refetch } = useQuery(read.access());
  const [search, setSearch] = useSearch();
  const [ending, setEnding] = useState<{ id: string; name: string }>();
  const now = useStore(session);
  const mine = now.kind === "open" ? now.operator : "";
  return (
    <Card title="Access tokens" aside={search.new !== "access" && <Button size="xs" onClick={() => setSearch({ new: "access" })}>Make an access token</Button>}>
      {search.new === "access" && <Make close={() => setSearch({ new: undefined })} />}
      {!data && (error ? <Failed error={error} what="The access tokens could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Token</th><th>Name</th><th>Role</th><th>Devices</th><th>Expires</th><th>Created</th><th>Last used</th><th><span className="hf-hidden">Revoke</span></th></tr></thead>
          <tbody>
            {data.items.map(({ metadata, name, role, selector, expiresAt, lastUsedAt }) => (
              <tr key={metadata.name}>
                <td><span className="hf-row"><span className="hf-mono">{metadata.name}</span>{metadata.name === mine && <State tone="move">this session</State>}</span></td>
                <td data-label="Name">{name}</td>
                <td data-label="Role">{role}</td>
                <td data-label="Devices">{selector ?? "all"}</td>
                <td data-label="Expires"><Time at={expiresAt} /></td>
                <td data-label="Created"><Time at={metadata.createdAt} /></td>
                <td data-label="Last used"><Time at={lastUsedAt} /></td>
                <td><Button size="compact-xs" variant="outline" color="red" onClick={() => setEnding({ id: metadata.name, name })} aria-label={`Revoke access token ${metadata.name}`}>Revoke…</Button></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {ending && (
        <Confirm title={`Revoke the access token ${ending.id}?`} act={`Revoke ${ending.id}`} run={async () => { await revokeAccess(ending.id); say(`The access token ${ending.id} is revoked`); }} close={() => setEnding(undefined)}>
          <p>Whoever uses <strong className="hf-mono">{ending.id}</strong>{ending.name && ` (${ending.name})`} loses access at once: scripts, command lines and sessions of these pages{ending.id === mine && ", including yours"}.</p>
        </Confirm>
      )}
    </Card>
  );
}

function Make({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [selector, setSelector] = useState("");
  const [made, setMade] = useState("");
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      setMade((await createAccess({ name: name.trim(), role, ...(selector.trim() ? { selector: selector.trim() } : {}) })).token);
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  if (made) {
    return (
      <Notice tone="warn" title="This is the only time that it is shown">
        <div className="hf-stack hf-tight">
          <span className="hf-mono" data-testid="access-token">{made}</span>
          <div className="hf-row"><CopyButton text={made} /><Button size="xs" variant="default" onClick={close}>Done</Button></div>
        </div>
      </Notice>
    );
  }
  return (
    <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void go(); }}>
      <TextInput label="Name" description="A person or a script; shown here and in the activity" value={name} onChange={(event) => setName(event.currentTarget.value)} maxLength={80} autoFocus required />
      <Select label="Role" description={ROLES.find(({ value }) => value === role)?.text} data={ROLES.map(({ value, label }) => ({ value, label }))} value={role} onChange={(value) => setRole((value ?? "viewer") as Role)} allowDeselect={false} maw={260} />
      <TextInput label="Devices" description="A label selector such as site=kiel; empty for all devices" value={selector} onChange={(event) => setSelector(event.currentTarget.value)} maw={360} />
      <p className="hf-small">It ends after 90 days.</p>
      {failure && <Notice tone="bad" title="No access token was made" alert>{failure}</Notice>}
      <div className="hf-row"><Button type="submit" size="xs" loading={busy}>Create</Button><Button size="xs" variant="default" onClick={close}>Cancel</Button></div>
    </form>
  );
}
