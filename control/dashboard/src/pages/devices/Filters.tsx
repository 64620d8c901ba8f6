// What is looked for: words, labels with suggestions, states; by what it is grouped; and which
// columns stand.
import { Button, Checkbox, Menu, Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import * as read from "../../api/queries";
import { Icon } from "../../ui/icons";
import { SelectorInput } from "../../ui/SelectorInput";
import type { Search } from "../../ui/useSearch";
import { ABSENCE, ATTENTION, chips, COLUMNS, columns, CONNECTIONS, DEFAULT, HEALTH, type Column } from "./filter";
import { Views } from "./Views";

/** After the last key, before the server is asked. */
const PAUSE = 150;

interface Props {
  search: Search;
  set: (change: Search) => void;
  go: (to: Search) => void;
  fault: string | undefined;
}

export function Filters({ search, set, go, fault }: Props) {
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
          aria-label="Find by name, label value, address, workload or problem"
          placeholder="Name, label, address, workload…"
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
      </div>
      <div className="hf-row hf-choices">
        <Choice name="State" any="Any state" words={HEALTH.map((word) => [word, word])} value={search.health} set={(health) => set({ health })} />
        <Choice name="Connection" any="Any connection" words={CONNECTIONS.map((word) => [word, word])} value={search.connection} set={(connection) => set({ connection })} />
        <Choice name="Needs attention" any="Any attention" words={Object.entries(ATTENTION)} value={search.attention} set={(attention) => set({ attention })} wide />
        <Choice name="Absence" any="Any absence" words={Object.entries(ABSENCE)} value={search.absence} set={(absence) => set({ absence })} wide />
        <GroupBy value={search.group} set={(group) => set({ group, open: undefined })} />
        <Choose search={search} set={set} />
        <Views search={search} go={go} />
      </div>
      {chips(search).length > 0 && (
        <div className="hf-row hf-tight">
          {chips(search).map(({ key, words }) => (
            <button key={key} type="button" className="hf-label" onClick={() => set({ [key]: undefined })} aria-label={`Take away: ${words}`} title={words}>{words} ✕</button>
          ))}
        </div>
      )}
    </div>
  );
}

interface ChoiceProps {
  name: string;
  any: string;
  words: readonly (readonly [string, string])[];
  value: string | undefined;
  set: (value: string | undefined) => void;
  wide?: boolean;
}

function Choice({ name, any, words, value, set, wide = false }: ChoiceProps) {
  return (
    <Select
      aria-label={name}
      placeholder={any}
      data={words.map(([word, said]) => ({ value: word, label: said.replaceAll("-", " ") }))}
      value={words.some(([word]) => word === value) ? (value ?? null) : null}
      onChange={(next) => set(next ?? undefined)}
      clearable
      clearButtonProps={{ "aria-label": any }}
      w={wide ? 190 : 165}
    />
  );
}

/** Labels with so many values make groups of a few devices each. */
const MOST_VALUES = 2_000;

function GroupBy({ value, set }: { value: string | undefined; set: (value: string | undefined) => void }) {
  const [wanted, setWanted] = useState(false);
  const { data } = useQuery({ ...read.labels(), enabled: wanted || value !== undefined });
  const keys = (data?.items ?? []).filter(({ values, moreValues }) => values.length + moreValues <= MOST_VALUES).map(({ key }) => key);
  return (
    <Select
      aria-label="Group by a label"
      placeholder="No groups"
      data={(value && !keys.includes(value) ? [value, ...keys] : keys).map((key) => ({ value: key, label: `By ${key}` }))}
      value={value ?? null}
      onChange={(next) => set(next ?? undefined)}
      onFocus={() => setWanted(true)}
      clearable
      searchable
      clearButtonProps={{ "aria-label": "No groups" }}
      w={135}
    />
  );
}

function Choose({ search, set }: { search: Search; set: (change: Search) => void }) {
  const shown = columns(search);
  const all = Object.keys(COLUMNS) as Column[];
  const show = (next: readonly Column[]) => {
    const isDefault = next.length === DEFAULT.length && DEFAULT.every((one) => next.includes(one));
    set({ columns: isDefault ? undefined : next.join(".") || "none" });
  };
  const toggle = (column: Column) => show(shown.includes(column) ? shown.filter((one) => one !== column) : [...shown, column]);
  return (
    <Menu closeOnItemClick={false} position="bottom-end">
      <Menu.Target>
        <Button variant="default" leftSection={<Icon name="columns" />}>Columns {shown.length}/{all.length}</Button>
      </Menu.Target>
      <Menu.Dropdown className="hf-menu">
        {all.map((column) => (
          <Menu.Item key={column} role="menuitemcheckbox" aria-checked={shown.includes(column)} onClick={() => toggle(column)} leftSection={<Checkbox.Indicator checked={shown.includes(column)} size="xs" />}>
            {COLUMNS[column].title}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item onClick={() => show(all)}>All columns</Menu.Item>
        <Menu.Item onClick={() => show(DEFAULT)}>The usual columns</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
