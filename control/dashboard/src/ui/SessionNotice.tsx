// What is to be done about one's own login, on every page until it is done: the token of the first
// start is replaced.
import { session } from "../api/state";
import { useStore } from "../api/store";
import { Notice } from "./Notice";
import { PageLink } from "./PageLink";

export function SessionNotice() {
  const now = useStore(session);
  if (now.kind !== "open" || !now.setup) return null;
  return (
    <div className="hf-out" role="region" aria-label="The first access token">
      <Notice tone="warn">
        <div className="hf-row hf-spread">
          <span><strong>You use the token of the first start.</strong> Log in as a user or with a token of your own, then revoke it.</span>
          <span className="hf-row">
            <PageLink to="/settings" search={{ tab: "people", new: "user" }}>New user</PageLink>
            <PageLink to="/settings" search={{ tab: "access", new: "access" }}>New token</PageLink>
          </span>
        </div>
      </Notice>
    </div>
  );
}
