// Which time is shown: a span that ends now, or any from and to. It stands in the address.
import { Button, Select, TextInput } from "@mantine/core";
import { CUSTOM, ofField, SPANS, toField, USUAL } from "../lib/range";
import { useSearch } from "./useSearch";

export function StreamTime() {
  const [search, setSearch] = useSearch();
  const custom = search.from !== undefined || search.to !== undefined;
  const span = SPANS.some(({ value }) => value === search.span) ? (search.span ?? USUAL) : USUAL;
  const seconds = SPANS.find(({ value }) => value === span)?.seconds ?? 3_600;
  return (
    <>
      <Select
        label="Time"
        data={[...SPANS.map(({ value, label }) => ({ value, label })), { value: CUSTOM, label: "from and to…" }]}
        value={custom ? CUSTOM : span}
        onChange={(value) => {
          if (value === CUSTOM) setSearch({ from: new Date(Date.now() - seconds * 1_000).toISOString(), to: new Date().toISOString() });
          else setSearch({ span: value === USUAL ? undefined : (value ?? undefined), from: undefined, to: undefined });
        }}
        allowDeselect={false}
        maw={190}
      />
      {custom && (
        <>
          <TextInput type="datetime-local" step={1} label="From" value={toField(search.from)} onChange={(event) => setSearch({ from: ofField(event.currentTarget.value) ?? search.from })} maw={220} />
          <TextInput type="datetime-local" step={1} label="To" value={toField(search.to)} onChange={(event) => setSearch({ to: ofField(event.currentTarget.value) })} maw={220} description={search.to ? undefined : "until now"} />
          <Button variant="default" size="xs" onClick={() => setSearch({ from: undefined, to: undefined })}>Back to the {SPANS.find(({ value }) => value === span)?.label}</Button>
        </>
      )}
    </>
  );
}
