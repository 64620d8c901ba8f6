// A label selector with suggestions from the labels that the fleet has.
import { Combobox, TextInput, useCombobox } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import * as read from "../api/queries";
import { parse, suggest } from "../lib/selector";
import { count } from "../lib/words";

interface Props {
  value: string;
  onChange: (selector: string | undefined) => void;
  fault: string | undefined;
}

export function SelectorInput({ value, onChange, fault }: Props) {
  const [text, setText] = useState(value);
  const [known, setKnown] = useState(value);
  if (known !== value) {
    setKnown(value);
    setText(value);
  }
  const combobox = useCombobox();
  const [wanted, setWanted] = useState(false);
  const { data } = useQuery({ ...read.labels(), enabled: wanted });
  const suggestions = suggest(text, data?.items ?? []);
  const wrong = parse(text).fault;
  const take = (next: string) => {
    setText(next);
    if (parse(next).fault === undefined && !next.endsWith("=")) onChange(next.trim() || undefined);
  };
  return (
    <Combobox
      store={combobox}
      onOptionSubmit={(selector) => {
        take(selector);
        combobox.resetSelectedOption();
        // A key wants its value next.
        if (!selector.endsWith("=")) combobox.closeDropdown();
      }}
    >
      <Combobox.Target>
        <TextInput
          className="hf-mono-input"
          aria-label="Label selector"
          placeholder="Labels: role=gateway,site!=north"
          value={text}
          onFocus={() => {
            setWanted(true);
            combobox.openDropdown();
          }}
          onChange={(event) => {
            take(event.currentTarget.value);
            combobox.openDropdown();
            combobox.resetSelectedOption();
          }}
          onBlur={() => {
            combobox.closeDropdown();
            // Left in the middle: the address says what was typed, and the table what is wrong.
            onChange(text.trim() || undefined);
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter" && combobox.getSelectedOptionIndex() < 0) {
              onChange(text.trim() || undefined);
              combobox.closeDropdown();
            }
          }}
          error={(!combobox.dropdownOpened && wrong) || fault}
          spellCheck={false}
          autoComplete="off"
        />
      </Combobox.Target>
      <Combobox.Dropdown hidden={suggestions.length === 0}>
        <Combobox.Options aria-label="Suggestions">
          {suggestions.map((one) => (
            <Combobox.Option key={one.selector} value={one.selector}>
              <span className="hf-row hf-spread"><span className="hf-mono">{one.shown}</span><span className="hf-kind">{count(one.devices, "device")}</span></span>
            </Combobox.Option>
          ))}
        </Combobox.Options>
      </Combobox.Dropdown>
    </Combobox>
  );
}
