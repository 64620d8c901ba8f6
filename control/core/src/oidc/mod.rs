//! Login by an identity provider (OpenID Connect): what is sent to it, and what its answers are
//! worth. Bytes and the time go in, claims or a named reason come out; the service fetches.
//!
//! See decision 0165.

mod discovery;
mod keys;
mod provider;
mod refusal;
mod request;
mod ticket;
mod token;

pub use self::discovery::{BadDiscovery, Discovery, MAX_ANSWER, UnsafeAddress, check_address};
pub use self::keys::{BadKeys, Keys, MAX_KEYS};
pub use self::provider::{ClientSecret, MAX_PROVIDERS, NoRole, Provider, Rule, secret_context};
pub use self::refusal::BadToken;
pub use self::request::{
    BadAnswer, Body, DeviceBegun, DeviceState, Form, begin_device, code_form, device_form,
    device_state, id_token,
};
pub use self::ticket::{BadTicket, RETURN, TICKET_COOKIE, TICKET_LIFE, Ticket, TicketKey, Where};
pub use self::token::{Claims, Expected, SKEW, verify};
