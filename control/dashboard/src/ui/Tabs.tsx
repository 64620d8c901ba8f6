// A page's parts, of which one is shown; the address says which. Where they do not fit beside one
// another they scroll, and the one that is shown is in sight.
import { Tabs as Mantine } from "@mantine/core";
import { useEffect, useRef } from "react";
import type { Action } from "../api/routes";
import { Allowed } from "./rights";
import { useSearch } from "./useSearch";

interface Part {
  key: string;
  title: string;
  show: () => React.ReactNode;
  /** Parameters of the address that this part has, too, and does not take over from another. */
  anew?: readonly string[];
  /** What it reads: whoever may not sees why. */
  needs?: Action;
}

/** `otherwise`: the part that is shown where the address names none; absent: the first. */
export function Tabs({ parts, label, otherwise }: { parts: readonly Part[]; label: string; otherwise?: string }) {
  const [search, setSearch] = useSearch();
  const list = useRef<HTMLDivElement>(null);
  const first = parts[0]?.key ?? "";
  const now = parts.find((part) => part.key === search.tab)?.key ?? otherwise ?? first;
  useEffect(() => {
    const shown = list.current?.querySelector<HTMLElement>('[aria-selected="true"]');
    // Along the list alone: the page stays where it is.
    if (shown && list.current) list.current.scrollLeft = shown.offsetLeft - (list.current.clientWidth - shown.offsetWidth) / 2;
  }, [now]);
  const open = (key: string) => {
    const anew = parts.find((part) => part.key === key)?.anew ?? [];
    setSearch({ ...Object.fromEntries(anew.map((name) => [name, undefined])), tab: key === first ? undefined : key });
  };
  return (
    <Mantine value={now} onChange={(key) => open(key ?? first)} keepMounted={false}>
      <Mantine.List aria-label={label} ref={list} className="hf-tabs">
        {parts.map((part) => <Mantine.Tab key={part.key} value={part.key}>{part.title}</Mantine.Tab>)}
      </Mantine.List>
      {parts.map((part) => <Mantine.Panel key={part.key} value={part.key} pt="md"><Allowed may={part.needs}>{part.show()}</Allowed></Mantine.Panel>)}
    </Mantine>
  );
}
