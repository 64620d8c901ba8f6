// A page's parts, of which one is shown; the address says which.
import { Tabs as Mantine } from "@mantine/core";
import { useSearch } from "./useSearch";

interface Part {
  key: string;
  title: string;
  show: () => React.ReactNode;
}

export function Tabs({ parts, label }: { parts: readonly Part[]; label: string }) {
  const [search, setSearch] = useSearch();
  const first = parts[0]?.key ?? "";
  const now = parts.some((part) => part.key === search.tab) ? search.tab : first;
  return (
    <Mantine value={now ?? first} onChange={(key) => setSearch({ tab: key === first || key === null ? undefined : key })} keepMounted={false}>
      <Mantine.List aria-label={label}>
        {parts.map((part) => <Mantine.Tab key={part.key} value={part.key}>{part.title}</Mantine.Tab>)}
      </Mantine.List>
      {parts.map((part) => <Mantine.Panel key={part.key} value={part.key} pt="md">{part.show()}</Mantine.Panel>)}
    </Mantine>
  );
}
