// My account: password, second factor, and which roles I have from what.
import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { reason } from "../../api/client";
import { beginSecondFactor, changePassword, confirmSecondFactor, endSecondFactor } from "../../api/people";
import { whoami } from "../../api/rights";
import { session, type Opened } from "../../api/state";
import { useStore } from "../../api/store";
import { roleOf, sentence } from "../../lib/rights";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { CopyButton } from "../../ui/Copy";
import { later } from "../../ui/later";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

const QrCode = later(() => import("../../ui/QrCode"));

/** As the control plane wants it. */
const SHORTEST = 12;

export function Me() {
  const now = useStore(session);
  if (now.kind !== "open") return <Loading />;
  const local = now.user && !now.user.includes("@");
  return (
    <div className="hf-stack">
      {local ? (
        <div className="hf-grid">
          <Password />
          <SecondFactor on={now.secondFactor === true} />
        </div>
      ) : (
        <Card title="Password and second factor">
          <p>{now.user ? "Your account belongs to an identity provider: both are changed there." : "This session was begun with an access token, which has neither. Log in with a name and a password to change yours."}</p>
        </Card>
      )}
      <Mine of={now} />
    </div>
  );
}

/** The state of a form with one request. */
function useSend() {
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async (run: () => Promise<unknown>) => {
    setBusy(true);
    setFailure("");
    try {
      await run();
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  return { failure, busy, send };
}

function Password() {
  const [present, setPresent] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const { failure, busy, send } = useSend();
  const differs = again !== "" && again !== next;
  const go = async () => {
    await changePassword(present, next);
    setPresent("");
    setNext("");
    setAgain("");
    say("Your password is changed; your other sessions have ended");
  };
  return (
    <Card title="Password">
      <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void send(go); }}>
        <PasswordInput label="Present password" value={present} onChange={(event) => setPresent(event.currentTarget.value)} autoComplete="current-password" visibilityToggleButtonProps={{ "aria-label": "Show the present password" }} required />
        <PasswordInput label="New password" description={`At least ${SHORTEST} characters; several words are easy to keep`} value={next} onChange={(event) => setNext(event.currentTarget.value)} autoComplete="new-password" minLength={SHORTEST} visibilityToggleButtonProps={{ "aria-label": "Show the new password" }} required />
        <PasswordInput label="New password again" value={again} onChange={(event) => setAgain(event.currentTarget.value)} autoComplete="new-password" error={differs && "The two are not the same"} visibilityToggleButtonProps={{ "aria-label": "Show the new password again" }} required />
        {failure && <Notice tone="bad" title="Not changed" alert>{failure}</Notice>}
        <div><Button type="submit" size="xs" loading={busy} disabled={present === "" || next === "" || again !== next}>Change the password</Button></div>
        <p className="hf-kind">Your sessions in other browsers and programs end.</p>
      </form>
    </Card>
  );
}

function SecondFactor({ on }: { on: boolean }) {
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [begun, setBegun] = useState<{ secret: string; address: string }>();
  const { failure, busy, send } = useSend();
  const begin = async () => {
    setBegun(await beginSecondFactor(password));
    setPassword("");
  };
  const confirm = async () => {
    await confirmSecondFactor(code.trim());
    setBegun(undefined);
    setCode("");
    say("Your logins need a code from now on");
  };
  const end = async () => {
    await endSecondFactor(password);
    setPassword("");
    say("Your second factor is removed");
  };
  const failed = failure && <Notice tone="bad" title="Not done" alert>{failure}</Notice>;
  if (begun) {
    return (
      <Card title="Second factor">
        <p>Scan this with an authenticator program, then type the code that it shows. It counts once the code was right.</p>
        <QrCode text={begun.address} label="QR code for the authenticator program" />
        <div className="hf-row"><span>Or type it in:</span> <span className="hf-mono" data-testid="totp-secret">{begun.secret}</span> <CopyButton text={begun.secret} /></div>
        <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void send(confirm); }}>
          <TextInput label="Code" value={code} onChange={(event) => setCode(event.currentTarget.value)} inputMode="numeric" autoComplete="one-time-code" maxLength={8} maw={160} required />
          {failed}
          <div className="hf-row"><Button type="submit" size="xs" loading={busy} disabled={code.trim() === ""}>Confirm</Button><Button size="xs" variant="default" onClick={() => setBegun(undefined)}>Cancel</Button></div>
        </form>
      </Card>
    );
  }
  return (
    <Card title="Second factor" aside={on ? <State tone="good">on</State> : <State tone="idle">off</State>}>
      <p>{on ? "Each login needs a code of your authenticator program besides the password." : "With it, a stolen password is not enough: each login needs a code of an authenticator program too."}</p>
      <form className="hf-stack hf-tight" onSubmit={(event) => { event.preventDefault(); void send(on ? end : begin); }}>
        <PasswordInput label="Password, to show that it is you" value={password} onChange={(event) => setPassword(event.currentTarget.value)} autoComplete="current-password" visibilityToggleButtonProps={{ "aria-label": "Show the password" }} required />
        {failed}
        <div><Button type="submit" size="xs" loading={busy} disabled={password === ""} {...(on ? { color: "red", variant: "outline" } : {})}>{on ? "Remove the second factor" : "Set up a second factor"}</Button></div>
      </form>
    </Card>
  );
}

function Mine({ of }: { of: Opened }) {
  const { data, error, refetch } = useQuery(whoami());
  return (
    <Card title="What I may do">
      <dl className="hf-facts">
        <dt>Logged in as</dt><dd>{of.operatorName ? `${of.operatorName} (${of.operator})` : of.operator}</dd>
        {of.tenant && <><dt>Tenant</dt><dd>{of.tenant}</dd></>}
        <dt>Session ends</dt><dd><Time at={of.expiresAt} /></dd>
      </dl>
      {!data && (error ? <Failed error={error} what="What you may do could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && data.grants.length === 0 && <Notice tone="warn" title="You have no role">You may do nothing yet: an admin gives roles, under Settings, Roles.</Notice>}
      {data && data.grants.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Role</th><th>Devices</th><th>From</th></tr></thead>
          <tbody>
            {data.grants.map(({ role, selector, by }) => (
              <tr key={`${role} ${selector ?? ""} ${by}`}><td><strong>{roleOf(role)}</strong></td><td data-label="Devices">{selector ? <span className="hf-mono">{selector}</span> : "all"}</td><td data-label="From">{by}</td></tr>
            ))}
          </tbody>
        </table>
      )}
      {data && (
        <details>
          <summary>{count(data.actions.filter(({ allowed }) => allowed).length, "action")} allowed, {data.actions.filter(({ allowed }) => !allowed).length} not</summary>
          <table className="hf-table hf-folds">
            <thead><tr><th>Action</th><th>Allowed</th><th>Why</th></tr></thead>
            <tbody>
              {data.actions.map(({ action, allowed, reach, why }) => (
                <tr key={action}><td className="hf-mono">{action}</td><td data-label="Allowed">{allowed ? <State tone="good">yes</State> : <State tone="idle">no</State>}</td><td data-label="Why">{sentence(why)}{reach && `, on devices with ${reach}`}</td></tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </Card>
  );
}
