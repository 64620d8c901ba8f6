// Ctrl-K: devices (by name, label or address), workloads, documents about data, states and problems in
// use, pages and actions, by some of their letters.
import { TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useId, useRef, useState } from "react";
import * as read from "../api/queries";
import { logout } from "../api/session";
import { score } from "../lib/match";
import { pages } from "../pages";
import { useStreamsFound, type StreamFound } from "./streamsFound";
import { Dialog } from "./Dialog";
import { deviceAt, documentAt, workloadAt, type Target } from "./PageLink";
import { Connection } from "./State";

interface Option {
  key: string;
  kind: "Device" | "Workload" | "Stream" | "Stream policy" | "Link budget" | "State" | "Page" | "Action";
  text: string;
  aside?: React.ReactNode;
  go: Target | (() => void);
}

/** Devices that one search asks for. */
const DEVICES = 8;

const actions: { text: string; finds: string; go: Target | (() => void) }[] = [
  { text: "Make an enrolment token", finds: "new device add", go: { to: "/enrolment", search: { new: "token" } } },
  { text: "Approve waiting devices", finds: "enrolment pending", go: { to: "/enrolment" } },
  { text: "Make an access token", finds: "operator", go: { to: "/settings", search: { tab: "access", new: "access" } } },
  { text: "Push an image", finds: "container registry docker podman upload", go: { to: "/images", search: { new: "push" } } },
  { text: "Copy an image from a registry", finds: "container docker hub pull fetch", go: { to: "/images", search: { new: "copy" } } },
  { text: "Make a user", finds: "person people login", go: { to: "/settings", search: { tab: "people", new: "user" } } },
  { text: "Give a role", finds: "binding rights people", go: { to: "/settings", search: { tab: "roles" } } },
  { text: "End a session", finds: "log out somebody", go: { to: "/settings", search: { tab: "sessions" } } },
  { text: "Tenants and their quotas", finds: "use limit tenant", go: { to: "/settings", search: { tab: "tenants" } } },
  { text: "My account", finds: "password second factor what may I do", go: { to: "/settings", search: { tab: "me" } } },
  { text: "Download a backup", finds: "save", go: { to: "/settings" } },
  { text: "Restore a backup", finds: "upload replace", go: { to: "/settings" } },
  { text: "Log out", finds: "leave end session", go: () => void logout() },
];

/** States that devices are filtered by. */
const states: { text: string; finds: string; search: Record<string, string> }[] = [
  { text: "Devices that are online", finds: "connected filter", search: { connection: "online" } },
  { text: "Devices that are offline", finds: "lost away disconnected filter", search: { connection: "offline" } },
  { text: "Devices that were never seen", finds: "enrolled never-seen connected filter", search: { connection: "never-seen" } },
  { text: "Devices that wait for approval", finds: "pending filter", search: { connection: "pending" } },
  { text: "Devices that are revoked", finds: "filter", search: { connection: "revoked" } },
  { text: "Devices on which a workload is failing", finds: "failing failed crash loop backoff unhealthy filter", search: { attention: "failing" } },
  { text: "Devices with problems", finds: "unhealthy sort filter", search: { sort: "-problems" } },
  { text: "Devices whose certificate is near its end", finds: "expired filter", search: { attention: "certificate" } },
];

export function Palette({ close }: { close: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [query] = useDebouncedValue(text.trim(), 120);
  const navigate = useNavigate();
  const list = useId();
  const devices = useQuery({ ...read.devices({ q: query }, 0, DEVICES), enabled: query !== "", placeholderData: (before) => before });
  const workloads = useQuery(read.workloads());
  const fleet = useQuery(read.fleet());
  const streams = useQuery(read.policies("streams"));
  const budgets = useQuery(read.policies("linkbudgets"));
  const known: Known = {
    devices: query === "" ? [] : (devices.data?.items ?? []),
    workloads: workloads.data?.items ?? [],
    attention: fleet.data?.attention ?? [],
    streams: useStreamsFound(query),
    documents: [...(streams.data?.items ?? []), ...(budgets.data?.items ?? [])],
  };
  const options = found(text, known);
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
        placeholder="Device, address, workload, stream, state or action"
        aria-label="Search devices, workloads, states and actions"
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

interface Known {
  devices: Devices;
  workloads: { metadata: { name: string } }[];
  attention: { kind: string; message: string; query: Record<string, string> }[];
  streams: readonly StreamFound[];
  documents: { kind: string; metadata: { name: string } }[];
}

/** The server names the API's parameters; the table's address has the same, but for the selector. */
const toSearch = ({ labelSelector, ...rest }: Record<string, string>) => ({ ...rest, ...(labelSelector ? { labels: labelSelector } : {}) });

function found(text: string, { devices, workloads, attention, streams, documents }: Known): Option[] {
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
  for (const { key, text: name, finds, go } of streams) add(2, finds, { key, kind: "Stream", text: name, go });
  for (const { kind, metadata } of text.trim() === "" ? [] : documents) {
    const stream = kind === "Stream";
    add(2, metadata.name, { key: `s/${kind}/${metadata.name}`, kind: stream ? "Stream policy" : "Link budget", text: metadata.name, go: { to: documentAt(kind, metadata.name) } });
  }
  for (const { kind, message, query } of text.trim() === "" ? [] : attention) {
    add(1, `${message} ${kind} ${Object.values(query).join(" ")}`, { key: `n/${message}`, kind: "State", text: message, go: { to: kind === "waiting" ? "/enrolment" : "/devices", search: toSearch(query) } });
  }
  for (const state of text.trim() === "" ? [] : states) add(1, `${state.text} ${state.finds}`, { key: `t/${state.text}`, kind: "State", text: state.text, go: { to: "/devices", search: state.search } });
  for (const page of pages) if (page.icon || page.finds) add(1, `${page.title} ${page.finds ?? ""}`, { key: `p/${page.path}`, kind: "Page", text: page.title, go: { to: page.path } });
  for (const action of actions) add(0, `${action.text} ${action.finds}`, { key: `a/${action.text}`, kind: "Action", text: action.text, go: action.go });
  return (text.trim() === "" ? ranked : ranked.sort(([a], [b]) => b - a)).map(([, option]) => option).slice(0, 30);
}
