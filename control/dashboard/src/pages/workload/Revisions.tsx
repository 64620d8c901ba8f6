// Revisions, newest first; any two compared.
import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { toYaml } from "../../lib/document";
import { Card } from "../../ui/Card";
import { Diff } from "../../ui/Diff";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

export function Revisions({ name }: { name: string }) {
  const { data, error, refetch } = useQuery(read.revisions(name));
  const [search, setSearch] = useSearch();
  if (!data) return error ? <Failed error={error} what="The revisions could not be read" retry={() => void refetch()} /> : <Loading />;
  const all = [...data.items].sort((a, b) => b.revision - a.revision);
  const find = (number: string | undefined) => all.find((one) => String(one.revision) === number);
  const after = find(search.to) ?? all[0];
  const before = find(search.from) ?? all.find((one) => after && one.revision < after.revision);
  const choices = all.map((one) => ({ value: String(one.revision), label: `Revision ${one.revision}` }));
  const text = (of: (typeof all)[number] | undefined) => (of ? toYaml({ metadata: { labels: of.metadata.labels ?? {} }, spec: of.spec }) : "");
  return (
    <div className="hf-stack">
      <Card title="Revisions">
        <table className="hf-table hf-folds">
          <thead><tr><th>Revision</th><th>Made</th><th>By</th><th><span className="hf-hidden">Compare</span></th></tr></thead>
          <tbody>
            {all.map((one, index) => (
              <tr key={one.revision}>
                <td>{one.revision}</td>
                <td data-label="Made"><Time at={one.metadata.createdAt} /></td>
                <td data-label="By">{one.createdBy}</td>
                <td>{all[index + 1] && <button type="button" className="hf-label" onClick={() => setSearch({ from: String(all[index + 1]?.revision), to: String(one.revision) })}>What changed</button>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Card>
      {after && (
        <Card title="Difference">
          <div className="hf-row">
            <Select size="xs" label="From" data={choices} value={before ? String(before.revision) : null} placeholder="nothing" onChange={(from) => setSearch({ from: from ?? undefined })} />
            <Select size="xs" label="To" data={choices} value={String(after.revision)} onChange={(to) => setSearch({ to: to ?? undefined })} allowDeselect={false} />
          </div>
          <Diff before={text(before)} after={text(after)} label={`Difference from ${before ? `revision ${before.revision}` : "nothing"} to revision ${after.revision}`} />
        </Card>
      )}
    </div>
  );
}
