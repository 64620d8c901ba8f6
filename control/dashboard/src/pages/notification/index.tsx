// One notification: where it leads and whether that works, its document to edit, and a test.
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { deleteNotification, notification, testNotification, type Notification } from "../../api/alarms";
import { reason } from "../../api/client";
import { EditPane } from "../../editor/EditPane";
import { toYaml } from "../../lib/document";
import { editable } from "../../lib/notification";
import { count } from "../../lib/words";
import { Confirm } from "../../ui/Confirm";
import { Notice } from "../../ui/Notice";
import { Resource, type Part } from "../../ui/Resource";
import { say } from "../../ui/say";
import { Time } from "../../ui/Time";
import { useName } from "../../ui/useName";
import { useSearch } from "../../ui/useSearch";
import { Delivery } from "./Delivery";
import { ActButton } from "../../ui/rights";

const PARTS: readonly Part<Notification>[] = [
  { key: "status", title: "How it stands", show: (of) => <Status of={of} /> },
  { key: "edit", title: "Edit", needs: "document.apply", show: (of) => <Edit of={of} /> },
];

interface Answer {
  delivered: boolean;
  text: string;
}

export default function NotificationPage() {
  const name = useName();
  const [deleting, setDeleting] = useState(false);
  const [testing, setTesting] = useState(false);
  const [answer, setAnswer] = useState<Answer>();
  const navigate = useNavigate();
  const test = async () => {
    setTesting(true);
    setAnswer(undefined);
    try {
      const { delivered, answer: text, millis } = await testNotification(name);
      setAnswer({ delivered, text: `${text} (after ${millis.toLocaleString("en")} ms)` });
    } catch (error) {
      setAnswer({ delivered: false, text: reason(error) });
    } finally {
      setTesting(false);
    }
  };
  return (
    <Resource
      kind="notification"
      name={name}
      of={useQuery(notification(name))}
      parts={PARTS}
      state={({ status }) => <Delivery of={status.delivery} brief />}
      actions={() => (
        <>
          <ActButton may="notification.test" size="xs" onClick={() => void test()} loading={testing}>Send a test</ActButton>
          <ActButton may="policy.delete" size="xs" color="red" variant="outline" onClick={() => setDeleting(true)}>Delete…</ActButton>
        </>
      )}
      about={({ metadata, status }) => <span className="hf-kind">{status.delivery?.receiver} · alarms of {count(status.devices, "device")} · changed <Time at={metadata.updatedAt} /></span>}
    >
      {({ metadata }) => (
        <>
          <div role="status">
            {answer && <Notice tone={answer.delivered ? "good" : "bad"} title={answer.delivered ? "The receiver took the test message" : "The test message was not delivered"}>{answer.text}</Notice>}
          </div>
          {deleting && (
            <Confirm
              title={`Delete ${name}?`}
              act={`Delete ${name}`}
              run={async () => {
                await deleteNotification(name, metadata.resourceVersion ?? 0);
                say(`${name} is deleted`);
                void navigate({ to: "/notifications" as never, search: { tab: "notifications" } as never });
              }}
              close={() => setDeleting(false)}
            >
              <p>Nobody is told by <strong>{name}</strong> any more. Messages that wait are dropped, and what was told is not resolved.</p>
            </Confirm>
          )}
        </>
      )}
    </Resource>
  );
}

function Status({ of: { status } }: { of: Notification }) {
  const { delivery } = status;
  if (!delivery) return null;
  return (
    <dl className="hf-facts">
      <dt>Sends to</dt><dd className="hf-mono">{delivery.place}</dd>
      <dt>State</dt><dd><Delivery of={delivery} /></dd>
      <dt>Last sent</dt><dd><Time at={delivery.lastSuccess} /></dd>
      <dt>Last failure</dt><dd><Time at={delivery.lastFailure} />{!delivery.failingSince && delivery.lastFailure && delivery.lastError && <>: {delivery.lastError}</>}</dd>
      <dt>Messages waiting</dt><dd>{delivery.queued}</dd>
      <dt>Messages sent</dt><dd>{delivery.sent}</dd>
      <dt>Given up</dt><dd>{delivery.dropped}</dd>
      <dt>Open groups</dt><dd>{delivery.open === 0 ? "none that last" : count(delivery.open, "group")}</dd>
    </dl>
  );
}

function Edit({ of }: { of: Notification }) {
  // What was read when the editing began: later versions show as a conflict, not under the hands.
  const [first] = useState(() => ({ kind: "Notification", name: of.metadata.name, version: of.metadata.resourceVersion ?? 0, document: editable(of) }));
  const [, setSearch] = useSearch();
  return (
    <div className="hf-stack">
      <p className="hf-kind">Secrets are never shown. Where (hidden) stands, the stored one is kept, as long as the server stays the same.</p>
      <EditPane
        draft={`notification/${first.name}`}
        initial={toYaml(first.document)}
        base={first}
        label={`Document of ${first.name}, YAML`}
        applied={(results) => {
          say(`${results[0]?.name ?? first.name} is ${results[0]?.action ?? "applied"}`);
          setSearch({ tab: undefined });
        }}
      />
    </div>
  );
}
