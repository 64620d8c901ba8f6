// The control plane itself: who may use it, its certificate authority, backup and restore, what it is made of.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { Card } from "../../ui/Card";
import { CopyButton } from "../../ui/Copy";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { Time } from "../../ui/Time";
import { AccessTokens } from "./AccessTokens";
import { Backup } from "./Backup";
import { Licences } from "./Licences";
import { Restore } from "./Restore";

export default function Settings() {
  const { data, error, refetch } = useQuery(read.about());
  return (
    <div className="hf-stack">
      <PageHead title="Settings" />
      <AccessTokens />
      {!data && (error ? <Failed error={error} what="The control plane's own facts could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && (
        <div className="hf-grid">
          <Card title="Certificate authority">
            <dl className="hf-facts">
              <dt>SHA-256</dt><dd className="hf-mono">{data.ca.sha256}</dd>
              <dt>Expires</dt><dd><Time at={data.ca.notAfter} /></dd>
              {data.serverCertificateNotAfter && <><dt>Server certificate</dt><dd>expires <Time at={data.serverCertificateNotAfter} />, renewed automatically</dd></>}
              <dt>Trust domain</dt><dd>{data.trustDomain}</dd>
            </dl>
            <div className="hf-row">
              <CopyButton text={data.ca.sha256}>Copy the digest</CopyButton>
              <CopyButton text={data.ca.pem}>Copy the certificate</CopyButton>
              <Button size="xs" variant="default" onClick={() => save("holdfast-ca.pem", data.ca.pem)}>Download the certificate</Button>
            </div>
          </Card>
          <div className="hf-stack">
            <Backup />
            <Restore />
          </div>
          <Card title="Version">
            <dl className="hf-facts">
              <dt>Holdfast</dt><dd>{data.version}</dd>
              <dt>Runs since</dt><dd><Time at={data.startedAt} /></dd>
              <dt>Tenant</dt><dd>{data.tenant}</dd>
              <dt>Restore epoch</dt><dd title="Higher after every restore of a backup: devices then accept older state">{data.epoch}</dd>
              {data.apiAddress && <><dt>Listens on</dt><dd className="hf-mono">{data.apiAddress}</dd></>}
            </dl>
          </Card>
        </div>
      )}
      <Licences />
    </div>
  );
}

/** Saves a text as a file; a download needs no right in the Content-Security-Policy. */
function save(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "application/x-pem-file" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
