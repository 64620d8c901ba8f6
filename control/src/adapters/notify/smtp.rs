//! Delivery by mail over SMTP. A mail has the message's id as its Message-ID, and the mails of a
//! group make one thread.

use holdfast_base::ids::hex;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};

use super::limits::{CONNECT, PATIENCE};
use super::tls;
use crate::core::alarms::{Message, NotDelivered, Outcome};
use crate::core::model::sha256;
use crate::core::notification::{Email, MailTls};

/// Maximum length of a subject, in characters.
const MAX_SUBJECT: usize = 200;

pub(super) async fn deliver(mail: &Email, message: &Message) -> Outcome {
    let letter = letter(mail, message)?;
    let transport = transport(mail)?;
    match Box::pin(transport.send(letter)).await {
        Ok(response) => {
            let lines: Vec<&str> = response.message().collect();
            Ok(format!("{} {}", response.code(), lines.join(" ")).trim().to_owned())
        }
        Err(error) => Err(undelivered(&error, mail)),
    }
}

fn transport(mail: &Email) -> Result<AsyncSmtpTransport<Tokio1Executor>, NotDelivered> {
    // rustls needs a default provider where a configuration brings none.
    let _was_installed = rustls::crypto::ring::default_provider().install_default();
    let protection = match mail.tls {
        MailTls::None => Tls::None,
        MailTls::Starttls => Tls::Required(parameters(mail)?),
        MailTls::Tls => Tls::Wrapper(parameters(mail)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
        .port(mail.port)
        .tls(protection)
        .timeout(Some(CONNECT.min(PATIENCE)))
        .hello_name(ClientId::Domain("holdfast".into()));
    if let (Some(user), Some(password)) = (&mail.username, &mail.password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

fn parameters(mail: &Email) -> Result<TlsParameters, NotDelivered> {
    let mut builder = TlsParameters::builder(mail.host.clone());
    if let Some(pem) = &mail.ca {
        builder = builder.certificate_store(CertificateStore::None);
        for one in pem_blocks(pem) {
            let certificate =
                Certificate::from_pem(one.as_bytes()).map_err(|_| NotDelivered::Certificates)?;
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build_rustls().map_err(|error| NotDelivered::Tls(error.to_string()))
}

fn pem_blocks(pem: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END).filter(|block| block.contains("-----BEGIN CERTIFICATE-----"))
}

fn letter(mail: &Email, message: &Message) -> Result<Mail, NotDelivered> {
    let mailbox =
        |text: &str| text.parse::<Mailbox>().map_err(|_| NotDelivered::Address(text.to_owned()));
    let from = mailbox(&mail.from)?;
    let domain = from.email.domain().to_owned();
    // The mails of a group are replies to one that was never sent, which makes them a thread.
    let group = serde_json::to_vec(&(&message.notification, &message.group)).unwrap_or_default();
    let thread: String = hex(&sha256(&group)).chars().take(24).collect();
    let subject: String = message.title.chars().take(MAX_SUBJECT).collect();
    let mut builder = Mail::builder()
        .from(from)
        .subject(subject)
        .message_id(Some(format!("<{}@{domain}>", message.id)))
        .references(format!("<{thread}@{domain}>"))
        .in_reply_to(format!("<{thread}@{domain}>"));
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    let body = format!(
        "{}\n\nnotification {}, {}, {}\n",
        message.text,
        message.notification,
        message.status.as_str(),
        message.at
    );
    builder
        .singlepart(
            SinglePart::builder()
                .header(ContentType::TEXT_PLAIN)
                .header(ContentTransferEncoding::QuotedPrintable)
                .body(body),
        )
        .map_err(|error| NotDelivered::Mail(error.to_string()))
}

/// Tells a mail that the server refused from one that did not reach it.
fn undelivered(error: &lettre::transport::smtp::Error, mail: &Email) -> NotDelivered {
    let server = format!("{}:{}", mail.host, mail.port);
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let why = deepest.to_string();
    if let Some(code) = error.status() {
        return NotDelivered::Refused(format!("the mail server {server} refused: {code} {why}"));
    }
    if error.is_timeout() {
        let why = "it does not answer in time";
        return NotDelivered::Unreached(format!("the mail server {server} was not reached: {why}"));
    }
    let said = tls::words(&why).unwrap_or(why.as_str());
    NotDelivered::Unreached(format!("the mail server {server} was not reached: {said}"))
}
