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

const SCOPES = [
  { value: "read", label: "Read", text: "See everything but secrets: monitoring, a screen on the wall, readers by MQTT" },
  { value: "operate", label: "Operate", text: "Also change workloads, streams, devices and enrolment tokens, and ask devices" },
  { value: "admin", label: "Admin", text: "Everything: also backups, which hold the CA's key, restores and access tokens" },
] as const;

type Scope = (typeof SCOPES)[number]["value"];

export function AccessTokens() {
  const { data, error, refetch } = useQuery(read.access());
  const [search, setSearch] = useSearch();
  const [ending, setEnding] = useState<{ id: string; comment: string }>();
  const now = useStore(session);
  const mine = now.kind === "open" ? now.operator : "";
  return (
    <Card title="Access tokens" aside={search.new !== "access" && <Button size="xs" onClick={() => setSearch({ new: "access" })}>Make an access token</Button>}>
      {search.new === "access" && <Make close={() => setSearch({ new: undefined })} />}
      {!data && (error ? <Failed error={error} what="The access tokens could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Token</th><th>Description</th><th>Scope</th><th>Expires</th><th>Created</th><th>Last used</th><th><span className="hf-hidden">Revoke</span></th></tr></thead>
          <tbody>
            {data.items.map(({ metadata, comment, scope, expiresAt, lastUsedAt }) => (
              <tr key={metadata.name}>
                <td><span className="hf-row"><span className="hf-mono">{metadata.name}</span>{metadata.name === mine && <State tone="move">this session</State>}</span></td>
                <td data-label="Description">{comment}</td>
                <td data-label="Scope">{scope}</td>
                <td data-label="Expires"><Time at={expiresAt} /></td>
                <td data-label="Created"><Time at={metadata.createdAt} /></td>
                <td data-label="Last used"><Time at={lastUsedAt} /></td>
                <td><Button size="compact-xs" variant="outline" color="red" onClick={() => setEnding({ id: metadata.name, comment })} aria-label={`Revoke access token ${metadata.name}`}>Revoke…</Button></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {ending && (
        <Confirm title={`Revoke the access token ${ending.id}?`} act={`Revoke ${ending.id}`} run={async () => { await revokeAccess(ending.id); say(`The access token ${ending.id} is revoked`); }} close={() => setEnding(undefined)}>
          <p>Whoever uses <strong className="hf-mono">{ending.id}</strong>{ending.comment && ` (${ending.comment})`} loses access at once: scripts, command lines and sessions of these pages{ending.id === mine && ", including yours"}.</p>
        </Confirm>
      )}
    </Card>
  );
}

function Make({ close }: { close: () => void }) {
  const [comment, setComment] = useState("");
  const [scope, setScope] = useState<Scope>("read");
  const [made, setMade] = useState("");
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      setMade((await createAccess({ comment: comment.trim(), scope })).token);
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
      <TextInput label="Description" description="A person or a script; shown here and in the activity" value={comment} onChange={(event) => setComment(event.currentTarget.value)} maxLength={200} autoFocus required />
      <Select label="Scope" description={SCOPES.find(({ value }) => value === scope)?.text} data={SCOPES.map(({ value, label }) => ({ value, label }))} value={scope} onChange={(value) => setScope((value ?? "read") as Scope)} allowDeselect={false} maw={260} />
      {failure && <Notice tone="bad" title="No access token was made" alert>{failure}</Notice>}
      <div className="hf-row"><Button type="submit" size="xs" loading={busy}>Create</Button><Button size="xs" variant="default" onClick={close}>Cancel</Button></div>
    </form>
  );
}
