// What Ctrl-K finds of data beside the documents: streams of devices, by their names.
import { useQuery } from "@tanstack/react-query";
import * as read from "../api/queries";
import { deviceAt, type Target } from "./PageLink";

export interface StreamFound {
  key: string;
  text: string;
  finds: string;
  go: Target;
}

/** Streams that one search asks for. */
const STREAMS = 8;

export function useStreamsFound(query: string): StreamFound[] {
  const { data } = useQuery({ ...read.streams(query, "", STREAMS), enabled: query !== "", placeholderData: (before) => before });
  if (query === "") return [];
  return (data?.items ?? []).map(({ device, stream }) => ({ key: `r/${device}/${stream}`, text: `${stream} of ${device}`, finds: `${stream} ${device}`, go: { to: deviceAt(device), search: { tab: "streams", stream } } }));
}
