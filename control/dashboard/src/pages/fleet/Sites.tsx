// Sites with their devices, the biggest trouble first; each count leads to what it counts.
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
  expectedAway: number;
  ignored: number;
  unhealthy: number;
  failing: number;
  overdue: number;
}

/** Rows before one asks for more. */
const FIRST = 20;

export function Sites({ sites, more }: { sites: Site[]; more: number }) {
  const [filter, setFilter] = useState("");
  const [all, setAll] = useState(false);
  if (sites.length === 0) return null;
  const found = sites.filter((site) => site.site.includes(filter.trim()));
  const shown = all || filter ? found : found.slice(0, FIRST);
  return (
    <Card
      title="Sites"
      aside={
        <span className="hf-row">
          {sites.length > FIRST && <TextInput size="xs" aria-label="Find a site" placeholder="Find a site" value={filter} onChange={(event) => setFilter(event.currentTarget.value)} />}
          <PageLink to="/devices" search={{ group: "site" }}>Devices by site</PageLink>
        </span>
      }
    >
      <table className="hf-table hf-folds">
        <thead>
          <tr><th>Site</th><th className="hf-number">Devices</th><th className="hf-number">Online</th><th className="hf-number">Unhealthy</th><th className="hf-number">Of those failing</th><th className="hf-number">Offline or never seen</th></tr>
        </thead>
        <tbody>
          {shown.map((site) => {
            const at: Record<string, string> = site.site === "" ? { labels: "!site" } : { site: site.site };
            const number = (value: number, what: string, search: Record<string, string>) =>
              value === 0 ? "–" : <PageLink to="/devices" search={{ ...at, ...search }} aria-label={`${value.toLocaleString("en")} ${what}, ${site.site || "no site"}`}>{value.toLocaleString("en")}</PageLink>;
            return (
              <tr key={site.site}>
                <td>
                  <span className="hf-row">
                    <PageLink to="/devices" search={at} className="hf-cut" title={site.site}>{site.site === "" ? "no site" : site.site}</PageLink>
                    {site.offline + site.unhealthy + site.overdue === 0 && site.online > 0 && <State tone="good">{site.expectedAway + site.ignored === 0 ? "all online" : "all others online"}, none unhealthy</State>}
                    {site.overdue > 0 && <State tone="warn">{number(site.overdue, "not heard in time", { connection: "online", health: "unknown" })} not heard in time</State>}
                    {site.expectedAway > 0 && <span className="hf-kind">{number(site.expectedAway, "away as expected", { absence: "expected" })} away as expected</span>}
                  </span>
                </td>
                <td className="hf-number" data-label="Devices">{number(site.total, "devices", {})}</td>
                <td className="hf-number" data-label="Online">{number(site.online, "online", { connection: "online" })}</td>
                <td className="hf-number" data-label="Unhealthy">{number(site.unhealthy, "unhealthy", { health: "failing,problem" })}</td>
                <td className="hf-number" data-label="Of those failing">{number(site.failing, "failing", { health: "failing" })}</td>
                <td className="hf-number" data-label="Offline or never seen">{number(site.offline, "offline or never seen", { absence: "unexpected" })}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {shown.length < found.length && <p><button type="button" className="hf-label" onClick={() => setAll(true)}>Show all {found.length}</button></p>}
      {more > 0 && <p className="hf-kind">and {more.toLocaleString("en")} more sites, all smaller trouble: <PageLink to="/devices" search={{ group: "site" }}>all devices by site</PageLink></p>}
    </Card>
  );
}
