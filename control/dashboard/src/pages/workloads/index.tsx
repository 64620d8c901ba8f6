// All workloads with their states across the fleet, filtered by state as the fleet's counts are.
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { count } from "../../lib/words";
import { Health } from "../../ui/Health";
import { Icon } from "../../ui/icons";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink, workloadAt } from "../../ui/PageLink";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { parse } from "../../lib/selector";
import { counts, states, STATES, WORDS, worst, type WorkloadState } from "./filter";

/** Rows that are drawn at once; more are found by their name. */
const MOST = 500;
/** What this page reads from its address. */
const KNOWN = ["q", "labels", "state"];

export default function Workloads() {
  const [search, setSearch] = useSearch();
  const { fault } = parse(search.labels ?? "");
  const labels = fault === undefined ? search.labels : undefined;
  const { data, error, refetch } = useQuery(read.workloads(labels));
  const q = (search.q ?? "").trim();
  const { wanted, bad } = states(search.state);
  const all = data?.items ?? [];
  const named = all.filter((workload) => workload.metadata.name.includes(q));
  const found = named.filter(({ status }) => wanted.length === 0 || wanted.includes(status.state)).sort(worst);
  const filtered = q !== "" || wanted.length > 0 || Boolean(labels);
  const ignored = [
    ...(bad.length > 0 ? [`state=${bad.join(",")}: it takes ${STATES.join(", ")}`] : []),
    ...(fault === undefined ? [] : [`labels=${search.labels}: ${fault}`]),
    ...Object.keys(search).filter((name) => !KNOWN.includes(name)).map((name) => `${name}: this page has no such parameter`),
  ];
  const drop = () => setSearch({ ...Object.fromEntries(Object.keys(search).filter((name) => !KNOWN.includes(name)).map((name) => [name, undefined])), state: wanted.join(","), labels });
  return (
    <div className="hf-stack">
      <PageHead title="Workloads" aside={data && <span className="hf-kind" role="status">{filtered ? `${found.length.toLocaleString("en")} of ${count(all.length, "workload")}` : count(all.length, "workload")}</span>}>
        <PageLink to="/artifact">Push an artifact</PageLink>
        <PageLink to="/apply">Apply a workload</PageLink>
      </PageHead>
      {all.length > 0 && (
        <div className="hf-row">
          {(all.length > 5 || q !== "") && <TextInput aria-label="Find by name" placeholder="Name" leftSection={<Icon name="search" />} value={search.q ?? ""} onChange={(event) => setSearch({ q: event.currentTarget.value })} w={220} />}
          <ByState all={counts(named)} wanted={wanted} set={(next) => setSearch({ state: next.join(",") })} />
        </div>
      )}
      {labels && <div><button type="button" className="hf-label" onClick={() => setSearch({ labels: undefined })} aria-label={`Take away: ${labels}`}>{labels} ✕</button></div>}
      {ignored.length > 0 && (
        <Notice tone="warn" alert title={filtered ? "A part of this address was ignored: the list is filtered by the rest alone" : "A part of this address was ignored: the list shows all workloads"}>
          <ul>{ignored.map((one) => <li key={one}>{one}</li>)}</ul>
          <Button size="xs" variant="default" onClick={drop}>Take it out of the address</Button>
        </Notice>
      )}
      {!data && (error ? <Failed error={error} what="The workloads could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && all.length === 0 && !labels && <Notice tone="move" title="No workload yet">The next step: <PageLink to="/apply">apply one</PageLink>. The editor has an example to begin with.</Notice>}
      {data && found.length === 0 && filtered && (
        <Notice tone="idle" title="No workload is like that">
          <Button variant="default" size="xs" onClick={() => setSearch({ q: undefined, labels: undefined, state: undefined })}>Take all filters away</Button>
        </Notice>
      )}
      {found.length > 0 && (
        <div className="hf-card">
          <table className="hf-table hf-folds">
            <thead><tr><th>Name</th><th>State on its devices</th><th className="hf-number">Revision</th><th className="hf-number">Devices</th><th>Labels</th><th>Changed</th></tr></thead>
            <tbody>
              {found.slice(0, MOST).map(({ metadata, status }) => (
                <tr key={metadata.name}>
                  <td><PageLink className="hf-cut" to={workloadAt(metadata.name)} title={metadata.name}>{metadata.name}</PageLink></td>
                  <td data-label="State"><Health of={status} /></td>
                  <td className="hf-number" data-label="Revision">{status.revision}</td>
                  <td className="hf-number" data-label="Devices">{status.desired === 0 ? "none" : <PageLink to="/devices" search={{ workload: metadata.name }} aria-label={`${count(status.desired, "device")} of ${metadata.name}`}>{status.desired.toLocaleString("en")}</PageLink>}</td>
                  <td data-label="Labels">{Object.keys(metadata.labels ?? {}).length > 0 && <Labels of={metadata.labels} to="/workloads" />}</td>
                  <td data-label="Changed" className="hf-nowrap"><Time at={metadata.updatedAt} /></td>
                </tr>
              ))}
            </tbody>
          </table>
          {found.length > MOST && <p className="hf-kind">and {found.length - MOST} more: find them by name</p>}
        </div>
      )}
    </div>
  );
}

/** A button for each state that there is, with its number; several may be on. */
function ByState({ all, wanted, set }: { all: Record<string, number>; wanted: WorkloadState[]; set: (next: WorkloadState[]) => void }) {
  return (
    <div className="hf-row hf-tight" role="group" aria-label="Filter by state">
      <Button size="xs" variant={wanted.length === 0 ? "light" : "default"} aria-pressed={wanted.length === 0} onClick={() => set([])}>All</Button>
      {STATES.filter((state) => (all[state] ?? 0) > 0 || wanted.includes(state)).map((state) => {
        const on = wanted.includes(state);
        return <Button key={state} size="xs" variant={on ? "light" : "default"} aria-pressed={on} onClick={() => set(on ? wanted.filter((one) => one !== state) : [...wanted, state])}>{all[state] ?? 0} {WORDS[state]}</Button>;
      })}
    </div>
  );
}
