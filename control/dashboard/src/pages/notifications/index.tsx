// Alarms and who is told of them: what is active, what is muted and by whom, and the notifications.
import { Tabs } from "../../ui/Tabs";
import { PageHead } from "../../ui/PageHead";
import { Alarms } from "./Alarms";
import { Notifications } from "./Notifications";
import { Silences } from "./Silences";

const PARTS = [
  { key: "alarms", title: "Active alarms", show: () => <Alarms /> },
  { key: "silences", title: "Acknowledged and silenced", needs: "silence.list", show: () => <Silences /> },
  { key: "notifications", title: "Notifications", needs: "policy.list", show: () => <Notifications /> },
] as const;

export default function NotificationsPage() {
  return (
    <div className="hf-stack">
      <PageHead title="Alarms" />
      <Tabs label="Parts of the alarms" parts={PARTS} />
    </div>
  );
}
