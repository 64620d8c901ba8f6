// Sites with their devices, the biggest trouble first.
import { TextInput } from "@mantine/core";
import { useState } from "react";
import { Card } from "../../ui/Card";
import { PageLink } from "../../ui/PageLink";
import { State } from "../../ui/State";

interface Site {
  site: string;
  total: number;
  online: number;
  offline: number;
  unhealthy: number;
  failing: number;
}

/** Rows before one asks for more. */
const FIRST = 20;

export function Sites({ sites, more }: { sites: Site[]; more: number }) {
  const [filter, setFilter] = useState("");
  const [all, setAll] = useState(false);
  if (sites.length === 0) return null;
  const found = sites.filter((site) => site.site.includes(filter.trim()));
  const shown = all || filter ? found : found.slice(0, FIRST);
  const number = (value: number) => (value === 0 ? "–" : value.toLocaleString("en"));
  return (
    <Card
      title="Sites"
      aside={sites.length > FIRST && <TextInput size="xs" aria-label="Find a site" placeholder="Find a site" value={filter} onChange={(event) => setFilter(event.currentTarget.value)} />}
    >
      <table className="hf-table hf-folds">
        <thead>
          <tr><th>Site</th><th className="hf-number">Devices</th><th className="hf-number">Online</th><th className="hf-number">Offline</th><th className="hf-number">With problems</th><th className="hf-number">Failing</th></tr>
        </thead>
        <tbody>
          {shown.map((site) => (
            <tr key={site.site}>
              <td>
                <span className="hf-row">
                  <PageLink to="/devices" search={site.site === "" ? { labels: "!site" } : { site: site.site }}>{site.site === "" ? "no site" : site.site}</PageLink>
                  {site.offline + site.unhealthy === 0 && <State tone="good">all well</State>}
                </span>
              </td>
              <td className="hf-number" data-label="Devices">{number(site.total)}</td>
              <td className="hf-number" data-label="Online">{number(site.online)}</td>
              <td className="hf-number" data-label="Offline">{number(site.offline)}</td>
              <td className="hf-number" data-label="Unhealthy">{number(site.unhealthy)}</td>
              <td className="hf-number" data-label="Failing">{number(site.failing)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < found.length && <p><button type="button" className="hf-label" onClick={() => setAll(true)}>Show all {found.length}</button></p>}
      {more > 0 && <p className="hf-kind">and {more.toLocaleString("en")} more sites, all smaller trouble: filter the devices by their site label</p>}
    </Card>
  );
}
