// A page's state in its address: texts by name. Changes replace the entry of the history, so that
// the way back leads to the page before.
import { useNavigate, useSearch as useRouterSearch } from "@tanstack/react-router";
import { useCallback } from "react";

export type Search = Record<string, string | undefined>;

const given = (search: Search) => Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined && value !== ""));

/** What the address holds, what changes some of it, and what puts another in its place. */
export function useSearch(): [Search, (change: Search, push?: boolean) => void, (to: Search) => void] {
  const search = useRouterSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const set = useCallback(
    (change: Search, push = false) => {
      void navigate({ to: ".", replace: !push, resetScroll: false, search: ((before: Search) => given({ ...before, ...change })) as never });
    },
    [navigate],
  );
  const go = useCallback((to: Search) => void navigate({ to: ".", resetScroll: false, search: given(to) as never }), [navigate]);
  return [search, set, go];
}
