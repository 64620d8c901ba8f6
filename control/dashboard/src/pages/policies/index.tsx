// Documents about data (stream policies and link budgets), secrets and configurations, with where
// they apply and where they do not do what one may expect.
import { TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { hasValues, KINDS, policyAt, type PolicyKind } from "../../lib/policies";
import { count, some } from "../../lib/words";
import { Icon } from "../../ui/icons";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { State } from "../../ui/State";
import { Tabs } from "../../ui/Tabs";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { Words } from "../../ui/Words";

/** Device names that a row tells. */
const NAMES = 3;
/** Documents from which on there is a search. */
const MANY = 8;

export default function Policies() {
  return (
    <div className="hf-stack">
      <PageHead title="Policies and secrets">
        <PageLink to="/policies/new" search={{ kind: "streams" }}>New stream policy</PageLink>
        <PageLink to="/policies/new" search={{ kind: "linkbudgets" }}>New link budget</PageLink>
        <PageLink to="/policies/new" search={{ kind: "secrets" }}>New secret</PageLink>
        <PageLink to="/policies/new" search={{ kind: "configs" }}>New configuration</PageLink>
      </PageHead>
      <Tabs label="Policies and secrets" parts={[
        { key: "streams", title: "Stream policies", show: () => <List kind="streams" /> },
        { key: "budgets", title: "Link budgets", show: () => <List kind="linkbudgets" /> },
        { key: "secrets", title: "Secrets", show: () => <List kind="secrets" /> },
        { key: "configs", title: "Configurations", show: () => <List kind="configs" /> },
      ]} />
    </div>
  );
}

/** What is the case while there is no document of a kind. */
const WITHOUT: Record<PolicyKind, string> = {
  streams: "Every stream is shipped as it comes.",
  linkbudgets: "Every link carries as much as it can.",
  secrets: "No workload refers to a secret.",
  configs: "No workload refers to a configuration.",
};

/** What the second column tells. */
const GIVES: Record<PolicyKind, string> = { streams: "Streams", linkbudgets: "Gives", secrets: "Keys", configs: "Keys" };

function List({ kind }: { kind: PolicyKind }) {
  const [search, setSearch] = useSearch();
  const { data, error, refetch } = useQuery(read.policies(kind));
  const { one, many, about } = KINDS[kind];
  if (!data) return error ? <Failed error={error} what={`The ${many} could not be read`} retry={() => void refetch()} /> : <Loading />;
  const q = (search.q ?? "").trim().toLowerCase();
  const found = data.items.filter(({ metadata }) => metadata.name.includes(q));
  return (
    <div className="hf-stack">
      <p className="hf-kind">{about}</p>
      {data.items.length > MANY && <TextInput aria-label="Find by name" placeholder="Name" leftSection={<Icon name="search" />} value={search.q ?? ""} onChange={(event) => setSearch({ q: event.currentTarget.value || undefined })} maw={320} />}
      {data.items.length === 0 ? (
        <Notice tone="move" title={`No ${one} yet`}>{WITHOUT[kind]} The next step: <PageLink to="/policies/new" search={{ kind }}>make one</PageLink>. The editor has an example to begin with.</Notice>
      ) : (
        <div className="hf-card">
          <table className="hf-table hf-folds">
            <thead><tr><th>Name</th><th>{GIVES[kind]}</th><th>Applies to</th><th>State</th><th>To be looked at</th><th>Changed</th></tr></thead>
            <tbody>
              {found.map(({ metadata, spec, status }) => {
                const written = (spec ?? {}) as { streams?: string[]; per?: string; bytes?: string | number; data?: Record<string, unknown> };
                const names = status.names ?? [];
                return (
                  <tr key={metadata.name}>
                    <td><PageLink to={policyAt(kind, metadata.name)}>{metadata.name}</PageLink></td>
                    <td data-label={GIVES[kind]}><span>{hasValues(kind) ? <><span className="hf-mono">{some(Object.keys(written.data ?? {}), undefined, NAMES)}</span> <span className="hf-kind">{some(status.values?.usedBy ?? [], status.values?.users, NAMES)}</span></> : kind === "streams" ? <><span className="hf-mono">{some(written.streams ?? [], undefined, NAMES)}</span> <span className="hf-kind">{count(status.streams ?? 0, "stream")}</span></> : `${written.bytes ?? ""} a ${written.per ?? ""}`}</span></td>
                    <td data-label="Applies to"><span>{count(status.devices, "device")} <span className="hf-kind">{some(names, status.devices, NAMES)}</span></span></td>
                    <td data-label="State">{status.devices === 0 ? <State tone="idle">{hasValues(kind) ? "on no device" : "applies to none"}</State> : status.applied === status.devices ? <State tone="good">in force</State> : <State tone="move">{status.applied} of {status.devices} have it</State>}</td>
                    <td data-label="To be looked at">{(status.misfits ?? []).length > 0 && <span>{status.problems > 0 && <State tone="warn">{count(status.problems, "device")}</State>} <Words>{status.misfits?.[0] ?? ""}</Words>{(status.misfits ?? []).length > 1 && <span className="hf-kind"> and {(status.misfits ?? []).length - 1} more</span>}</span>}</td>
                    <td data-label="Changed"><Time at={metadata.updatedAt} /></td>
                  </tr>
                );
              })}
            </tbody>
          </table>
          {found.length === 0 && <p>None has this in its name.</p>}
        </div>
      )}
    </div>
  );
}
