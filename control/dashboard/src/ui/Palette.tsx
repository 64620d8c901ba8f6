// Ctrl-K: devices, workloads, pages and actions by some of their letters.
import { TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useId, useRef, useState } from "react";
import * as read from "../api/queries";
import { logout } from "../api/session";
import { score } from "../lib/match";
import { pages } from "../pages";
import { useDataFound, type DataFound } from "./dataFound";
import { Dialog } from "./Dialog";
import { deviceAt, workloadAt, type Target } from "./PageLink";
import { Connection } from "./State";

interface Option {
  key: string;
  kind: string;
  text: string;
  aside?: React.ReactNode;
  go: Target | (() => void);
}

/** Devices that one search asks for. */
const DEVICES = 8;

const actions: { text: string; finds: string; go: Target | (() => void) }[] = [
  { text: "Make an enrolment token", finds: "new device add", go: { to: "/enrolment", search: { new: "token" } } },
  { text: "Approve waiting devices", finds: "enrolment pending", go: { to: "/enrolment" } },
  { text: "Devices that are offline", finds: "lost filter", go: { to: "/devices", search: { connection: "offline" } } },
  { text: "Devices with problems", finds: "sort filter", go: { to: "/devices", search: { sort: "-problems" } } },
  { text: "Make an access token", finds: "operator", go: { to: "/settings", search: { new: "access" } } },
  { text: "Download a backup", finds: "save", go: { to: "/settings" } },
  { text: "Restore a backup", finds: "upload replace", go: { to: "/settings" } },
  { text: "Log out", finds: "leave end session", go: () => void logout() },
];

export function Palette({ close }: { close: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [query] = useDebouncedValue(text.trim(), 120);
  const navigate = useNavigate();
  const list = useId();
  const devices = useQuery({ ...read.devices({ q: query }, 0, DEVICES), enabled: query !== "", placeholderData: (before) => before });
  const workloads = useQuery(read.workloads());
  const inData = useDataFound(query);
  const options = found(text, query === "" ? [] : (devices.data?.items ?? []), workloads.data?.items ?? [], inData);
  const chosen = Math.min(at, options.length - 1);
  const here = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // Braces: newer browsers give a promise, which React would take for what cleans up.
    here.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [chosen]);

  const take = (option: Option | undefined) => {
    if (!option) return;
    close();
    if (typeof option.go === "function") option.go();
    else void navigate({ to: option.go.to as never, search: (option.go.search ?? {}) as never });
  };
  const key = (event: React.KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((chosen + step + options.length) % Math.max(1, options.length));
    else if (event.key === "Enter") take(options[chosen]);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Search" close={close} size="lg" top>
      <TextInput
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={key}
        placeholder="Device, workload, stream or action"
        aria-label="Search devices, workloads and actions"
        role="combobox"
        aria-expanded={options.length > 0}
        aria-controls={list}
        aria-autocomplete="list"
        {...(options[chosen] ? { "aria-activedescendant": `${list}-${chosen}` } : {})}
        data-autofocus
        autoComplete="off"
        spellCheck={false}
      />
      <div id={list} role="listbox" aria-label="Found" ref={here} className="hf-found">
        {options.map((option, index) => (
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus -- the keyboard is the combobox's
          <div key={option.key} id={`${list}-${index}`} role="option" aria-selected={index === chosen} className="hf-option" onClick={() => take(option)} onMouseMove={() => setAt(index)}>
            <span className="hf-row">{option.text} {option.aside}</span>
            <span className="hf-kind">{option.kind}</span>
          </div>
        ))}
      </div>
      <p role="status" className="hf-kind">{options.length === 0 ? "Nothing found" : `${options.length} found; arrows choose, Enter opens`}</p>
    </Dialog>
  );
}

type Devices = { metadata: { name: string }; status: { connection: string } }[];

function found(text: string, devices: Devices, workloads: { metadata: { name: string } }[], inData: readonly DataFound[]): Option[] {
  const ranked: [number, Option][] = [];
  for (const { metadata, status } of devices) {
    // The server found them (by a label's value, perhaps): they stay, good names first.
    ranked.push([3 + score(metadata.name, text), { key: `d/${metadata.name}`, kind: "Device", text: metadata.name, aside: <Connection of={status.connection} />, go: { to: deviceAt(metadata.name) } }]);
  }
  const add = (base: number, finds: string, option: Option) => {
    const points = score(finds, text);
    if (points > 0) ranked.push([base + points, option]);
  };
  for (const { metadata } of text.trim() === "" ? [] : workloads) add(3, metadata.name, { key: `w/${metadata.name}`, kind: "Workload", text: metadata.name, go: { to: workloadAt(metadata.name) } });
  for (const { key, kind, text: name, finds, go } of inData) add(2, finds, { key, kind, text: name, go });
  for (const page of pages) if (page.icon || page.finds) add(1, `${page.title} ${page.finds ?? ""}`, { key: `p/${page.path}`, kind: "Page", text: page.title, go: { to: page.path } });
  for (const action of actions) add(0, `${action.text} ${action.finds}`, { key: `a/${action.text}`, kind: "Action", text: action.text, go: action.go });
  return (text.trim() === "" ? ranked : ranked.sort(([a], [b]) => b - a)).map(([, option]) => option).slice(0, 30);
}
