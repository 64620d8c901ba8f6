// Device policies: which devices may be away, for how long, and who of them is away now.
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { changedPolicies, devicePolicies, type DevicePolicy } from "../../api/absence";
import { EditPane } from "../../editor/EditPane";
import { EXAMPLE, rule } from "../../lib/absence";
import { count } from "../../lib/words";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { ActButton, Allowed } from "../../ui/rights";

export const policyAt = (name: string) => `/devicepolicies/${encodeURIComponent(name)}`;

export default function Away() {
  const [search, setSearch] = useSearch();
  if (search.new !== undefined) return <Allowed may="document.apply"><New /></Allowed>;
  return (
    <div className="hf-stack">
      <PageHead title="Device policies">
        <PageLink to="/devices" search={{ absence: "unexpected" }}>Away against expectation</PageLink>
        <ActButton may="document.apply" size="xs" onClick={() => setSearch({ new: "policy" })}>New device policy</ActButton>
      </PageHead>
      <p className="hf-kind">A device that is offline raises an alarm after 5 minutes, and one that is enrolled and never connects after 15. A device policy says otherwise for the devices that it chooses.</p>
      <List />
    </div>
  );
}

function List() {
  const { data, error, refetch } = useQuery(devicePolicies());
  const [, setSearch] = useSearch();
  if (!data) return error ? <Failed error={error} what="The device policies could not be read" retry={() => void refetch()} /> : <Loading />;
  if (data.items.length === 0) {
    return <Notice tone="idle" title="No device policy yet">Where being away is normal, <button type="button" className="hf-fault" onClick={() => setSearch({ new: "policy" })}>make one</button>: for ships, trucks, field tests.</Notice>;
  }
  return (
    <div className="hf-card">
      <table className="hf-table hf-folds">
        <thead><tr><th>Name</th><th>When offline</th><th className="hf-number">Devices</th><th className="hf-number">Connected</th><th className="hf-number">Away as expected</th><th className="hf-number">Ignored</th><th>Against expectation</th><th>Changed</th></tr></thead>
        <tbody>{data.items.map((policy) => <Row key={policy.metadata.name} of={policy} />)}</tbody>
      </table>
    </div>
  );
}

function Row({ of: { metadata, spec, status } }: { of: DevicePolicy }) {
  const absence = status.absence;
  const against = absence?.unexpected ?? 0;
  return (
    <tr>
      <td><PageLink to={policyAt(metadata.name)}>{metadata.name}</PageLink></td>
      <td data-label="When offline">{rule(spec)}</td>
      <td className="hf-number" data-label="Devices">{status.devices.toLocaleString("en")}</td>
      <td className="hf-number" data-label="Connected">{(absence?.connected ?? 0).toLocaleString("en")}</td>
      <td className="hf-number" data-label="Away as expected">{(absence?.expected ?? 0).toLocaleString("en")}</td>
      <td className="hf-number" data-label="Ignored">{(absence?.ignored ?? 0).toLocaleString("en")}</td>
      <td data-label="Against expectation">{against > 0 ? <State tone="bad">{count(against, "device")}</State> : "none"}</td>
      <td data-label="Changed"><Time at={metadata.updatedAt} /></td>
    </tr>
  );
}

function New() {
  const navigate = useNavigate();
  return (
    <div className="hf-stack">
      <PageHead title="New device policy"><PageLink to="/devicepolicies">All device policies</PageLink></PageHead>
      <EditPane
        draft="devicepolicy"
        initial={EXAMPLE}
        label="Device policy, YAML"
        applied={(results) => {
          const one = results.length === 1 ? results[0] : undefined;
          say(one ? `${one.name} is ${one.action}` : `${count(results.length, "document")} applied`);
          void changedPolicies();
          void navigate({ to: (one ? policyAt(one.name) : "/devicepolicies") as never });
        }}
      />
    </div>
  );
}
