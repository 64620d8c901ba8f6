// All workloads, with how they fare across the fleet.
import { TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { Workload } from "../../api/types";
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

/** Rows that are drawn at once; more are found by their name. */
const MOST = 500;

export default function Workloads() {
  const [search, setSearch] = useSearch();
  const { data, error, refetch } = useQuery(read.workloads(search.labels));
  const q = (search.q ?? "").trim();
  const found = (data?.items ?? []).filter((workload) => workload.metadata.name.includes(q)).sort(worst);
  return (
    <div className="hf-stack">
      <PageHead title="Workloads" aside={data && <span className="hf-kind">{count(data.items.length, "workload")}</span>}>
        <PageLink to="/artifact">Push an artifact</PageLink>
        <PageLink to="/apply">Apply a workload</PageLink>
      </PageHead>
      {(data?.items.length ?? 0) > 5 && <TextInput aria-label="Find by name" placeholder="Name" leftSection={<Icon name="search" />} value={search.q ?? ""} onChange={(event) => setSearch({ q: event.currentTarget.value })} maw={320} />}
      {search.labels && <div><button type="button" className="hf-label" onClick={() => setSearch({ labels: undefined })} aria-label={`Take away: ${search.labels}`}>{search.labels} ✕</button></div>}
      {!data && (error ? <Failed error={error} what="The workloads could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data?.items.length === 0 && <Notice tone="move" title="No workload yet">The next step: <PageLink to="/apply">apply one</PageLink>. The editor has an example to begin with.</Notice>}
      {found.length > 0 && (
        <div className="hf-card">
          <table className="hf-table hf-folds">
            <thead><tr><th>Name</th><th>Health</th><th className="hf-number">Revision</th><th className="hf-number">Devices</th><th>Labels</th><th>Changed</th></tr></thead>
            <tbody>
              {found.slice(0, MOST).map(({ metadata, status }) => (
                <tr key={metadata.name}>
                  <td><PageLink to={workloadAt(metadata.name)}>{metadata.name}</PageLink></td>
                  <td data-label="Health"><Health of={status} /></td>
                  <td className="hf-number" data-label="Revision">{status.revision}</td>
                  <td className="hf-number" data-label="Devices">{status.desired.toLocaleString("en")}</td>
                  <td data-label="Labels">{Object.keys(metadata.labels ?? {}).length > 0 && <Labels of={metadata.labels} to="/workloads" />}</td>
                  <td data-label="Changed"><Time at={metadata.updatedAt} /></td>
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

/** Whatever fails comes first, then what is on its way, then names. */
function worst(a: Workload, b: Workload): number {
  return b.status.failing - a.status.failing || b.status.progressing - a.status.progressing || (a.metadata.name < b.metadata.name ? -1 : 1);
}
