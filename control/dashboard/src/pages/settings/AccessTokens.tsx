// Access tokens: which programs may use the API, with which role and until when; those that should be
// replaced are marked.
import { Button, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { createAccess, revokeAccess, rotateAccess } from "../../api/actions";
import { reason } from "../../api/client";
import * as read from "../../api/queries";
import type { components } from "../../api/schema";
import { session } from "../../api/state";
import { useStore } from "../../api/store";
import { LIVES, OVERLAPS, replace } from "../../lib/people";
import { roleOf, ROLES, type Role } from "../../lib/rights";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Dialog } from "../../ui/Dialog";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { Once } from "../../ui/Once";
import { ActButton } from "../../ui/rights";
import { SelectorInput } from "../../ui/SelectorInput";
import { State } from "../../ui/State";
import { say } from "../../ui/say";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

type Access = components["schemas"]["Access"];

export function AccessTokens() {
  const { data, error, refetch } = useQuery(read.access());
  const [search, setSearch] = useSearch();
  const [ending, setEnding] = useState<Access>();
  const [rotating, setRotating] = useState<Access>();
  const now = useStore(session);
  const mine = now.kind === "open" && !now.user ? now.operator : "";
  return (
    <Card title="Access tokens" aside={search.new !== "access" && <ActButton may="access.create" size="xs" onClick={() => setSearch({ new: "access" })}>Make an access token</ActButton>}>
      <p className="hf-kind">For programs and scripts, each its own: with the least role that does, and an end.</p>
      {search.new === "access" && <Make close={() => setSearch({ new: undefined })} />}
      {!data && (error ? <Failed error={error} what="The access tokens could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Name</th><th>Token</th><th>Role</th><th>Devices</th><th>Ends</th><th>Made</th><th>Last used</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
          <tbody>
            {data.items.map((token) => {
              const { metadata, name, role, selector, expiresAt, lastUsedAt, formerUntil } = token;
              const why = replace(token);
              return (
                <tr key={metadata.name}>
                  <td><span className="hf-stack hf-tight"><span className="hf-row hf-tight"><strong>{name || "no name"}</strong>{metadata.name === mine && <State tone="move">this session</State>}{why && <State tone="warn" title={why}>replace</State>}</span>{why && <span className="hf-kind">{why}.</span>}</span></td>
                  <td data-label="Token"><span className="hf-mono">{metadata.name}</span></td>
                  <td data-label="Role">{roleOf(role)}</td>
                  <td data-label="Devices">{selector ? <span className="hf-mono">{selector}</span> : "all"}</td>
                  <td data-label="Ends"><Time at={expiresAt} />{formerUntil && Date.parse(formerUntil) > Date.now() && <span className="hf-kind"> · former secret counts until <Time at={formerUntil} /></span>}</td>
                  <td data-label="Made"><Time at={metadata.createdAt} /></td>
                  <td data-label="Last used"><Time at={lastUsedAt} /></td>
                  <td>
                    <span className="hf-row hf-tight">
                      <ActButton may="access.rotate" size="compact-xs" variant="default" onClick={() => setRotating(token)} aria-label={`Rotate access token ${metadata.name}`}>Rotate…</ActButton>
                      <ActButton may="access.delete" size="compact-xs" variant="outline" color="red" onClick={() => setEnding(token)} aria-label={`Revoke access token ${metadata.name}`}>Revoke…</ActButton>
                    </span>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {rotating && <Rotate of={rotating} mine={rotating.metadata.name === mine} close={() => setRotating(undefined)} />}
      {ending && (
        <Confirm title={`Revoke the access token ${ending.name || ending.metadata.name}?`} act={`Revoke ${ending.metadata.name}`} run={async () => { await revokeAccess(ending.metadata.name); say(`The access token ${ending.metadata.name} is revoked`); }} close={() => setEnding(undefined)}>
          <p>Whoever uses <strong className="hf-mono">{ending.metadata.name}</strong>{ending.name && ` (${ending.name})`} loses access at once: scripts, command lines and sessions of these pages{ending.metadata.name === mine && ", including yours"}. It was last used: <Time at={ending.lastUsedAt} />.</p>
        </Confirm>
      )}
    </Card>
  );
}

function Rotate({ of: { metadata: { name: id }, name, expiresAt }, mine, close }: { of: Access; mine: boolean; close: () => void }) {
  const [overlap, setOverlap] = useState("86400");
  const [life, setLife] = useState("as it had");
  const [made, setMade] = useState("");
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      setMade((await rotateAccess(id, { overlapSeconds: Number(overlap), ...(Number(life) > 0 ? { ttlSeconds: Number(life) } : {}) })).token);
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Rotate the access token ${name || id}`} close={close}>
      {made ? (
        <Once secret={made} testId="access-token" close={close}><span>{Number(overlap) > 0 ? "The former secret counts for a while beside it: put this one in its place meanwhile." : "The former secret does not count any more."}</span></Once>
      ) : (
        <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
          <p>It gets a new secret, and keeps its name, role and devices.</p>
          <Select label="The former secret counts for" data={[...OVERLAPS]} value={overlap} onChange={(value) => setOverlap(value ?? "86400")} allowDeselect={false} />
          <Select label="The token ends after" data={[{ value: "as it had", label: expiresAt ? "As long as it had" : "Never, as before" }, ...LIVES.filter(({ value }) => value !== "never")]} value={life} onChange={(value) => setLife(value ?? "as it had")} allowDeselect={false} />
          {overlap === "0" && <p>Programs with the former secret, and sessions that were begun with it, lose access at once{mine && ": yours too"}.</p>}
          {failure && <Notice tone="bad" title="Not rotated" alert>{failure}</Notice>}
          <div className="hf-row"><Button type="submit" loading={busy}>Make a new secret</Button><Button variant="default" onClick={close}>Cancel</Button></div>
        </form>
      )}
    </Dialog>
  );
}

function Make({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [selector, setSelector] = useState("");
  const [life, setLife] = useState<string>(LIVES[1].value);
  const [made, setMade] = useState("");
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      setMade((await createAccess({ name: name.trim(), role, ...(selector.trim() ? { selector: selector.trim() } : {}), ...(life === "never" ? { endless: true } : { ttlSeconds: Number(life) }) })).token);
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  if (made) return <Once secret={made} testId="access-token" close={close} />;
  return (
    <form className="hf-stack hf-tight" aria-label="New access token" onSubmit={(event) => { event.preventDefault(); void go(); }}>
      <TextInput label="Name" description="A program or a script; shown here and in the activity" value={name} onChange={(event) => setName(event.currentTarget.value)} maxLength={80} autoFocus required maw={360} />
      <Select label="Role" description={ROLES.find(({ value }) => value === role)?.text} data={ROLES.map(({ value, label }) => ({ value, label }))} value={role} onChange={(value) => setRole((value ?? "viewer") as Role)} allowDeselect={false} maw={360} />
      <div>
        <span className="hf-small">Devices that it reaches; empty for all</span>
        <SelectorInput value={selector} onChange={(value) => setSelector(value ?? "")} fault={undefined} />
      </div>
      <Select label="Ends after" description={life === "never" ? "Whoever finds it can use it until somebody revokes it" : undefined} data={[...LIVES]} value={life} onChange={(value) => setLife(value ?? LIVES[1].value)} allowDeselect={false} maw={360} />
      {failure && <Notice tone="bad" title="No access token was made" alert>{failure}</Notice>}
      <div className="hf-row"><Button type="submit" size="xs" loading={busy}>Create</Button><Button size="xs" variant="default" onClick={close}>Cancel</Button></div>
    </form>
  );
}
