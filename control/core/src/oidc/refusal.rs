//! Reasons why an ID token is not believed.

/// Reason why an ID token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It is no signed token in the compact form, or too long.
    #[error("the ID token is no signed token (JWS) of at most 64 KiB")]
    Form,
    /// It is signed by another algorithm, or not at all.
    #[error("the ID token is signed with {0:?}: only RS256, ES256 and EdDSA are accepted")]
    Algorithm(String),
    /// Its header asks for extensions.
    #[error("the ID token's header demands extensions (crit), which are not supported")]
    Critical,
    /// No key of the provider has this id. The keys may have been changed: they are fetched again.
    #[error("the ID token is signed by the key {0:?}, which the provider does not publish")]
    UnknownKey(String),
    /// It names no key, and several fit.
    #[error("the ID token names no key, and the provider publishes several for {0}")]
    Ambiguous(&'static str),
    /// A key of this id exists, and is made for another algorithm.
    #[error(
        "the ID token is signed with {algorithm}, and the key {key:?} is for another algorithm"
    )]
    WrongKey {
        /// Id of the key.
        key: String,
        /// Algorithm of the token.
        algorithm: &'static str,
    },
    /// The signature is of another key, or the token was changed.
    #[error("the ID token's signature is wrong: it was changed, or another key has signed it")]
    Signature,
    /// A claim is missing or has another type.
    #[error("the ID token has no valid claim {0}")]
    Claim(&'static str),
    /// It comes from another issuer.
    #[error("the ID token is of the issuer {0:?}: spec.issuer must be the same, letter by letter")]
    Issuer(String),
    /// It is for another client.
    #[error("the ID token is for {0}, not for this client: check spec.clientId")]
    Audience(String),
    /// It was issued at the request of another client.
    #[error("the ID token was issued for the client {0:?} (azp), not for this one")]
    Party(String),
    /// It has expired.
    #[error("the ID token expired {0} s ago: begin the login again, and check the clocks")]
    Expired(u64),
    /// It was issued too long ago.
    #[error("the ID token was issued {0} s ago: begin the login again, and check the clocks")]
    Old(u64),
    /// It is of the future.
    #[error("the ID token counts only in {0} s: check the clocks of both machines")]
    Early(u64),
    /// It belongs to another login.
    #[error("the ID token belongs to another login (nonce): begin the login again")]
    Nonce,
}
