// The frame of a page about one thing of the fleet: while it is read, when there is none of that
// name, and else its head, a line about it, and its parts as tabs.
import type { UseQueryResult } from "@tanstack/react-query";
import { Refusal } from "../api/client";
import type { Action } from "../api/routes";
import { Loading } from "./Loading";
import { Failed, Notice } from "./Notice";
import { PageHead } from "./PageHead";
import { PageLink, type Target } from "./PageLink";
import { Tabs } from "./Tabs";

/** A tab: one line in the page's own table. */
export interface Part<T> {
  key: string;
  title: string;
  show: (of: T) => React.ReactNode;
  /** Parameters of the address that this part has, too, and does not take over from another. */
  anew?: readonly string[];
  /** What it reads: whoever may not sees why. */
  needs?: Action;
}

interface Props<T> {
  kind: string;
  /** Where all of its kind are, when that is not their plain plural. */
  all?: Target & { words: string };
  name: string;
  of: UseQueryResult<T>;
  parts: readonly Part<T>[];
  /** Beside the name: how it stands. */
  state: (of: T) => React.ReactNode;
  /** What can be done with it. */
  actions: (of: T) => React.ReactNode;
  /** A line below the name. */
  about: (of: T) => React.ReactNode;
  /** Dialogs that are open. */
  children: (of: T) => React.ReactNode;
}

export function Resource<T>({ kind, all = { to: `/${kind}s`, words: `To the ${kind}s` }, name, of: { data, error, refetch }, parts, state, actions, about, children }: Props<T>) {
  if (error instanceof Refusal && error.status === 404) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        <Notice tone="idle" title={`There is no ${kind} ${name}`}><PageLink to={all.to} {...(all.search ? { search: all.search } : {})}>{all.words}</PageLink></Notice>
      </div>
    );
  }
  if (data === undefined) {
    return (
      <div className="hf-stack">
        <PageHead title={name} />
        {error ? <Failed error={error} what={`The ${kind} could not be read`} retry={() => void refetch()} /> : <Loading rows={8} />}
      </div>
    );
  }
  return (
    <div className="hf-stack">
      <PageHead title={name} aside={state(data)}>{actions(data)}</PageHead>
      <div className="hf-row">{about(data)}</div>
      <Tabs label={`Parts of the ${kind}`} parts={parts.map(({ show, ...part }) => ({ ...part, show: () => show(data) }))} />
      {children(data)}
    </div>
  );
}
