// Revisions, newest first: who made them, what changed, who runs them; the whole document of any,
// any two compared, and the way back to a former one.
import { Button, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { Revision, Workload } from "../../api/types";
import { who } from "../../lib/activity";
import { editable, toYaml } from "../../lib/document";
import { some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Diff } from "../../ui/Diff";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { Raw } from "../../ui/Raw";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { GoBack } from "./GoBack";
import { ActButton, useCan } from "../../ui/rights";

/** Changed paths that a row names. */
const PATHS = 3;

/** A revision's document as one would apply it. */
const written = (of: Revision) => editable({ apiVersion: of.apiVersion, kind: "Workload", metadata: { name: of.workload, labels: of.metadata.labels ?? {} }, spec: of.spec });

export function Revisions({ workload }: { workload: Workload }) {
  const name = workload.metadata.name;
  const { data, error, refetch } = useQuery(read.revisions(name));
  const [search, setSearch] = useSearch();
  const can = useCan();
  if (!data) return error ? <Failed error={error} what="The revisions could not be read" retry={() => void refetch()} /> : <Loading />;
  const all = [...data.items].sort((a, b) => b.revision - a.revision);
  const find = (number: string | undefined) => all.find((one) => String(one.revision) === number);
  const shown = find(search.show);
  const back = find(search.back);
  return (
    <div className="hf-stack">
      <Card title="Revisions">
        <table className="hf-table hf-folds">
          <thead><tr><th>Revision</th><th>Made</th><th>By</th><th>Changed</th><th className="hf-number">Devices</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
          <tbody>
            {all.map((one, index) => (
              <tr key={one.revision}>
                <td><span className="hf-row hf-tight">{one.revision}{one.current && <State tone="good">current</State>}</span></td>
                <td data-label="Made"><Time at={one.metadata.createdAt} /></td>
                <td data-label="By">{who(one.createdBy, one.createdByName)}</td>
                <td data-label="Changed">{all[index + 1] ? some(one.changed ?? [], (one.changed ?? []).length, PATHS) : ""}</td>
                <td className="hf-number" data-label="Devices">{(one.devices ?? 0).toLocaleString("en")}</td>
                <td>
                  <span className="hf-row hf-tight">
                    <Button size="compact-xs" variant="subtle" aria-label={`Show revision ${one.revision}`} onClick={() => setSearch({ show: search.show === String(one.revision) ? undefined : String(one.revision) })}>Show</Button>
                    {all[index + 1] && <Button size="compact-xs" variant="subtle" aria-label={`What changed in revision ${one.revision}`} onClick={() => setSearch({ from: String(all[index + 1]?.revision), to: String(one.revision) })}>What changed</Button>}
                    {!one.current && <ActButton may="workload.rollback" size="compact-xs" variant="subtle" aria-label={`Go back to revision ${one.revision}`} onClick={() => setSearch({ back: String(one.revision) })}>Go back…</ActButton>}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Card>
      {shown && (
        <Card title={`Document of revision ${shown.revision}`} aside={<Button size="compact-xs" variant="subtle" onClick={() => setSearch({ show: undefined })}>Close</Button>}>
          <Raw of={written(shown)} label={`YAML of revision ${shown.revision}`} />
        </Card>
      )}
      <Compare all={all} />
      {back && can("workload.rollback").allowed && <GoBack workload={workload} to={back.revision} close={() => setSearch({ back: undefined })} />}
    </div>
  );
}

function Compare({ all }: { all: readonly Revision[] }) {
  const [search, setSearch] = useSearch();
  const find = (number: string | undefined) => all.find((one) => String(one.revision) === number);
  const after = find(search.to) ?? all[0];
  const before = find(search.from) ?? all.find((one) => after && one.revision < after.revision);
  if (!after) return null;
  const choices = all.map((one) => ({ value: String(one.revision), label: `Revision ${one.revision}` }));
  const text = (of: Revision | undefined) => (of ? toYaml({ metadata: { labels: of.metadata.labels ?? {} }, spec: of.spec }) : "");
  return (
    <Card title="Difference">
      <div className="hf-row">
        <Select size="xs" label="From" data={choices} value={before ? String(before.revision) : null} placeholder="nothing" onChange={(from) => setSearch({ from: from ?? undefined })} />
        <Select size="xs" label="To" data={choices} value={String(after.revision)} onChange={(to) => setSearch({ to: to ?? undefined })} allowDeselect={false} />
      </div>
      <Diff before={text(before)} after={text(after)} label={`Difference from ${before ? `revision ${before.revision}` : "nothing"} to revision ${after.revision}`} />
    </Card>
  );
}
