// Saved views: what the address holds, by a name. They are kept in this browser alone; the address is
// what one sends to a colleague.
import { Button, Menu, TextInput } from "@mantine/core";
import { useState } from "react";
import { store, useStore } from "../../api/store";
import { address, fault, LONGEST, put, read, remove, rename, search, type View } from "../../lib/views";
import { CopyButton } from "../../ui/Copy";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import { Notice } from "../../ui/Notice";
import { say } from "../../ui/say";
import type { Search } from "../../ui/useSearch";

const PLACE = "holdfast-views";

function kept(): View[] {
  try {
    return read(localStorage.getItem(PLACE));
  } catch {
    return [];
  }
}

const views = store<readonly View[]>(kept());
// Another tab saved one.
window.addEventListener("storage", ({ key }) => key === PLACE && views.set(kept()));

function keep(next: readonly View[]): void {
  views.set(next);
  try {
    localStorage.setItem(PLACE, JSON.stringify(next));
  } catch {
    say("This browser does not let the page keep anything: the view is gone when the page is closed", true);
  }
}

type Open = "save" | "manage";

export function Views({ search: now, go }: { search: Search; go: (to: Search) => void }) {
  const all = useStore(views);
  const [open, setOpen] = useState<Open | undefined>();
  const here = address(now);
  const current = all.find((view) => view.address === here);
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default" leftSection={<Icon name="view" />} className="hf-views">{current ? <span className="hf-cut" title={current.name}>{current.name}</span> : "Views"}</Button>
        </Menu.Target>
        <Menu.Dropdown className="hf-menu">
          {all.map((view) => (
            <Menu.Item key={view.name} onClick={() => go(search(view))} {...(view === current ? { "aria-current": true } : {})}><span className="hf-cut" title={view.name}>{view.name}</span></Menu.Item>
          ))}
          {all.length > 0 && <Menu.Divider />}
          <Menu.Item onClick={() => setOpen("save")}>Save this view…</Menu.Item>
          {all.length > 0 && <Menu.Item onClick={() => setOpen("manage")}>Rename, delete or share…</Menu.Item>}
        </Menu.Dropdown>
      </Menu>
      {open === "save" && <Save all={all} address={here} close={() => setOpen(undefined)} />}
      {open === "manage" && <Manage all={all} close={() => setOpen(undefined)} />}
    </>
  );
}

const KEPT = "Views are kept in this browser. To share one, send its address.";

function Save({ all, address, close }: { all: readonly View[]; address: string; close: () => void }) {
  const [name, setName] = useState("");
  const wrong = fault(all, name);
  return (
    <Dialog title="Save this view" close={close}>
      <form
        className="hf-stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (wrong) return;
          keep(put(all, { name: name.trim(), address }));
          say(`The view ${name.trim()} is saved`);
          close();
        }}
      >
        <p>The filters, the columns, the order and the groups of the table as they are now. {KEPT}</p>
        <TextInput label="Name of the view" value={name} onChange={(event) => setName(event.currentTarget.value)} error={name !== "" && wrong} maxLength={LONGEST + 1} data-autofocus autoComplete="off" />
        <div className="hf-row">
          <Button type="submit" disabled={wrong !== undefined}>Save</Button>
          <Button variant="default" onClick={close}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}

function Manage({ all, close }: { all: readonly View[]; close: () => void }) {
  const [renaming, setRenaming] = useState<{ from: string; to: string } | undefined>();
  const wrong = renaming && fault(all, renaming.to, renaming.from);
  return (
    <Dialog title="Saved views" close={close} size="lg">
      <div className="hf-stack">
        <p>{KEPT}</p>
        {all.length === 0 && <Notice tone="idle" title="There is no view any more" />}
        <ul className="hf-list">
          {all.map((view) => (
            <li key={view.name}>
              {renaming?.from === view.name ? (
                <form
                  className="hf-row"
                  onSubmit={(event) => {
                    event.preventDefault();
                    if (wrong) return;
                    keep(rename(all, renaming.from, renaming.to));
                    setRenaming(undefined);
                  }}
                >
                  <TextInput aria-label={`New name of ${view.name}`} value={renaming.to} onChange={(event) => setRenaming({ ...renaming, to: event.currentTarget.value })} error={wrong} data-autofocus autoComplete="off" />
                  <Button type="submit" size="xs" disabled={wrong !== undefined}>Rename</Button>
                  <Button size="xs" variant="default" onClick={() => setRenaming(undefined)}>Cancel</Button>
                </form>
              ) : (
                <div className="hf-row hf-spread">
                  <strong className="hf-cut" title={view.name}>{view.name}</strong>
                  <span className="hf-row hf-tight">
                    <CopyButton text={`${location.origin}/devices?${view.address}`}>Copy the address</CopyButton>
                    <Button size="xs" variant="default" aria-label={`Rename ${view.name}`} onClick={() => setRenaming({ from: view.name, to: view.name })}>Rename</Button>
                    <Button size="xs" variant="outline" color="red" aria-label={`Delete ${view.name}`} onClick={() => keep(remove(all, view.name))}>Delete</Button>
                  </span>
                </div>
              )}
            </li>
          ))}
        </ul>
      </div>
    </Dialog>
  );
}
