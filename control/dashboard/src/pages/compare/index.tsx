// Two devices side by side, what differs marked; the address says which two.
import { Button, Select, Switch } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Refusal } from "../../api/client";
import * as read from "../../api/queries";
import { compare, type Answer, type Section } from "../../lib/compare";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { Words } from "../../ui/Words";

export default function Compare() {
  const [search, setSearch] = useSearch();
  const { a = "", b = "" } = search;
  const only = search.only === "differences";
  const one = useQuery({ ...read.device(a), enabled: a !== "" });
  const other = useQuery({ ...read.device(b), enabled: b !== "" });
  const both = one.data && other.data ? compare(one.data, other.data) : undefined;
  const differ = both?.reduce((sum, { rows }) => sum + rows.filter(({ differs }) => differs).length, 0) ?? 0;
  return (
    <div className="hf-stack">
      <PageHead title="Compare two devices" aside={both && a !== b && <span className="hf-kind" role="status">{differ === 0 ? "no difference" : count(differ, "difference")}</span>} />
      <div className="hf-row">
        <Pick label="One device" value={a} set={(a) => setSearch({ a })} />
        <Pick label="The other device" value={b} set={(b) => setSearch({ b })} />
        <Button variant="default" size="sm" onClick={() => setSearch({ a: b, b: a })} disabled={a === "" && b === ""}>Swap</Button>
        <Switch label="Only differences" checked={only} onChange={(event) => setSearch({ only: event.currentTarget.checked ? "differences" : undefined })} />
      </div>
      {(a === "" || b === "") && <p>Choose two devices; or select two in the table of devices.</p>}
      {a !== "" && a === b && <Notice tone="warn" title="Both are the same device" />}
      {[[a, one], [b, other]].map(([name, query]) => <NotRead key={`${String(name)}${query === one}`} name={name as string} query={query as typeof one} />)}
      {a !== "" && b !== "" && !both && !one.error && !other.error && <Loading rows={8} />}
      {both && a !== b && both.map((section) => <Part key={section.title} of={section} a={a} b={b} only={only} />)}
      {both && only && differ === 0 && a !== b && <Notice tone="good" title="They do not differ">Times, addresses and counts aside, which differ between any two devices.</Notice>}
    </div>
  );
}

function NotRead({ name, query: { error, data, refetch } }: { name: string; query: { error: Error | null; data: unknown; refetch: () => unknown } }) {
  if (!error || data) return null;
  if (error instanceof Refusal && error.status === 404) return <Notice tone="bad" title={`There is no device ${name}`} alert />;
  return <Failed error={error} what={`The device ${name} could not be read`} retry={() => void refetch()} />;
}

function Part({ of: { title, rows }, a, b, only }: { of: Section; a: string; b: string; only: boolean }) {
  const shown = only ? rows.filter(({ differs }) => differs) : rows;
  if (shown.length === 0) return null;
  const differ = rows.filter(({ differs }) => differs).length;
  return (
    <Card title={title} aside={differ > 0 ? <State tone="warn">{count(differ, "difference")}</State> : <span className="hf-kind">no difference</span>}>
      <table className="hf-table hf-folds hf-compare">
        <thead>
          <tr>
            <th><span className="hf-hidden">What</span></th>
            <th><PageLink className="hf-cut" to={deviceAt(a)} title={a}>{a}</PageLink></th>
            <th><PageLink className="hf-cut" to={deviceAt(b)} title={b}>{b}</PageLink></th>
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={row.name} className={row.differs ? "hf-differs" : undefined}>
              <th scope="row"><span className="hf-cut" title={row.name}>{row.name}</span>{row.differs && <span className="hf-hidden"> (differs)</span>}</th>
              <td data-label={a}><Said of={row.a} /></td>
              <td data-label={b}><Said of={row.b} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function Said({ of }: { of: Answer }) {
  if (of === undefined) return <>–</>;
  return "at" in of ? <Time at={of.at} /> : <span className="hf-reason"><Words>{of.text}</Words></span>;
}

/** Names that one search shows. */
const FOUND = 20;

function Pick({ label, value, set }: { label: string; value: string; set: (name: string | undefined) => void }) {
  const [text, setText] = useState("");
  const [q] = useDebouncedValue(text === value ? "" : text.trim(), 150);
  const [wanted, setWanted] = useState(false);
  const { data } = useQuery({ ...read.devices(q ? { q } : {}, 0, FOUND), enabled: wanted, placeholderData: (before) => before });
  const names = (data?.items ?? []).map(({ metadata }) => metadata.name);
  return (
    <Select
      aria-label={label}
      placeholder={`${label}: type some of its name`}
      data={value && !names.includes(value) ? [value, ...names] : names}
      value={value || null}
      onChange={(name) => set(name ?? undefined)}
      onSearchChange={setText}
      onFocus={() => setWanted(true)}
      // The server has found them, by a label perhaps.
      filter={({ options }) => options}
      searchable
      clearable
      clearButtonProps={{ "aria-label": `Choose another for: ${label}` }}
      w={300}
      maw="100%"
    />
  );
}
