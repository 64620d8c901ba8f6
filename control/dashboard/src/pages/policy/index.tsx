// One document about data, a secret or a configuration: where it applies and how it does there, its text to edit, its end.
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { deletePolicy } from "../../api/actions";
import * as read from "../../api/queries";
import type { components } from "../../api/schema";
import { EditPane } from "../../editor/EditPane";
import { editable, toYaml } from "../../lib/document";
import type { Json } from "../../lib/merge";
import { hasValues, KINDS, kindOf, tabOf, type PolicyKind } from "../../lib/policies";
import { count, some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Labels } from "../../ui/Labels";
import { Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { PageLink } from "../../ui/PageLink";
import { Raw } from "../../ui/Raw";
import { Resource, type Part } from "../../ui/Resource";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { Words } from "../../ui/Words";
import { Devices } from "./Devices";
import { ActButton } from "../../ui/rights";

type Policy = components["schemas"]["DataPolicy"];

/** From so many devices on the name is typed before it is deleted. */
const MANY = 2;

export default function PolicyPage() {
  const { kind: text, name = "" } = useParams({ strict: false }) as { kind?: string; name?: string };
  const kind = kindOf(text);
  if (!kind) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        <Notice tone="idle" title="There is no such page"><PageLink to="/policies">To the data policies</PageLink></Notice>
      </div>
    );
  }
  return <One key={`${kind}/${name}`} kind={kind} name={name} />;
}

function parts(kind: PolicyKind): readonly Part<Policy>[] {
  return [
    { key: "devices", title: "Where it applies", show: (policy) => <><Misfits of={policy} /><Devices kind={kind} name={policy.metadata.name} /></> },
    { key: "edit", title: "Edit", needs: "document.apply", show: (policy) => <Edit kind={kind} policy={policy} /> },
    { key: "raw", title: "Document", show: (policy) => <Raw of={policy} label={`The document of ${policy.metadata.name}`} /> },
  ];
}

function One({ kind, name }: { kind: PolicyKind; name: string }) {
  const [deleting, setDeleting] = useState(false);
  const navigate = useNavigate();
  const { one } = KINDS[kind];
  return (
    <Resource
      kind={one}
      all={{ to: "/policies", search: { tab: tabOf(kind) }, words: `To the ${KINDS[kind].many}` }}
      name={name}
      of={useQuery(read.policy(kind, name))}
      parts={parts(kind)}
      state={({ status }) => (status.devices === 0 ? <State tone="idle">{hasValues(kind) ? "on no device" : "applies to none"}</State> : status.applied === status.devices ? <State tone="good">in force on {count(status.devices, "device")}</State> : <State tone="move">in force on {status.applied} of {count(status.devices, "device")}</State>)}
      actions={() => <ActButton may="policy.delete" size="xs" color="red" variant="outline" onClick={() => setDeleting(true)}>Delete…</ActButton>}
      about={({ metadata, status }) => (
        <>
          <span className="hf-kind">{one}, changed <Time at={metadata.updatedAt} />{hasValues(kind) && `, used by ${some(status.values?.usedBy ?? [], status.values?.users, 5) || "nothing"}`}{kind === "streams" && `, decides for ${count(status.streams ?? 0, "stream")}`}</span>
          {Object.keys(metadata.labels ?? {}).length > 0 && <Labels of={metadata.labels} to="/policies" />}
        </>
      )}
    >
      {({ metadata, status }) => deleting && (
        <Confirm
          title={`Delete ${name}?`}
          act={`Delete ${name}`}
          typed={status.devices >= MANY ? name : undefined}
          run={async () => {
            await deletePolicy(kind, name, metadata.resourceVersion ?? 0);
            say(`${name} is deleted`);
            void navigate({ to: "/policies" as never, search: { tab: tabOf(kind) } as never });
          }}
          close={() => setDeleting(false)}
        >
          {hasValues(kind) ? (
            <p>The values of the {one} <strong>{name}</strong> are gone for good. While a workload or a notification refers to one of them, this is refused.</p>
          ) : kind === "streams" ? (
            <p>The {one} <strong>{name}</strong> no longer applies to {count(status.devices, "device")}; its {count(status.streams ?? 0, "stream")} follow another policy that matches them, or are shipped as they come. Nothing that was stored is deleted.</p>
          ) : (
            <p>The {one} <strong>{name}</strong> no longer bounds the links of {count(status.devices, "device")}: where no other budget matches, they carry as much as they can, which may cost money.</p>
          )}
        </Confirm>
      )}
    </Resource>
  );
}

function Misfits({ of: { status } }: { of: Policy }) {
  const misfits = status.misfits ?? [];
  if (misfits.length === 0) return null;
  return (
    <div className="hf-out">
      <Card title="To be looked at" aside={status.problems > 0 && <State tone="warn">{count(status.problems, "device")} with a problem</State>}>
        <ul>{misfits.map((misfit) => <li key={misfit}><Words>{misfit}</Words></li>)}</ul>
      </Card>
    </div>
  );
}

function Edit({ kind, policy }: { kind: PolicyKind; policy: Policy }) {
  // What was read when the editing began: later versions show as a conflict, not under the hands.
  const [first] = useState(() => ({ name: policy.metadata.name, kind: KINDS[kind].kind, version: policy.metadata.resourceVersion ?? 0, document: editable(policy) as Json }));
  const [, setSearch] = useSearch();
  return (
    <EditPane
      draft={`${kind}/${first.name}`}
      initial={toYaml(first.document)}
      base={first}
      label={`Document of ${first.name}, YAML`}
      applied={(results) => {
        say(`${results[0]?.name ?? first.name} is ${results[0]?.action ?? "applied"}`);
        setSearch({ tab: undefined });
      }}
    />
  );
}
