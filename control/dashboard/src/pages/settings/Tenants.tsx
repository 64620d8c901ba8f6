// Tenants, for admins of the first one: what of each quota is used, new tenants, their limits and end.
// Whoever belongs to another tenant sees the own one.
import { Button, Progress, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reason } from "../../api/client";
import { changeTenant, createTenant, deleteTenant, deletionOf, tenants, written, type Tenant } from "../../api/tenants";
import { quotaOf, QUOTAS, share, tenantOf, type QuotaUse } from "../../lib/tenants";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Dialog } from "../../ui/Dialog";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { Once } from "../../ui/Once";
import { ActButton, Shut } from "../../ui/rights";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

/** Why nothing can be done here in another tenant than the first. */
const ELSEWHERE = "Only admins of the tenant that the control plane began with make, change and delete tenants";

/** A button for the admins of the first tenant, which is in the list for them alone. */
function Act({ whole, may, ...props }: { whole: boolean } & React.ComponentProps<typeof ActButton>) {
  return whole ? <ActButton may={may} {...props} /> : <Shut why={ELSEWHERE} {...props} />;
}

const COLOURS = { good: "kelp", warn: "orange", bad: "red", idle: "gray" } as const;

export function Tenants() {
  const { data, error, refetch } = useQuery(tenants());
  const [editing, setEditing] = useState<{ of?: string }>();
  const [ending, setEnding] = useState("");
  if (!data) return error ? <Failed error={error} what="The tenants could not be read" retry={() => void refetch()} /> : <Loading rows={6} />;
  const whole = data.some(({ first }) => first);
  return (
    <div className="hf-stack">
      <div className="hf-row hf-spread">
        <p className="hf-kind">A tenant has its own devices, documents, people and data, and sees nothing of another. Quotas bound what it takes.</p>
        <Act whole={whole} may="tenant.create" size="xs" onClick={() => setEditing({})}>Make a tenant</Act>
      </div>
      <div className="hf-grid">{data.map((tenant) => <One key={tenant.name} whole={whole} of={tenant} edit={() => setEditing({ of: tenant.name })} end={() => setEnding(tenant.name)} />)}</div>
      {editing && (editing.of === undefined ? <Form close={() => setEditing(undefined)} /> : <Change name={editing.of} close={() => setEditing(undefined)} />)}
      {ending && <End name={ending} close={() => setEnding("")} />}
    </div>
  );
}

function One({ whole, of: { name, first, createdAt, quotas, heldBack }, edit, end }: { whole: boolean; of: Tenant; edit: () => void; end: () => void }) {
  return (
    <Card title={name} aside={first ? <State tone="idle">the first</State> : createdAt && <span className="hf-kind">made <Time at={createdAt} /></span>}>
      {heldBack && <Notice tone="warn" title="Devices hold data back">{heldBack}</Notice>}
      <ul className="hf-list hf-quotas">{quotas.map((use) => <Use key={use.quota} of={use} tenant={name} />)}</ul>
      {!first && (
        <div className="hf-row">
          <Act whole={whole} may="tenant.create" size="compact-xs" variant="default" onClick={edit} aria-label={`Quotas of ${name}`}>Quotas…</Act>
          <Act whole={whole} may="tenant.delete" size="compact-xs" variant="outline" color="red" onClick={end} aria-label={`Delete ${name}`}>Delete…</Act>
        </div>
      )}
    </Card>
  );
}

function Use({ of, tenant }: { of: QuotaUse; tenant: string }) {
  const { percent, tone, words } = share(of);
  return (
    <li className="hf-stack hf-tight">
      <span className="hf-row hf-spread"><span>{quotaOf(of.quota)}</span><span className="hf-row hf-tight"><span className="hf-kind">{words}</span>{tone === "bad" && <State tone="bad">used up</State>}{tone === "warn" && <State tone="warn">nearly used up</State>}</span></span>
      {percent !== undefined && <Progress value={percent} color={COLOURS[tone]} aria-label={`${quotaOf(of.quota)} of ${tenant}: ${words}`} />}
    </li>
  );
}

function Change({ name, close }: { name: string; close: () => void }) {
  const { data, error } = useQuery(written(name));
  if (data) return <Form of={{ name, ...data }} close={close} />;
  return <Dialog title={`Quotas of ${name}`} close={close}>{error ? <Failed error={error} what="The quotas could not be read" /> : <Loading />}</Dialog>;
}

function Form({ of, close }: { of?: { name: string; version: number; quotas: Record<string, string> }; close: () => void }) {
  const [name, setName] = useState(of?.name ?? "");
  const [quotas, setQuotas] = useState<Record<string, string>>(of?.quotas ?? {});
  const [made, setMade] = useState("");
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      const document = tenantOf(name, quotas, of?.version);
      if (of) {
        await changeTenant(document);
        say(`The quotas of ${of.name} are changed`);
        close();
      } else setMade((await createTenant(document.metadata.name, document.spec.quotas)).token);
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={of ? `Quotas of ${of.name}` : "Make a tenant"} close={close}>
      {made ? (
        <Once secret={made} testId="access-token" close={close}>The first access token of {name.trim()}: it may do everything in this tenant, and nothing in another.</Once>
      ) : (
        <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void go(); }}>
          {!of && <TextInput label="Name" description="Letters a to z, digits and hyphens" value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="off" spellCheck={false} required data-autofocus />}
          {QUOTAS.map(({ quota, label, example }) => <TextInput key={quota} label={label} placeholder={`no limit; such as ${example}`} value={quotas[quota] ?? ""} onChange={(event) => setQuotas({ ...quotas, [quota]: event.currentTarget.value })} autoComplete="off" spellCheck={false} />)}
          {failure && <Notice tone="bad" title="Not done" alert>{failure}</Notice>}
          <div className="hf-row"><Button type="submit" loading={busy}>{of ? "Change the quotas" : "Make the tenant"}</Button><Button variant="default" onClick={close}>Cancel</Button></div>
        </form>
      )}
    </Dialog>
  );
}

function End({ name, close }: { name: string; close: () => void }) {
  const { data, error } = useQuery(deletionOf(name));
  return (
    <Confirm title={`Delete the tenant ${name}?`} act={`Delete ${name}`} typed={name} run={async () => { await deleteTenant(name); say(`The tenant ${name} is deleted`); }} close={close}>
      {error && <Failed error={error} what="What would go could not be read" />}
      {!data && !error && <Loading rows={2} />}
      {data && (
        <p>
          With <strong>{name}</strong> go {count(data.devices, "device")}, {count(data.workloads, "workload")}, {count(data.documents, "other document")}, {count(data.tokens, "enrolment token")}, {count(data.access, "access token")}, {count(data.artifacts, "artifact")} and {count(data.records, "record")} of {count(data.streams, "stream")}. Workloads go on running on its devices, which nobody manages from here any more. Only a backup brings it back.
        </p>
      )}
    </Confirm>
  );
}
