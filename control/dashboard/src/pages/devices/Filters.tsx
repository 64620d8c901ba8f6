// What is looked for: words, labels with suggestions, states; and which columns stand.
import { Button, Checkbox, Menu, Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import { Icon } from "../../ui/icons";
import { SelectorInput } from "../../ui/SelectorInput";
import type { Search } from "../../ui/useSearch";
import { chips, COLUMNS, columns, DEFAULT, type Column } from "./filter";

/** After the last key, before the server is asked. */
const PAUSE = 150;

export function Filters({ search, set, fault }: { search: Search; set: (change: Search) => void; fault: string | undefined }) {
  const [text, setText] = useState(search.q ?? "");
  const [known, setKnown] = useState(search.q);
  // The address changed elsewhere (back, a link): the field follows.
  if (known !== search.q) {
    setKnown(search.q);
    if ((search.q ?? "") !== text.trim()) setText(search.q ?? "");
  }
  const find = useDebouncedCallback((q: string) => set({ q: q.trim() }), PAUSE);
  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row hf-filters">
        <TextInput
          aria-label="Find by name or label value"
          placeholder="Name or label value"
          leftSection={<Icon name="search" />}
          value={text}
          onChange={(event) => {
            setText(event.currentTarget.value);
            find(event.currentTarget.value);
          }}
          type="search"
          spellCheck={false}
        />
        <SelectorInput value={search.labels ?? ""} onChange={(labels) => set({ labels })} fault={fault} />
        <Select
          aria-label="Connection"
          placeholder="Any connection"
          data={["online", "offline", "pending", "revoked"]}
          value={search.connection && !search.connection.includes(",") ? search.connection : null}
          onChange={(connection) => set({ connection: connection ?? undefined })}
          clearable
          clearButtonProps={{ "aria-label": "Any connection" }}
          w={150}
        />
        <Choose search={search} set={set} />
      </div>
      {chips(search).length > 0 && (
        <div className="hf-row hf-tight">
          {chips(search).map(({ key, words }) => (
            <button key={key} type="button" className="hf-label" onClick={() => set({ [key]: undefined })} aria-label={`Take away: ${words}`}>{words} ✕</button>
          ))}
        </div>
      )}
    </div>
  );
}

function Choose({ search, set }: { search: Search; set: (change: Search) => void }) {
  const shown = columns(search);
  const toggle = (column: Column) => {
    const next = shown.includes(column) ? shown.filter((one) => one !== column) : [...shown, column];
    const isDefault = next.length === DEFAULT.length && DEFAULT.every((one) => next.includes(one));
    set({ columns: isDefault ? undefined : next.join(".") || "none" });
  };
  return (
    <Menu closeOnItemClick={false} position="bottom-end">
      <Menu.Target>
        <Button variant="default" leftSection={<Icon name="columns" />}>Columns</Button>
      </Menu.Target>
      <Menu.Dropdown>
        {(Object.keys(COLUMNS) as Column[]).map((column) => (
          <Menu.Item key={column} role="menuitemcheckbox" aria-checked={shown.includes(column)} onClick={() => toggle(column)} leftSection={<Checkbox.Indicator checked={shown.includes(column)} size="xs" />}>
            {COLUMNS[column].title}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
