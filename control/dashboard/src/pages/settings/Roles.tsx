// Roles: who has which, on which devices, and what each may do.
import { Button, SegmentedControl, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reason, Refusal } from "../../api/client";
import { applyBinding, bindings, deleteBinding, openapi, type Binding } from "../../api/people";
import { Changes } from "../../editor/Changes";
import { useDryRun } from "../../editor/useDryRun";
import { toYaml } from "../../lib/document";
import { bindingOf, EMPTY, formOf, subjectsOf, type BindingForm } from "../../lib/people";
import { actionsOf, roleOf, ROLES } from "../../lib/rights";
import { some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Dialog } from "../../ui/Dialog";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { ActButton } from "../../ui/rights";
import { say } from "../../ui/say";
import { SelectorInput } from "../../ui/SelectorInput";
import { Time } from "../../ui/Time";

/** People that a row names. */
const NAMES = 8;

export function Roles() {
  return (
    <div className="hf-stack">
      <Bindings />
      <Table />
    </div>
  );
}

function Bindings() {
  const { data, error, refetch } = useQuery(bindings());
  const [editing, setEditing] = useState<{ of?: Binding }>();
  const [ending, setEnding] = useState<Binding>();
  return (
    <Card title="Role bindings" aside={<ActButton may="user.create" size="xs" onClick={() => setEditing({})}>Give a role</ActButton>}>
      <p className="hf-kind">A binding gives people a role, on all devices or on some. Whoever has none may do nothing.</p>
      {!data && (error ? <Failed error={error} what="The role bindings could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data?.items.length === 0 && <p>None yet.</p>}
      {data && data.items.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Name</th><th>Role</th><th>People</th><th>Devices</th><th>Changed</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
          <tbody>
            {data.items.map((binding) => {
              const { role, subjects, everywhere, selector } = formOf(binding);
              const { name } = binding.metadata;
              return (
                <tr key={name}>
                  <td><strong>{name}</strong></td>
                  <td data-label="Role">{roleOf(role)}</td>
                  <td data-label="People">{some(subjectsOf(subjects), undefined, NAMES)}</td>
                  <td data-label="Devices">{everywhere ? "all" : <span className="hf-mono">{selector}</span>}</td>
                  <td data-label="Changed"><Time at={binding.metadata.updatedAt} /></td>
                  <td>
                    <span className="hf-row hf-tight">
                      <ActButton may="user.create" size="compact-xs" variant="default" onClick={() => setEditing({ of: binding })} aria-label={`Edit ${name}`}>Edit…</ActButton>
                      <ActButton may="user.create" size="compact-xs" variant="outline" color="red" onClick={() => setEnding(binding)} aria-label={`Delete ${name}`}>Delete…</ActButton>
                    </span>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {editing && <Edit of={editing.of} close={() => setEditing(undefined)} />}
      {ending && (
        <Confirm title={`Delete the role binding ${ending.metadata.name}?`} act={`Delete ${ending.metadata.name}`} run={async () => { await deleteBinding(ending.metadata.name, ending.metadata.resourceVersion ?? 0); say(`${ending.metadata.name} is deleted`); }} close={() => setEnding(undefined)}>
          <p><strong>{some(subjectsOf(formOf(ending).subjects), undefined, NAMES)}</strong> lose the role {roleOf(formOf(ending).role)} at once, unless another binding gives it too.</p>
        </Confirm>
      )}
    </Card>
  );
}

/** The form of a binding, with what it would do before it is done. */
function Edit({ of, close }: { of: Binding | undefined; close: () => void }) {
  const [form, setForm] = useState<BindingForm>(of ? formOf(of) : EMPTY);
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const set = (change: Partial<BindingForm>) => {
    setForm({ ...form, ...change });
    setFailure("");
  };
  const document = bindingOf(form, of?.metadata.resourceVersion ?? undefined);
  const run = useDryRun(document ? toYaml(document) : "", undefined, undefined);
  const ready = document !== undefined && run.results !== undefined && run.results.some(({ action }) => action !== "unchanged");
  const go = async () => {
    if (!ready || busy) return;
    setBusy(true);
    setFailure("");
    try {
      await applyBinding(document);
      say(`${form.name.trim()} is ${of ? "changed" : "made"}`);
      close();
    } catch (error) {
      setFailure(error instanceof Refusal && error.code === "conflict" ? "Somebody else has changed it meanwhile: close this and begin anew." : reason(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={of ? `Role binding ${of.metadata.name}` : "Give a role"} close={close} size="lg">
      <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <TextInput label="Name of the binding" description="Such as operators or kiel-night-shift" value={form.name} onChange={(event) => set({ name: event.currentTarget.value })} disabled={of !== undefined} required autoComplete="off" spellCheck={false} data-autofocus />
        <Select label="Role" description={ROLES.find(({ value }) => value === form.role)?.text} data={ROLES.map(({ value, label }) => ({ value, label }))} value={form.role} onChange={(value) => set({ role: value ?? "viewer" })} allowDeselect={false} />
        <TextInput label="People" description="Names of local users, or of those of an identity provider as name@provider; several with commas" value={form.subjects} onChange={(event) => set({ subjects: event.currentTarget.value })} required autoComplete="off" spellCheck={false} />
        <div className="hf-stack hf-tight" role="group" aria-label="Devices">
          <SegmentedControl size="xs" aria-label="Devices" data={[{ value: "all", label: "All devices" }, { value: "some", label: "Some devices" }]} value={form.everywhere ? "all" : "some"} onChange={(value) => set({ everywhere: value === "all" })} />
          {!form.everywhere && (
            <>
              <SelectorInput value={form.selector} onChange={(selector) => set({ selector: selector ?? "" })} fault={undefined} />
              <p className="hf-kind">With some devices alone, everything is of these devices. What belongs to no device is not allowed: notifications, secrets, people, backups.</p>
            </>
          )}
        </div>
        {document === undefined && <p className="hf-kind">A name, people and devices are needed.</p>}
        {run.marks.length > 0 && <Notice tone="bad" title="This is not accepted" alert><ul>{run.marks.map((mark, index) => <li key={index}>{mark.message}</li>)}</ul></Notice>}
        {(failure || run.failure) && <Notice tone="bad" title={failure ? "Not done" : "The dry run failed"} alert>{failure || run.failure}</Notice>}
        {run.conflict && <Notice tone="bad" title="Not done" alert>Somebody else has changed it meanwhile: close this and begin anew.</Notice>}
        {(run.results ?? []).map((result) => <Changes key={result.name} of={result} />)}
        <div className="hf-row">
          <Button type="submit" disabled={!ready} loading={busy}>{of ? "Change it" : "Give the role"}</Button>
          <Button variant="default" onClick={close}>Cancel</Button>
          <span className="hf-kind" role="status">{document && !run.settled ? "Asking the control plane…" : run.results && !ready ? "Nothing would change" : ""}</span>
        </div>
      </form>
    </Dialog>
  );
}

/** What each role may do, from the API's own description. */
function Table() {
  const { data, error, refetch } = useQuery(openapi());
  const [find, setFind] = useState("");
  if (!data) return error ? <Failed error={error} what="What the roles may do could not be read" retry={() => void refetch()} /> : <Loading rows={8} />;
  const text = find.trim().toLowerCase();
  const areas = [...actionsOf(data)].map(([area, actions]) => [area, actions.filter(({ action, about }) => `${area} ${action} ${about}`.toLowerCase().includes(text))] as const).filter(([, actions]) => actions.length > 0);
  return (
    <Card title="What the roles may do" aside={<TextInput size="xs" aria-label="Find an action" placeholder="Find an action" value={find} onChange={(event) => setFind(event.currentTarget.value)} />}>
      <dl className="hf-facts">{ROLES.map(({ value, label, text: about }) => <div key={value} className="hf-fact"><dt>{label}</dt><dd>{about}</dd></div>)}</dl>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in */}
      <div className="hf-sideways" role="region" aria-label="Actions and roles" tabIndex={0}>
        <table className="hf-table hf-matrix">
          <thead><tr><th scope="col">Action</th>{ROLES.map(({ value, label }) => <th key={value} scope="col">{label}</th>)}</tr></thead>
          {areas.map(([area, actions]) => (
            <tbody key={area}>
              <tr><th scope="rowgroup" colSpan={ROLES.length + 1}>{area}</th></tr>
              {actions.map(({ action, about, roles }) => (
                <tr key={action}>
                  <td title={action}>{about}</td>
                  {ROLES.map(({ value }) => <td key={value}>{roles.includes(value) ? "yes" : <span className="hf-kind"><span aria-hidden="true">–</span><span className="hf-hidden">no</span></span>}</td>)}
                </tr>
              ))}
            </tbody>
          ))}
        </table>
      </div>
      {areas.length === 0 && <p>No action has this in its words.</p>}
    </Card>
  );
}
