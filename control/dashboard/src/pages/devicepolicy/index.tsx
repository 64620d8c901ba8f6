// One device policy: on which devices it holds and who of them is away, its document to edit, and
// its end.
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { changedPolicies, deleteDevicePolicy, devicePolicy, type DevicePolicy } from "../../api/absence";
import { Refusal } from "../../api/client";
import { EditPane } from "../../editor/EditPane";
import { rule } from "../../lib/absence";
import { editable, toYaml } from "../../lib/document";
import type { Json } from "../../lib/merge";
import { count, some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { Raw } from "../../ui/Raw";
import { say } from "../../ui/say";
import { State, type Tone } from "../../ui/State";
import { Tabs } from "../../ui/Tabs";
import { Time } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { useSearch } from "../../ui/useSearch";
import { policyAt } from "../away";
import { ActButton } from "../../ui/rights";

const ALL = "/devicepolicies";

export default function DevicePolicyPage() {
  const name = useName();
  const [deleting, setDeleting] = useState(false);
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(devicePolicy(name));
  if (error instanceof Refusal && error.status === 404) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        <Notice tone="idle" title={`There is no device policy ${name}`}><PageLink to={ALL}>To the device policies</PageLink></Notice>
      </div>
    );
  }
  if (!data) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        {error ? <Failed error={error} what="The device policy could not be read" retry={() => void refetch()} /> : <Loading rows={8} />}
      </div>
    );
  }
  const { metadata, spec, status } = data;
  return (
    <div className="hf-stack">
      <PageHead title={name} aside={<span className="hf-kind">device policy</span>}>
        <ActButton may="policy.delete" size="xs" color="red" variant="outline" onClick={() => setDeleting(true)}>Delete…</ActButton>
      </PageHead>
      <div className="hf-row"><span className="hf-kind">when offline: {rule(spec)}; changed <Time at={metadata.updatedAt} /></span></div>
      <Tabs
        label="Parts of the device policy"
        parts={[
          { key: "devices", title: "Where it holds", show: () => <Where of={data} /> },
          { key: "edit", title: "Edit", needs: "document.apply", show: () => <Edit of={data} /> },
          { key: "raw", title: "YAML", show: () => <Raw of={data} label={`The document of ${name}`} /> },
        ]}
      />
      {deleting && (
        <Confirm
          title={`Delete ${name}?`}
          act={`Delete ${name}`}
          run={async () => {
            await deleteDevicePolicy(name, metadata.resourceVersion ?? 0);
            say(`${name} is deleted`);
            void navigate({ to: ALL as never });
          }}
          close={() => setDeleting(false)}
        >
          <p>On {count(status.devices, "device")} another device policy holds then, or none: an alarm after 5 minutes offline. Those that are away now may raise their alarms at once.</p>
        </Confirm>
      )}
    </div>
  );
}

function Where({ of: { status } }: { of: DevicePolicy }) {
  const absence = status.absence;
  if (!absence || absence.devices + absence.overridden === 0) return <Notice tone="warn" title="It holds nowhere">Its selector matches the labels of no approved device.</Notice>;
  const { overridden, overriddenBy = [], conflicts } = absence;
  return (
    <div className="hf-stack">
      {conflicts > 0 && <Notice tone="warn" title={`On ${count(conflicts, "device")} another policy is as narrow and says something else`}>This one holds because its name comes first. Give one of them a further condition.</Notice>}
      {overridden > 0 && (
        <Notice tone="idle" title={`On ${count(overridden, "device")} that it chooses another policy holds`}>
          {overriddenBy.map((other) => <span key={other}><PageLink to={policyAt(other)}>{other}</PageLink> </span>)}
          It has more conditions, or its name comes first.
        </Notice>
      )}
      <div className="hf-grid">
        <Card title={`Holds on ${count(absence.devices, "device")}`}>
          <p>{count(absence.connected, "device")} connected now.</p>
        </Card>
        <Names title="Away against expectation" tone="bad" names={absence.unexpectedNames ?? []} of={absence.unexpected} search="unexpected" />
        <Names title="Away as expected" tone="idle" names={absence.expectedNames ?? []} of={absence.expected + absence.ignored} search="expected,ignored" />
      </div>
    </div>
  );
}

function Names({ title, tone, names, of, search }: { title: string; tone: Tone; names: readonly string[]; of: number; search: string }) {
  return (
    <Card title={title}>
      {of === 0 ? <p>None.</p> : (
        <div className="hf-stack hf-tight">
          <State tone={tone}>{count(of, "device")}</State>
          <span className="hf-row hf-tight">
            {names.map((name) => <PageLink key={name} className="hf-label" to={deviceAt(name)}>{name}</PageLink>)}
            {of > names.length && <PageLink to="/devices" search={{ absence: search }}>{some([], of - names.length).replace(/^ and /, "")}</PageLink>}
          </span>
        </div>
      )}
    </Card>
  );
}

function Edit({ of }: { of: DevicePolicy }) {
  // What was read when the editing began: later versions show as a conflict, not under the hands.
  const [first] = useState(() => ({ name: of.metadata.name, kind: "DevicePolicy", version: of.metadata.resourceVersion ?? 0, document: { ...editable(of), kind: "DevicePolicy" } as unknown as Json }));
  const [, setSearch] = useSearch();
  return (
    <EditPane
      draft={`devicepolicy/${first.name}`}
      initial={toYaml(first.document)}
      base={first}
      label={`Document of ${first.name}, YAML`}
      applied={(results) => {
        say(`${results[0]?.name ?? first.name} is ${results[0]?.action ?? "applied"}`);
        void changedPolicies();
        setSearch({ tab: undefined });
      }}
    />
  );
}
