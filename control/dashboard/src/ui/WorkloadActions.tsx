// Restart, pause and resume of a workload, on one device or everywhere: buttons on its page, a
// menu in the row of a table.
import { Button, Menu } from "@mantine/core";
import { useState } from "react";
import { Icon } from "./icons";
import { later } from "./later";
import type { Act } from "./WorkloadAct";
import { ActButton, ActItem } from "./rights";

const WorkloadAct = later(() => import("./WorkloadAct"), "dialog");

interface Props {
  workload: string;
  /** Only on this device; absent: on every device that should run it. */
  device?: string;
  /** Whether it is paused there; absent: not known, and both ways are offered. */
  paused?: boolean | undefined;
  /** In the row of a table: one small button that opens a menu. */
  compact?: boolean;
}

const WORDS: Record<Act, string> = { restart: "Restart", pause: "Pause", resume: "Resume" };

export function WorkloadActions({ workload, device, paused, compact = false }: Props) {
  const [open, setOpen] = useState<Act | undefined>();
  const acts: Act[] = paused === undefined ? ["restart", "pause", "resume"] : paused ? ["resume"] : ["restart", "pause"];
  const where = device === undefined ? workload : `${workload} on ${device}`;
  return (
    <>
      {compact ? (
        <Menu position="bottom-end">
          <Menu.Target><Button size="compact-xs" variant="subtle" aria-label={`Actions: ${where}`}><Icon name="more" /></Button></Menu.Target>
          <Menu.Dropdown maw={320}>
            {acts.map((act) => <ActItem key={act} may={`workload.${act}`} onClick={() => setOpen(act)}>{WORDS[act]}…</ActItem>)}
          </Menu.Dropdown>
        </Menu>
      ) : (
        acts.map((act) => <ActButton key={act} may={`workload.${act}`} size="xs" variant="default" onClick={() => setOpen(act)}>{WORDS[act]}…</ActButton>)
      )}
      {open && <WorkloadAct act={open} workload={workload} device={device} close={() => setOpen(undefined)} />}
    </>
  );
}
