// What the programs and these pages are made of, and under which licences.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import * as read from "../../api/queries";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";

interface Licence {
  name: string;
  version: string;
  licence: string;
}

export function Licences() {
  const [open, setOpen] = useState(false);
  const crates = useQuery({ ...read.licences(), enabled: open });
  // Written by the build beside the pages.
  const packages = useQuery({ queryKey: ["licences.json"], enabled: open, staleTime: Infinity, queryFn: async () => ((await (await fetch("/licences.json")).json()) as { items: Licence[] }).items });
  return (
    <Card title="Licences">
      <p>Holdfast is under Apache-2.0. It includes the work of others:</p>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>Packages of the programs and of these pages</summary>
        <div className="hf-grid">
          <List title="Programs" of={crates.data?.items} error={crates.error} />
          <List title="Pages" of={packages.data} error={packages.error} />
        </div>
      </details>
    </Card>
  );
}

function List({ title, of, error }: { title: string; of: readonly Licence[] | undefined; error: unknown }) {
  if (!of) return error ? <Failed error={error} what={`${title}: not known`} /> : <Loading rows={3} />;
  return (
    <div>
      <h3>{title}</h3>
      <table className="hf-table">
        <thead><tr><th>Package</th><th>Version</th><th>Licence</th></tr></thead>
        <tbody>{of.map((one) => <tr key={`${one.name}@${one.version}`}><td>{one.name}</td><td>{one.version}</td><td>{one.licence}</td></tr>)}</tbody>
      </table>
    </div>
  );
}
