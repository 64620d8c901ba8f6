// Which activity: categories, words, who, what, object and time. The address holds it all.
import { Checkbox, Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import { CATEGORIES, categories, showing, type Category } from "../../lib/activity";
import { Icon } from "../../ui/icons";
import { TimeRange } from "../../ui/TimeRange";
import type { Search } from "../../ui/useSearch";

/** After the last key, before the server is asked. */
const PAUSE = 300;

/** Actions that are offered; the field of words finds others. */
const ACTIONS = [
  { value: "workload", label: "workloads" },
  { value: "workload.apply", label: "workloads: applied" },
  { value: "workload.delete", label: "workloads: deleted" },
  { value: "workload.rollback", label: "workloads: rolled back" },
  { value: "workload.restart", label: "workloads: restarted" },
  { value: "workload.pause,workload.resume", label: "workloads: paused, resumed" },
  { value: "stream,linkbudget,devicepolicy", label: "policies, link budgets" },
  { value: "alarm,notification", label: "alarms, notifications" },
  { value: "device", label: "devices" },
  { value: "device.connected", label: "devices: connected" },
  { value: "device.disconnected", label: "devices: disconnected" },
  { value: "device.restart", label: "devices: restarted" },
  { value: "device.problem", label: "devices: problems" },
  { value: "token,access", label: "tokens" },
  { value: "backup,restore", label: "backups" },
];

export function Filters({ search, set }: { search: Search; set: (change: Search) => void }) {
  const shown = categories(search.show);
  const toggle = (one: Category) => set({ show: showing(shown.includes(one) ? shown.filter((other) => other !== one) : [...shown, one]) });
  const known = ACTIONS.some(({ value }) => value === search.action);
  return (
    <div className="hf-stack hf-tight">
      <fieldset className="hf-row hf-bare">
        <legend className="hf-hidden">What is shown</legend>
        {(Object.keys(CATEGORIES) as Category[]).map((one) => <Checkbox key={one} size="sm" label={CATEGORIES[one]} checked={shown.includes(one)} onChange={() => toggle(one)} />)}
      </fieldset>
      <div className="hf-row hf-filters">
        <Text name="q" label="Find in everything" placeholder="Text" search={search} set={set} icon />
        <Text name="who" label="Who: name or id of an access token, or a device" placeholder="Who" search={search} set={set} />
        <Text name="object" label="Object: kind/name, or a name" placeholder="Object, such as workload/hello" search={search} set={set} />
        <Select
          aria-label="What was done"
          placeholder="Anything done"
          data={known || !search.action ? ACTIONS : [...ACTIONS, { value: search.action, label: search.action }]}
          value={search.action ?? null}
          onChange={(action) => set({ action: action ?? undefined })}
          clearable
          clearButtonProps={{ "aria-label": "Anything done" }}
          w={190}
        />
        <TimeRange search={search} set={set} />
      </div>
    </div>
  );
}

function Text({ name, label, placeholder, search, set, icon = false }: { name: string; label: string; placeholder: string; search: Search; set: (change: Search) => void; icon?: boolean }) {
  const given = search[name] ?? "";
  const [text, setText] = useState(given);
  const [known, setKnown] = useState(given);
  // The address changed elsewhere (back, a link, a row): the field follows.
  if (known !== given) {
    setKnown(given);
    if (given !== text.trim()) setText(given);
  }
  const find = useDebouncedCallback((value: string) => set({ [name]: value.trim() }), PAUSE);
  return (
    <TextInput
      aria-label={label}
      placeholder={placeholder}
      {...(icon ? { leftSection: <Icon name="search" /> } : {})}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        find(event.currentTarget.value);
      }}
      type="search"
      spellCheck={false}
      maxLength={200}
    />
  );
}
