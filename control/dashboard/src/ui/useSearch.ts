// A page's state in its address: texts by name. Changes replace the entry of the history, so that
// the way back leads to the page before.
import { useNavigate, useSearch as useRouterSearch } from "@tanstack/react-router";
import { useCallback } from "react";

export type Search = Record<string, string | undefined>;

export function useSearch(): [Search, (change: Search, push?: boolean) => void] {
  const search = useRouterSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const set = useCallback(
    (change: Search, push = false) => {
      void navigate({
        to: ".",
        replace: !push,
        resetScroll: false,
        search: ((before: Search) => Object.fromEntries(Object.entries({ ...before, ...change }).filter(([, value]) => value !== undefined && value !== ""))) as never,
      });
    },
    [navigate],
  );
  return [search, set];
}
