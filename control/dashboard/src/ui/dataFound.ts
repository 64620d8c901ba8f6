// What Ctrl-K finds of data: streams of devices, and the documents about them.
import { useQuery } from "@tanstack/react-query";
import * as read from "../api/queries";
import { KINDS, policyAt, type PolicyKind } from "../lib/policies";
import { deviceAt, type Target } from "./PageLink";

export interface DataFound {
  key: string;
  kind: string;
  text: string;
  finds: string;
  go: Target;
}

/** Streams that one search asks for. */
const STREAMS = 8;

export function useDataFound(query: string): DataFound[] {
  const asked = { enabled: query !== "", placeholderData: <T>(before: T) => before };
  const streams = useQuery({ ...read.streams(query, "", STREAMS), ...asked });
  const policies = useQuery({ ...read.policies("streams"), ...asked });
  const budgets = useQuery({ ...read.policies("linkbudgets"), ...asked });
  if (query === "") return [];
  const document = (kind: PolicyKind) => ({ metadata: { name } }: { metadata: { name: string } }): DataFound => ({ key: `${kind}/${name}`, kind: KINDS[kind].one, text: name, finds: name, go: { to: policyAt(kind, name) } });
  return [
    ...(policies.data?.items ?? []).map(document("streams")),
    ...(budgets.data?.items ?? []).map(document("linkbudgets")),
    ...(streams.data?.items ?? []).map(({ device, stream }): DataFound => ({ key: `s/${device}/${stream}`, kind: "Stream", text: `${stream} of ${device}`, finds: `${stream} ${device}`, go: { to: deviceAt(device), search: { tab: "streams", stream } } })),
  ];
}
