// A span of time until now, or from one moment to another; the address holds it as `since`, or as
// `from` and `to`.
import { Select, TextInput } from "@mantine/core";
import { useState } from "react";
import { local, moment, RANGES } from "../lib/activity";
import type { Search } from "./useSearch";

const OWN = "own";

export function TimeRange({ search, set }: { search: Search; set: (change: Search) => void }) {
  const given = search.from !== undefined || search.to !== undefined;
  const [own, setOwn] = useState(given);
  const choices = Object.entries(RANGES).map(([value, label]) => ({ value, label }));
  return (
    <>
      <Select
        aria-label="Time"
        placeholder="Any time"
        data={[...choices, { value: OWN, label: "From … to …" }]}
        value={own || given ? OWN : (search.since ?? null)}
        onChange={(value) => {
          setOwn(value === OWN);
          set(value === OWN ? { since: undefined } : { since: value ?? undefined, from: undefined, to: undefined });
        }}
        clearable
        clearButtonProps={{ "aria-label": "Any time" }}
        w={160}
      />
      {(own || given) && (
        <>
          <TextInput type="datetime-local" aria-label="From" value={local(search.from)} onChange={(event) => set({ from: moment(event.currentTarget.value) })} />
          <TextInput type="datetime-local" aria-label="To" value={local(search.to)} onChange={(event) => set({ to: moment(event.currentTarget.value) })} />
        </>
      )}
    </>
  );
}
