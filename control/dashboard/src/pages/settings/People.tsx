// Local users: who there is, with which roles, and what an admin does to an account.
import { Button, Menu, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reason } from "../../api/client";
import { applyBinding, changeUser, createUser, deleteUser, removeSecondFactor, setPassword, users, type User } from "../../api/people";
import { session } from "../../api/state";
import { useStore } from "../../api/store";
import { bindingOf } from "../../lib/people";
import { granted, ROLES } from "../../lib/rights";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { Once } from "../../ui/Once";
import { ActButton, ActItem } from "../../ui/rights";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

type Open = { what: "disable" | "password" | "second" | "delete" | "rename"; user: User };

export function People() {
  const { data, error, refetch } = useQuery(users());
  const [search, setSearch] = useSearch();
  const [open, setOpen] = useState<Open>();
  const [shown, setShown] = useState<{ name: string; password: string }>();
  const now = useStore(session);
  const mine = now.kind === "open" ? now.user : undefined;
  const close = () => setOpen(undefined);
  return (
    <Card title="People" aside={search.new !== "user" && <ActButton may="user.create" size="xs" onClick={() => setSearch({ new: "user" })}>Make a user</ActButton>}>
      <p className="hf-kind">Local users log in with a name and a password. Roles come from role bindings, and count at once.</p>
      {search.new === "user" && <Make close={() => setSearch({ new: undefined })} />}
      {shown && <Once secret={shown.password} testId="password" close={() => setShown(undefined)}>The password of {shown.name}. It is to be changed after the first login.</Once>}
      {!data && (error ? <Failed error={error} what="People could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data?.items.length === 0 && <p>No local user yet. Whoever logs in has an access token{"\u00a0"}or comes from an identity provider.</p>}
      {data && data.items.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Name</th><th>State</th><th>Roles</th><th>Second factor</th><th>Last login</th><th>Made</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
          <tbody>
            {data.items.map((user) => (
              <tr key={user.name}>
                <td><span className="hf-row hf-tight"><strong>{user.name}</strong>{user.fullName && <span className="hf-kind">{user.fullName}</span>}{user.name === mine && <State tone="move">you</State>}</span></td>
                <td data-label="State"><Standing of={user} /></td>
                <td data-label="Roles"><span className="hf-row hf-tight">{user.roles.map((role) => <span key={`${role.role} ${role.by}`} title={`From ${role.by}`}>{granted(role)}</span>)}{user.roles.length === 0 && <span className="hf-kind">none: may do nothing</span>}</span></td>
                <td data-label="Second factor">{user.secondFactor ? <State tone="good">on</State> : <span className="hf-kind">off</span>}</td>
                <td data-label="Last login"><Time at={user.lastLoginAt} /></td>
                <td data-label="Made"><Time at={user.createdAt} /></td>
                <td><Actions of={user} open={(what) => setOpen({ what, user })} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {data?.metadata?.continue && <p>These are the first {count(data.items.length, "user")}.</p>}
      {open && <Ask {...open} mine={open.user.name === mine} close={close} made={setShown} />}
    </Card>
  );
}

function Standing({ of: { disabled, mustChange, password } }: { of: User }) {
  if (disabled) return <State tone="idle">disabled</State>;
  if (!password) return <State tone="warn">no password</State>;
  return mustChange ? <State tone="warn" title="Somebody else has set the password: the pages ask for another">new password due</State> : <State tone="good">active</State>;
}

function Actions({ of: user, open }: { of: User; open: (what: Open["what"]) => void }) {
  const enable = () => changeUser(user.name, { disabled: false }).then(() => say(`${user.name} may log in again`), (error: unknown) => say(`${user.name} was not enabled: ${reason(error)}`, true));
  return (
    <Menu position="bottom-end">
      <Menu.Target><Button size="compact-xs" variant="subtle" aria-label={`Actions: ${user.name}`}><Icon name="more" /></Button></Menu.Target>
      <Menu.Dropdown maw={320}>
        <ActItem may="user.change" onClick={() => open("rename")}>Change the full name…</ActItem>
        <ActItem may="user.password" onClick={() => open("password")}>Set another password…</ActItem>
        {user.secondFactor && <ActItem may="user.second-factor" onClick={() => open("second")}>Remove the second factor…</ActItem>}
        {user.disabled ? <ActItem may="user.change" onClick={() => void enable()}>Enable</ActItem> : <ActItem may="user.change" onClick={() => open("disable")}>Disable…</ActItem>}
        <ActItem may="user.delete" color="red" onClick={() => open("delete")}>Delete…</ActItem>
      </Menu.Dropdown>
    </Menu>
  );
}

function Ask({ what, user: { name, fullName, roles }, mine, close, made }: Open & { mine: boolean; close: () => void; made: (shown: { name: string; password: string }) => void }) {
  const yours = mine && <p>This is your own account: your session ends too.</p>;
  if (what === "rename") return <Rename name={name} fullName={fullName} close={close} />;
  if (what === "disable") {
    return (
      <Confirm title={`Disable ${name}?`} act={`Disable ${name}`} run={async () => { await changeUser(name, { disabled: true }); say(`${name} is disabled`); }} close={close}>
        <p><strong>{name}</strong> cannot log in any more, and is logged out everywhere. Everything else stays, and it can be enabled again.</p>{yours}
      </Confirm>
    );
  }
  if (what === "password") {
    const run = async () => {
      const { password } = await setPassword(name);
      if (password) made({ name, password });
    };
    return (
      <Confirm title={`Set another password for ${name}?`} act="Make a password" run={run} close={close}>
        <p>A password is made and shown once. <strong>{name}</strong> is logged out everywhere, and asked to choose another at the next login.</p>{yours}
      </Confirm>
    );
  }
  if (what === "second") {
    return (
      <Confirm title={`Remove the second factor of ${name}?`} act="Remove the second factor" run={async () => { await removeSecondFactor(name); say(`The second factor of ${name} is removed`); }} close={close}>
        <p><strong>{name}</strong> logs in with the password alone from now on, and is logged out everywhere. For somebody who has lost the authenticator: make sure that it is that person who asks.</p>{yours}
      </Confirm>
    );
  }
  return (
    <Confirm title={`Delete ${name}?`} act={`Delete ${name}`} typed={name} run={async () => { await deleteUser(name); say(`${name} is deleted`); }} close={close}>
      <p><strong>{name}</strong> is logged out everywhere and gone. Role bindings that name it stay: {roles.length === 0 ? "there is none" : "whoever is made with this name later has their roles"}. The activity keeps what was done.</p>{yours}
    </Confirm>
  );
}

function Rename({ name, fullName, close }: { name: string; fullName: string; close: () => void }) {
  const [text, setText] = useState(fullName);
  const [failure, setFailure] = useState("");
  const go = async () => {
    try {
      await changeUser(name, { fullName: text.trim() });
      say(`${name} is changed`);
      close();
    } catch (error) {
      setFailure(reason(error));
    }
  };
  return (
    <Dialog title={`Full name of ${name}`} close={close}>
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <TextInput label="Full name" value={text} onChange={(event) => setText(event.currentTarget.value)} maxLength={80} data-autofocus />
        {failure && <Notice tone="bad" title="Not changed" alert>{failure}</Notice>}
        <div className="hf-row"><Button type="submit">Save</Button><Button variant="default" onClick={close}>Cancel</Button></div>
      </form>
    </Dialog>
  );
}

const NO_ROLE = "none";

function Make({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [fullName, setFullName] = useState("");
  const [role, setRole] = useState<string>(NO_ROLE);
  const [made, setMade] = useState("");
  const [failure, setFailure] = useState("");
  const [later, setLater] = useState("");
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      const { password } = await createUser({ name: name.trim(), fullName: fullName.trim() });
      setMade(password ?? "");
      const document = role === NO_ROLE ? undefined : bindingOf({ name: `${role}-${name.trim()}`, role, subjects: name.trim(), everywhere: true, selector: "" });
      if (document) await applyBinding(document).catch((error: unknown) => setLater(reason(error)));
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  if (made) {
    return (
      <Once secret={made} testId="password" close={close}>
        <span>{name} can log in with this password, and is asked to choose another then.</span>
        {later && <span className="hf-bad-text">The role was not given: {later}. Give it under Roles.</span>}
        {role === NO_ROLE && <span>Without a role it may do nothing yet: give one under Roles.</span>}
      </Once>
    );
  }
  return (
    <form className="hf-stack hf-tight" aria-label="New user" onSubmit={(event) => { event.preventDefault(); void go(); }}>
      <TextInput label="Name" description="To log in with: letters a to z, digits and hyphens" value={name} onChange={(event) => setName(event.currentTarget.value)} maxLength={63} autoComplete="off" spellCheck={false} autoFocus required maw={360} />
      <TextInput label="Full name" value={fullName} onChange={(event) => setFullName(event.currentTarget.value)} maxLength={80} autoComplete="off" maw={360} />
      <Select label="Role" description={ROLES.find(({ value }) => value === role)?.text ?? "Others, and roles for some devices alone, are given under Roles"} data={[{ value: NO_ROLE, label: "None yet" }, ...ROLES.map(({ value, label }) => ({ value, label }))]} value={role} onChange={(value) => setRole(value ?? NO_ROLE)} allowDeselect={false} maw={360} />
      <p className="hf-small">A password is made, and shown once.</p>
      {failure && <Notice tone="bad" title="No user was made" alert>{failure}</Notice>}
      <div className="hf-row"><Button type="submit" size="xs" loading={busy}>Make the user</Button><Button size="xs" variant="default" onClick={close}>Cancel</Button></div>
    </form>
  );
}
