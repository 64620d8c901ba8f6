// A new notification, from an example for each kind of receiver.
import { Button, SegmentedControl } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { EditPane } from "../../editor/EditPane";
import { exampleOf, notificationAt, RECEIVERS } from "../../lib/notification";
import { say } from "../../ui/say";
import { useSearch } from "../../ui/useSearch";

export function New({ close }: { close: () => void }) {
  const [search, setSearch] = useSearch();
  const navigate = useNavigate();
  const receiver = RECEIVERS.find(({ value }) => value === search.new)?.value ?? "webhook";
  return (
    <div className="hf-stack">
      <div className="hf-row">
        <SegmentedControl aria-label="Receiver" data={RECEIVERS.map(({ value, label }) => ({ value, label }))} value={receiver} onChange={(value) => setSearch({ new: value })} />
        <Button size="xs" variant="default" onClick={close}>Cancel</Button>
      </div>
      <EditPane
        key={receiver}
        draft={`notification/new/${receiver}`}
        initial={exampleOf(receiver)}
        label="New notification, YAML"
        applied={(results) => {
          const name = results[0]?.name;
          say(`${name ?? "The notification"} is ${results[0]?.action ?? "applied"}: send a test to see that it arrives`);
          void navigate({ to: (name ? notificationAt(name) : "/notifications") as never });
        }}
      />
    </div>
  );
}
